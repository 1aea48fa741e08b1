//! Builds the image of `make run` in the cache, and prints its folder. It does nothing if the image is there.
#![expect(clippy::print_stdout, reason = "this is a command line")]

use zstart_test_images::RealImage;

fn main() -> anyhow::Result<()> {
    println!("{}", RealImage::Python.layout()?.display());
    Ok(())
}
