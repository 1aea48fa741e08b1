//! Model of a pull, as containerd does it: layers are downloaded over one link, the lowest first, and are
//! unpacked one after another.

/// Pull of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LayerPull {
    /// Bytes to download.
    pub(super) bytes: f64,
    pub(super) unpack_seconds: f64,
}

/// Seconds until the last layer is unpacked. `link` is in bits per second.
pub(super) fn pull_seconds(layers: impl IntoIterator<Item = LayerPull>, link: f64) -> f64 {
    let (mut arrived, mut unpacked) = (0.0_f64, 0.0_f64);
    for LayerPull { bytes, unpack_seconds } in layers {
        arrived += bytes * 8.0 / link;
        unpacked = unpacked.max(arrived) + unpack_seconds;
    }
    unpacked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_takes(layers: &[(f64, f64)], expected: f64) {
        let layers =
            layers.iter().map(|(bytes, unpack)| LayerPull { bytes: *bytes, unpack_seconds: *unpack });
        // 8 bits per second: one byte per second.
        let found = pull_seconds(layers, 8.0);
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn layer_is_unpacked_after_its_download() {
        assert_takes(&[], 0.0);
        assert_takes(&[(10.0, 3.0)], 13.0);
    }

    #[test]
    fn next_layer_is_downloaded_during_unpacking() {
        assert_takes(&[(10.0, 3.0), (5.0, 2.0)], 17.0);
        assert_takes(&[(10.0, 3.0), (2.0, 2.0)], 15.0);
    }

    #[test]
    fn layer_is_unpacked_after_the_layer_below() {
        assert_takes(&[(1.0, 20.0), (2.0, 1.0), (3.0, 1.0)], 23.0);
    }

    #[test]
    fn repeated_layer_costs_its_unpacking_only() {
        assert_takes(&[(4.0, 1.0), (0.0, 1.0)], 6.0);
    }
}
