//! How many layers are worked on at once. A place is for the work and its memory, not for what goes on
//! around it: the next layer's work begins while a registry is still putting the last one away.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use zstart_codec::LayerConverter;
use zstart_oci::Descriptor;
use zstart_oci::media_type::{self, LayerKind};

/// Smaller layers are asked for before there is a place for them, so that it doesn't stand empty for a
/// round trip. Of larger ones the download would stand still meanwhile, and registries end those.
const SMALL: u64 = 256 << 10;
/// More than any machine works on, and fewer than a semaphore has permits.
const MOST: u32 = 1 << 16;

/// As many places as layers may be worked on.
pub(crate) struct Places {
    all: u32,
    free: Arc<Semaphore>,
}

/// A layer's place. It goes with the work to its thread: a work that nobody waits for any more has its
/// memory until it notices.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// For so many layers at once.
    pub(crate) fn new(layers_at_once: NonZero<usize>) -> Self {
        let all = u32::try_from(layers_at_once.get()).unwrap_or(MOST).min(MOST);
        Self { all, free: Arc::new(Semaphore::new(all as usize)) }
    }

    /// The place for a layer that is only asked for once it has one.
    pub(super) async fn before(&self, layer: &Descriptor, converter: &dyn LayerConverter) -> Option<Place> {
        if layer.size() < SMALL { None } else { Some(self.take(layer, converter).await) }
    }

    /// The place for a layer, in the order in which they are asked for.
    pub(super) async fn take(&self, layer: &Descriptor, converter: &dyn LayerConverter) -> Place {
        // Where it counts for more than there are, it has all of them.
        let wanted = converter
            .places(layer.size(), media_type::layer_kind(layer.media_type()) == LayerKind::Zstd)
            .min(self.all);
        let Ok(permit) = Arc::clone(&self.free).acquire_many_owned(wanted).await else {
            unreachable!("no semaphore here is ever closed")
        };
        Place { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use zstart_core::Digest;

    use super::*;
    use zstart_codec::Level;
    use zstart_codec::ZstdConverter;

    fn layer(size: u64) -> Descriptor {
        Descriptor::new(media_type::OCI_TAR_GZIP, Digest::sha256_of(b""), size).unwrap()
    }

    fn places(count: usize) -> Places {
        Places::new(NonZero::new(count).unwrap())
    }

    #[test]
    fn a_large_layer_has_two_places_where_there_are_two_and_so_has_one_that_is_zstd() {
        let converter = ZstdConverter::new(Level::default());
        let small = layer(1 << 20);
        let zstd = Descriptor::new(media_type::OCI_TAR_ZSTD, Digest::sha256_of(b""), 1 << 20).unwrap();
        let cases =
            [layer(32 << 20), zstd].map(|large| [(1, 0), (2, 0), (3, 1)].map(|case| (large.clone(), case)));
        for (large, (count, small_beside)) in cases.into_iter().flatten() {
            let places = places(count);
            let first = places.take(&large, &converter).now_or_never().expect("nobody was before it");
            let beside: Vec<_> =
                (0..4).map_while(|_| places.take(&small, &converter).now_or_never()).collect();
            assert_eq!(beside.len(), small_beside, "{count}");
            drop((first, beside));
        }
    }

    #[test]
    fn a_large_layer_is_not_overtaken_by_smaller_ones() {
        let converter = ZstdConverter::new(Level::default());
        let (small, large) = (layer(1 << 20), layer(32 << 20));
        let places = places(2);
        let first = places.take(&small, &converter).now_or_never().expect("nobody was before it");
        let mut next = Box::pin(places.take(&large, &converter));
        assert!((&mut next).now_or_never().is_none());
        assert!(places.take(&small, &converter).now_or_never().is_none(), "a place is free, but not for it");
        drop(first);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn only_a_small_layer_is_asked_for_before_it_has_a_place() {
        let converter = ZstdConverter::new(Level::default());
        let places = places(1);
        let before = |size| {
            let layer = layer(size);
            let place = places.before(&layer, &converter).now_or_never();
            place.map(|place| place.is_some())
        };
        assert_eq!([1 << 10, SMALL].map(before), [Some(false), Some(true)]);
        let taken = places.take(&layer(1), &converter).now_or_never();
        assert!(taken.is_some());
        assert_eq!([1 << 10, SMALL].map(before), [Some(false), None]);
    }
}
