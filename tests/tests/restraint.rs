//! Short form of `make restraint`: images that can't be converted cost few requests.

use anyhow::{Context as _, Result};
use zstart_tests::cluster::built_binaries;
use zstart_tests::restraint::{Options, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn images_that_cannot_be_converted_cost_few_requests() -> Result<()> {
    let controller = built_binaries()?.join("zstart-controller");
    let options = Options { controller, images: 40, rows: 2, seconds: 15 };
    let rows = run(&options).await?;
    let [first, second] = &rows[..] else { anyhow::bail!("{rows:?}") };
    let report = text(&options, &rows);
    assert_eq!((first.pulls, first.pushes), (0, 1), "{report}");
    assert_eq!((second.pulls, second.pushes), (0, 1), "{report}");
    // Eight looks run at once, each with attempts of its own, before the registry counts as unreachable. More images
    // make no difference.
    assert!(first.connections < 100 && second.connections < 120, "{report}");
    assert!(second.events <= 30, "{report}");
    let each = second.record_writes.checked_div(41).context("no record")?;
    assert!(each <= 4, "{report}");
    Ok(())
}
