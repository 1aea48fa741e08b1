//! What every reconciliation shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zstart_convert::KeyedSemaphore;
use zstart_convert::{LayerCache, PlatformSelection, Settings};
use zstart_core::Digest;
use zstart_registry::RegistryClient;

use crate::config::{Config, Platforms};
use crate::credentials::OwnCredentials;
use crate::demand::{Demand, SharedDemand};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::reconcile::attempts::Attempts;

/// How many sources are looked up at once in one registry. A controller that starts looks up all of
/// them; a registry that is silent holds up its own alone.
const LOOKS_AT_ONCE: usize = 8;

/// An image, wherever its tags point: repository and source digest.
pub(crate) type ImageKey = (String, Digest);

/// The parts that reconciliations use and share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) demand: SharedDemand,
    pub(crate) own: OwnCredentials,
    pub(crate) registries: RegistryClient,
    /// Permits to ask a registry what there is, by its name.
    pub(crate) looks: KeyedSemaphore<String>,
    /// Permits to convert.
    pub(crate) workers: Semaphore,
    /// Two tags of one image are converted one after the other: the second finds the first's.
    pub(crate) images: KeyedSemaphore<ImageKey>,
    /// Layers that were converted since the start.
    pub(crate) layers: LayerCache,
    /// Variants that were made since the start.
    made: Mutex<HashMap<ImageKey, Digest>>,
    pub(crate) attempts: Attempts,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    /// Work that is under way is dropped when this is cancelled.
    pub(crate) shutdown: CancellationToken,
}

/// The most variants that are remembered. Whatever is forgotten is converted again, no more.
const MOST_MADE: usize = 10_000;

impl Context {
    pub(crate) fn new(
        client: Client,
        config: Config,
        own: OwnCredentials,
        registries: RegistryClient,
        events: Events,
        shutdown: CancellationToken,
    ) -> Self {
        let workers = config.workers;
        Self {
            client,
            config,
            own,
            demand: SharedDemand::default(),
            registries,
            looks: KeyedSemaphore::new(LOOKS_AT_ONCE),
            workers: Semaphore::new(workers),
            images: KeyedSemaphore::new(1),
            layers: LayerCache::default(),
            made: Mutex::default(),
            attempts: Attempts::default(),
            events,
            metrics: Arc::new(Metrics::new()),
            shutdown,
        }
    }

    /// Which platforms are converted, as the nodes are now.
    pub(crate) fn platforms(&self) -> PlatformSelection {
        match &self.config.platforms {
            Platforms::All => PlatformSelection::All,
            Platforms::List(platforms) => PlatformSelection::Only(platforms.clone()),
            Platforms::Nodes => {
                let nodes = self.demand.read(Demand::platforms);
                // A cluster scaled to zero, or one of Fargate alone: any platform may come.
                if nodes.is_empty() {
                    PlatformSelection::All
                } else {
                    PlatformSelection::Only(nodes.into_iter().collect())
                }
            }
        }
    }

    /// The settings of a conversion of these platforms.
    pub(crate) fn settings(&self, platforms: PlatformSelection) -> Settings {
        let Config { level, layers_at_once, .. } = self.config;
        Settings { level, platforms, layers_at_once, ..Settings::default() }
    }

    /// The variant that was made of this image since the start.
    pub(crate) fn made(&self, key: &ImageKey) -> Option<Digest> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Remembers what was made.
    pub(crate) fn remember(&self, key: ImageKey, variant: Digest) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MOST_MADE {
            made.clear();
        }
        made.insert(key, variant);
    }
}
