//! State that all reconciliations share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kube::Client;
use tokio_util::sync::CancellationToken;
use zstart_convert::KeyedSemaphore;
use zstart_convert::{LayerCache, PlatformSelection, Settings};
use zstart_core::Digest;
use zstart_core::sync::lock;
use zstart_registry::RegistryClient;

use crate::api_clock::ApiClock;
use crate::config::{Config, Platforms};
use crate::credentials::{LoginMemory, OwnCredentials};
use crate::demand::{Demand, SharedDemand};
use crate::events::Events;
use crate::executor::Executor;
use crate::governor::Governor;
use crate::immutable_tags::ImmutableTags;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::reconcile::requeue::Attempts;
use crate::repositories::Repositories;
use crate::scheduler::conversions::ConversionPermits;
use crate::sweep::SweepState;

/// An image, independent of its tags: repository and source digest.
pub(crate) type ImageKey = (String, Digest);

/// State that all reconciliations share.
pub(crate) struct Context {
    /// Client whose writes end with the leadership.
    pub(crate) client: Client,
    pub(crate) leadership: Leadership,
    pub(crate) config: Config,
    pub(crate) demand: SharedDemand,
    pub(crate) own_credentials: OwnCredentials,
    /// Credentials that registries let in or refused.
    pub(crate) logins: LoginMemory,
    pub(crate) registries: RegistryClient,
    /// Restraint towards registries.
    pub(crate) governor: Arc<Governor>,
    /// Clock that dates looks.
    pub(crate) api_clock: ApiClock,
    /// Tags that can't move.
    pub(crate) immutable_tags: ImmutableTags,
    /// Executor of conversions.
    pub(crate) executor: Executor,
    /// Permits for conversions.
    pub(crate) conversion_permits: ConversionPermits,
    /// Locks by image. Of two tags of one image, the second waits and reuses the variant of the first.
    pub(crate) image_locks: KeyedSemaphore<ImageKey>,
    /// Layers that this process converted.
    pub(crate) layer_cache: LayerCache,
    /// Variants that this process made, by image.
    converted: Mutex<HashMap<ImageKey, Digest>>,
    pub(crate) attempts: Attempts,
    /// Confirmations that this process hasn't made, and registries that don't answer.
    pub(crate) sweep: SweepState,
    /// Repositories that stay open between two looks.
    pub(crate) repositories: Repositories,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled at shutdown and at the end of the leadership: running reconciliations are dropped.
    pub(crate) shutdown: CancellationToken,
}

/// Maximum number of remembered variants. A forgotten variant costs one conversion, nothing more.
const MAX_REMEMBERED: usize = 10_000;

impl Context {
    pub(crate) fn new(
        client: Client,
        leadership: Leadership,
        config: Config,
        own_credentials: OwnCredentials,
        registries: RegistryClient,
        events: Events,
        shutdown: CancellationToken,
    ) -> Self {
        let max_conversions = config.executor.max_conversions();
        let metrics = Arc::new(Metrics::new());
        let immutable_tags = ImmutableTags::new(config.immutable_tags.clone());
        Self {
            client,
            leadership,
            config,
            own_credentials,
            logins: LoginMemory::default(),
            demand: SharedDemand::default(),
            registries,
            governor: Arc::new(Governor::new(Arc::clone(&metrics))),
            api_clock: ApiClock::default(),
            immutable_tags,
            executor: Executor::Pool,
            conversion_permits: ConversionPermits::new(max_conversions),
            image_locks: KeyedSemaphore::new(1),
            layer_cache: LayerCache::default(),
            converted: Mutex::default(),
            attempts: Attempts::default(),
            sweep: SweepState::default(),
            repositories: Repositories::default(),
            events,
            metrics,
            shutdown,
        }
    }

    /// Hands conversions to another executor than the leader's own process.
    pub(crate) fn with_executor(self, executor: Executor) -> Self {
        Self { executor, ..self }
    }

    /// Platforms to convert, given the nodes of the last days.
    pub(crate) fn platforms(&self) -> PlatformSelection {
        match &self.config.platforms {
            Platforms::All => PlatformSelection::All,
            Platforms::List(platforms) => PlatformSelection::Only(platforms.clone()),
            Platforms::Nodes => {
                let nodes = self.demand.read(Demand::platforms);
                // The cluster is scaled to zero or runs on Fargate alone: nodes of any platform may join.
                if nodes.is_empty() {
                    PlatformSelection::All
                } else {
                    PlatformSelection::Only(nodes.into_iter().collect())
                }
            }
        }
    }

    /// Settings for the conversion of these platforms.
    pub(crate) fn settings(&self, platforms: PlatformSelection) -> Settings {
        let Config { level, method, verify: verification, layers_at_once, tag_children, .. } = self.config;
        let defaults = Settings::default();
        Settings { level, method, verification, platforms, layers_at_once, tag_children, ..defaults }
    }

    /// The variant that this process made of an image.
    pub(crate) fn converted_variant(&self, key: &ImageKey) -> Option<Digest> {
        lock(&self.converted).get(key).cloned()
    }

    /// Remembers the variant of an image.
    pub(crate) fn remember_variant(&self, key: ImageKey, variant: Digest) {
        let mut converted = lock(&self.converted);
        if converted.len() >= MAX_REMEMBERED {
            converted.clear();
        }
        converted.insert(key, variant);
    }
}
