//! A whole conversion, phase by phase, like the command line and the controller.

use std::sync::Arc;

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::progress::Silent;
use zstart_convert::{
    AcceptedSettings, Error, Execution, FoundVariants, Job, LayerCache, NamedVariant, Settings, VariantImage,
    VariantSearch, VariantTagging, execute, find_variants, plan, resolve, verify_pushed,
};
use zstart_core::{Digest, Reference, Tag, VariantNames};
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, RegistryOptions, Store};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};

/// A registry, and the gateway through which the engine reaches it.
pub(crate) struct Lab {
    pub(crate) registry: Registry,
    pub(crate) gateway: Gateway,
}

impl Lab {
    pub(crate) async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let gateway = Gateway::start(&registry.host()).await?;
        Ok(Self { registry, gateway })
    }

    /// Conversion of an image (`app:v1`) through the gateway.
    pub(crate) fn conversion(&self, image: &str) -> Conversion {
        Conversion::of(&format!("{}/{image}", self.gateway.host()))
    }

    /// The gateway's requests that write, as `METHOD /path?query`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let writing = |call: &String| !call.starts_with("GET ") && !call.starts_with("HEAD ");
        self.gateway.calls().into_iter().filter(writing).collect()
    }

    /// Makes the registry refuse to mount blobs from other repositories.
    pub(crate) fn refuse_mounts(&self) {
        let refusal = Fault::Respond(StatusCode::METHOD_NOT_ALLOWED, vec![], "");
        self.gateway.fault(Method::POST, "mount=", refusal);
    }

    /// Whether a manifest was pushed, under a digest or a tag.
    pub(crate) fn has_pushed_a_manifest(&self) -> bool {
        self.writes().iter().any(|call| call.starts_with("PUT ") && call.contains("/manifests/"))
    }
}

/// A conversion to run.
#[derive(Clone)]
pub(crate) struct Conversion {
    source: Reference,
    target: Reference,
    credentials: Credentials,
    settings: Settings,
    /// Tag of the variant; `None` for the derived one.
    chosen: Option<Tag>,
    layer_cache: Arc<LayerCache>,
    options: RegistryOptions,
}

/// Result of a conversion.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) tag: Tag,
    pub(crate) image: VariantImage,
    /// Whether the variant existed already.
    pub(crate) reused: bool,
    /// Layers reused from earlier conversions.
    pub(crate) layers_reused: usize,
}

impl Conversion {
    /// Converts `host:port/name:tag` within its repository.
    pub(crate) fn of(image: &str) -> Self {
        let source: Reference = image.parse().expect("a reference");
        Self {
            target: source.clone(),
            source,
            credentials: Credentials::Anonymous,
            settings: Settings::default(),
            chosen: None,
            layer_cache: Arc::default(),
            options: RegistryOptions::default(),
        }
    }

    /// Sets the target repository.
    pub(crate) fn into(self, repository: &str) -> Self {
        Self { target: repository.parse().expect("a reference"), ..self }
    }

    pub(crate) fn login(self, username: &str, password: &str) -> Self {
        Self { credentials: Credentials::basic(username, password), ..self }
    }

    pub(crate) fn identity_token(self, token: &str) -> Self {
        Self { credentials: Credentials::identity_token(token), ..self }
    }

    /// With other timeouts and retries.
    pub(crate) fn options(self, options: RegistryOptions) -> Self {
        Self { options, ..self }
    }

    /// Allows registries to send logins to this host.
    pub(crate) fn token_server(self, host: &str) -> Self {
        Self {
            options: RegistryOptions { token_servers: vec![host.to_owned()], ..self.options.clone() },
            ..self
        }
    }

    pub(crate) fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Shares a layer cache with other conversions, as within one process.
    pub(crate) fn with_layer_cache(self, layer_cache: &Arc<LayerCache>) -> Self {
        Self { layer_cache: Arc::clone(layer_cache), ..self }
    }

    pub(crate) fn forced(self) -> Self {
        let settings = Settings { force: true, ..self.settings };
        Self { settings, ..self }
    }

    /// Overwrites this tag of the target, without a look at it.
    pub(crate) fn over(self, tag: &str) -> Self {
        Self { chosen: Some(tag.parse().expect("a tag")), ..self }.forced()
    }

    /// Names of the variants of `digest`.
    pub(crate) fn names(&self, digest: &Digest) -> VariantNames {
        VariantNames::of(&self.source, digest)
    }

    /// Tag of this conversion's variant, from a registry of its own: a conversion is deterministic.
    pub(crate) async fn expected_tag(image: &Fixture) -> Result<Tag> {
        let lab = Lab::start().await?;
        image.push(&lab.registry.host(), "app:v1").await?;
        Ok(lab.conversion("app:v1").run().await?.tag)
    }

    fn open(&self, reference: &Reference) -> Arc<dyn Store> {
        zstart_tests::control_plane::install_crypto();
        let plain_http = vec![reference.registry().to_owned()];
        let options = RegistryOptions { plain_http, ..self.options.clone() };
        let client = RegistryClient::new(options).expect("a client");
        client.repository(reference, self.credentials.clone())
    }

    /// Searches the variants of the source, of which one is known: tag and digest.
    pub(crate) async fn search(&self, tag: &Tag, digest: &Digest) -> Result<FoundVariants, Error> {
        let store = self.open(&self.source);
        let resolved = resolve(&*store, &self.source).await?;
        let planned = plan(&*store, &resolved, &self.settings).await?;
        let names = self.names(resolved.digest());
        let known = self.source.with_tag_and_digest(tag.clone(), digest.clone());
        let search = VariantSearch {
            target: &*store,
            names: &names,
            known: Some(&known),
            settings: &self.settings,
            accepts: AcceptedSettings::Any,
        };
        find_variants(search, &planned).await
    }

    pub(crate) async fn run(&self) -> Result<Converted, Error> {
        let (source, target) = (self.open(&self.source), self.open(&self.target));
        let resolved = resolve(&*source, &self.source).await?;
        let mut planned = plan(&*source, &resolved, &self.settings).await?;
        let names = self.names(resolved.digest());
        let mut listing = None;
        if !self.settings.force {
            let search = VariantSearch {
                target: &*target,
                names: &names,
                known: None,
                settings: &self.settings,
                accepts: AcceptedSettings::Any,
            };
            let found = find_variants(search, &planned).await?;
            if let Some(NamedVariant { tag, image, is_complete: true }) = found.best {
                return Ok(Converted { tag, image, reused: true, layers_reused: 0 });
            }
            if !found.other_platforms.is_empty() {
                let settings = self.settings.with_platforms(&found.other_platforms);
                planned = plan(&*source, &resolved, &settings).await?;
            }
            listing = found.listing;
        }
        let plan = planned;
        let job = Job {
            source: &*source,
            target: &*target,
            settings: &self.settings,
            layer_cache: &self.layer_cache,
            progress: &Silent,
        };
        let tagging = match &self.chosen {
            Some(tag) => VariantTagging::Chosen(tag),
            None => VariantTagging::Derived { names: &names, listing: listing.as_ref() },
        };
        let Execution { image, tag, layers_reused, transcoder_faults } =
            execute(job, &self.source, tagging, &plan).await?;
        assert_eq!(transcoder_faults, 0);
        verify_pushed(&*target, &tag, &plan, &image).await?;
        Ok(Converted { tag, image, reused: false, layers_reused })
    }
}
