//! Concurrency of layers. A permit covers a layer's thread and memory, not the requests around it: the next
//! layer's thread starts while a registry still stores the last one.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zstart_codec::compression::Compression;
use zstart_codec::layer_weight;
use zstart_oci::Descriptor;
use zstart_oci::media_type::{self, LayerKind};

use crate::settings::Settings;

/// Smaller layers, in bytes, are requested before they have a permit, so that no permit is idle for a round
/// trip. The download of a larger layer would stall meanwhile, and registries end stalled downloads.
const PREFETCH_MAX: u64 = 256 << 10;
/// More layers than any machine converts at once, and fewer than a semaphore has permits.
const MAX_PERMITS: u32 = 1 << 16;

/// Permits for layers.
pub(crate) struct LayerSemaphore {
    all: u32,
    permits: Arc<Semaphore>,
}

/// A layer's permits. They move to its thread: a thread whose layer was abandoned keeps its memory until it
/// notices.
pub(crate) struct LayerPermit {
    _permit: OwnedSemaphorePermit,
}

impl LayerSemaphore {
    /// Permits for `layers_at_once` layers of weight 1.
    pub(crate) fn new(layers_at_once: NonZero<usize>) -> Self {
        let all = u32::try_from(layers_at_once.get()).unwrap_or(MAX_PERMITS).min(MAX_PERMITS);
        Self { all, permits: Arc::new(Semaphore::new(all as usize)) }
    }

    /// Waits for a layer's permits, or returns `None` for a layer that is small enough to be requested
    /// before it has them.
    pub(crate) async fn acquire_before_download(&self, size: u64, weight: u32) -> Option<LayerPermit> {
        if size < PREFETCH_MAX { None } else { Some(self.acquire(weight).await) }
    }

    /// Waits for permits, first come, first served. A layer heavier than the limit takes all permits.
    pub(crate) async fn acquire(&self, weight: u32) -> LayerPermit {
        let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(weight.min(self.all)).await else {
            unreachable!("the semaphore is never closed")
        };
        LayerPermit { _permit: permit }
    }
}

/// Permits that a layer's conversion needs, by its cores and memory.
pub(crate) fn weight_of(settings: &Settings, layer: &Descriptor) -> u32 {
    let compression = match media_type::layer_kind(layer.media_type()) {
        LayerKind::Zstd => Compression::Zstd,
        LayerKind::Gzip => Compression::Gzip,
        LayerKind::Tar | LayerKind::Foreign | LayerKind::Encrypted | LayerKind::Unknown => Compression::Plain,
    };
    layer_weight(settings.level, settings.method, layer.size(), compression)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use zstart_codec::Method;
    use zstart_core::Digest;

    use super::*;

    fn semaphore(count: usize) -> LayerSemaphore {
        LayerSemaphore::new(NonZero::new(count).unwrap())
    }

    fn weights(method: Method) -> [u32; 5] {
        let settings = Settings { method, ..Settings::default() };
        [
            (media_type::OCI_TAR_GZIP, 1 << 20),
            (media_type::OCI_TAR_GZIP, 32 << 20),
            (media_type::OCI_TAR, 1 << 20),
            (media_type::OCI_TAR, 32 << 20),
            (media_type::OCI_TAR_ZSTD, 1 << 20),
        ]
        .map(|(media_type, size)| {
            let layer = Descriptor::new(media_type, Digest::sha256_of(b""), size).unwrap();
            weight_of(&settings, &layer)
        })
    }

    #[test]
    fn large_encoded_layers_and_zstd_layers_weigh_two() {
        assert_eq!(weights(Method::Encode), [1, 2, 1, 2, 2]);
        assert_eq!(weights(Method::Transcode), [1, 1, 1, 2, 2]);
        assert_eq!(weights(Method::Auto), weights(Method::Transcode));
    }

    #[test]
    fn heavy_layer_takes_all_permits_but_no_more() {
        for (count, others) in [(1, 0), (2, 0), (3, 1)] {
            let semaphore = semaphore(count);
            let heavy = semaphore.acquire(2).now_or_never().expect("all permits are free");
            let light: Vec<_> = (0..4).map_while(|_| semaphore.acquire(1).now_or_never()).collect();
            assert_eq!(light.len(), others, "{count}");
            drop((heavy, light));
        }
    }

    #[test]
    fn light_layers_do_not_overtake_a_waiting_heavy_one() {
        let semaphore = semaphore(2);
        let first = semaphore.acquire(1).now_or_never().expect("all permits are free");
        let mut heavy = Box::pin(semaphore.acquire(2));
        assert!((&mut heavy).now_or_never().is_none());
        assert!(semaphore.acquire(1).now_or_never().is_none(), "the free permit is for the heavy layer");
        drop(first);
        assert!(heavy.now_or_never().is_some());
    }

    #[test]
    fn only_small_layers_are_requested_before_their_permit() {
        let semaphore = semaphore(1);
        let before = |size| {
            let permit = semaphore.acquire_before_download(size, 1).now_or_never();
            permit.map(|permit| permit.is_some())
        };
        assert_eq!([1 << 10, PREFETCH_MAX].map(before), [Some(false), Some(true)]);
        let taken = semaphore.acquire(1).now_or_never();
        assert!(taken.is_some());
        assert_eq!([1 << 10, PREFETCH_MAX].map(before), [Some(false), None]);
    }
}
