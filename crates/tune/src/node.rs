//! Nodes for which an image is tuned.

use std::time::Duration;

use zstart_codec::compression::Compression;

/// Decoders of a node. containerd decodes zstd with a library in Go. For gzip it runs `igzip` or `unpigz` if the node
/// has one of them, and uses a library in Go otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Node {
    /// containerd's own decoders, as on AWS Fargate.
    #[default]
    Containerd,
    /// `unpigz` for gzip, as on Amazon Linux 2023.
    Pigz,
    /// `igzip` for gzip, as on Bottlerocket.
    Igzip,
}

impl Node {
    /// Name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Pigz => "pigz",
            Self::Igzip => "igzip",
        }
    }

    /// The node's time to decode gzip, as a multiple of the processor time of zlib-rs on one thread of this machine.
    ///
    /// `make bench-node` measures the factors: medians of 3 runs of containerd 2.4.2 with klauspost/compress 1.20.0,
    /// pigz 2.6 and isa-l 2.30 on the image of `make run`, with 2 cores. containerd passes the bytes of the programs
    /// through two pipes.
    pub fn gzip_factor(self) -> f64 {
        match self {
            Self::Containerd => 2.26,
            Self::Pigz => 2.45,
            Self::Igzip => 1.69,
        }
    }

    /// The node's time to decode zstd, as a multiple of the processor time of libzstd on one thread of this machine,
    /// measured like [`gzip_factor`](Self::gzip_factor).
    pub fn zstd_factor(self) -> f64 {
        match self {
            Self::Containerd | Self::Pigz | Self::Igzip => 1.86,
        }
    }

    /// The node's time to decode, from this machine's processor time `own`.
    pub(super) fn decode_time(self, compression: Compression, own: Duration) -> Duration {
        own.mul_f64(match compression {
            Compression::Gzip => self.gzip_factor(),
            Compression::Zstd => self.zstd_factor(),
            Compression::Plain => 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_changes_the_time_of_gzip_and_zstd_alone() {
        let time = |node: Node, compression| node.decode_time(compression, Duration::from_secs(100));
        for node in [Node::Containerd, Node::Pigz, Node::Igzip] {
            assert_eq!(time(node, Compression::Plain), Duration::from_secs(100));
            assert_eq!(time(node, Compression::Zstd), Duration::from_secs(186));
        }
        assert_eq!(time(Node::Containerd, Compression::Gzip), Duration::from_secs(226));
        assert_eq!(time(Node::Igzip, Compression::Gzip), Duration::from_secs(169));
    }
}
