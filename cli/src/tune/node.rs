//! The option `--node`.

use clap::ValueEnum;
use zstart_tune::Node;

/// Program that unpacks gzip on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GzipDecoder {
    /// containerd's own decoder
    Containerd,
    /// unpigz
    Pigz,
    /// igzip
    Igzip,
}

impl From<GzipDecoder> for Node {
    fn from(decoder: GzipDecoder) -> Self {
        match decoder {
            GzipDecoder::Containerd => Self::Containerd,
            GzipDecoder::Pigz => Self::Pigz,
            GzipDecoder::Igzip => Self::Igzip,
        }
    }
}
