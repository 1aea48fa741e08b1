//! What every reconciliation shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kube::Client;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zstart_convert::locks::KeyedPermits;
use zstart_convert::{LayerMemory, PlatformSelection, Settings};
use zstart_core::Digest;
use zstart_core::sync::lock;
use zstart_registry::RegistryClient;

use crate::config::{Config, Platforms};
use crate::credentials::OwnCredentials;
use crate::demand::{Demand, SharedDemand};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::reconcile::requeue::Attempts;

/// How many sources are looked up at once in one registry. A controller that starts looks up all of
/// them; a registry that is silent holds up its own alone.
const MAX_LOOKUPS: usize = 8;

/// An image, wherever its tags point: repository and source digest.
pub(crate) type ImageKey = (String, Digest);

/// The parts that reconciliations use and share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) demand: SharedDemand,
    pub(crate) own_credentials: OwnCredentials,
    pub(crate) registries: RegistryClient,
    /// Permits to ask a registry what there is, by its name.
    pub(crate) lookup_permits: KeyedPermits<String>,
    /// Permits to convert.
    pub(crate) conversion_permits: Semaphore,
    /// Two tags of one image are converted one after the other: the second finds the first's.
    pub(crate) image_locks: KeyedPermits<ImageKey>,
    /// Layers that were converted since the start.
    pub(crate) layer_memory: LayerMemory,
    /// Variants that were made since the start.
    converted: Mutex<HashMap<ImageKey, Digest>>,
    pub(crate) attempts: Attempts,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    /// Work that is under way is dropped when this is cancelled.
    pub(crate) shutdown: CancellationToken,
}

/// The most variants that are remembered. Whatever is forgotten is converted again, no more.
const MAX_REMEMBERED: usize = 10_000;

impl Context {
    pub(crate) fn new(
        client: Client,
        config: Config,
        own_credentials: OwnCredentials,
        registries: RegistryClient,
        events: Events,
        shutdown: CancellationToken,
    ) -> Self {
        let workers = config.workers;
        Self {
            client,
            config,
            own_credentials,
            demand: SharedDemand::default(),
            registries,
            lookup_permits: KeyedPermits::new(MAX_LOOKUPS),
            conversion_permits: Semaphore::new(workers),
            image_locks: KeyedPermits::new(1),
            layer_memory: LayerMemory::default(),
            converted: Mutex::default(),
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
    pub(crate) fn converted_variant(&self, key: &ImageKey) -> Option<Digest> {
        lock(&self.converted).get(key).cloned()
    }

    /// Remembers what was made.
    pub(crate) fn remember_variant(&self, key: ImageKey, variant: Digest) {
        let mut converted = lock(&self.converted);
        if converted.len() >= MAX_REMEMBERED {
            converted.clear();
        }
        converted.insert(key, variant);
    }
}
