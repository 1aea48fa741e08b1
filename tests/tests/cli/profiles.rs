//! One suite against every product's profile.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use http::StatusCode;
use zstart_tests::registry::profiles::behaviour::{Behaviour, Mount, SinglePost};
use zstart_tests::registry::profiles::counts::{Counts, Kind};
use zstart_tests::registry::profiles::{Anonymous, NewRepository, Server, product};
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use self::lab::{Identity, ProductLab};
use crate::command::Finished;

mod lab;

/// Declares one test a product, so that they run at once.
macro_rules! suite {
    ($($test:ident: $product:literal;)*) => {
        $(
            #[tokio::test]
            async fn $test() -> Result<()> {
                Suite::start($product, stringify!($test)).await?.run().await
            }
        )*
    };
}

suite! {
    docker_hub_profile_passes_the_suite: "Docker Hub";
    ecr_profile_passes_the_suite: "Amazon ECR";
    ecr_public_profile_passes_the_suite: "Amazon ECR Public";
    ghcr_profile_passes_the_suite: "GitHub Container Registry";
    gitlab_profile_passes_the_suite: "GitLab";
    harbor_profile_passes_the_suite: "Harbor";
    quay_profile_passes_the_suite: "Quay";
    artifactory_profile_passes_the_suite: "Artifactory";
    nexus_profile_passes_the_suite: "Nexus";
    acr_profile_passes_the_suite: "Azure Container Registry";
    artifact_registry_profile_passes_the_suite: "Google Artifact Registry";
    zot_profile_passes_the_suite: "Zot";
    distribution_passes_the_suite: "distribution 3.1";
    debian_registry_passes_the_suite: "distribution 2.8 (Debian)";
}

/// Highest numbers of requests in a first conversion. Reads double where a token or a look-up is refused.
const MAX_REQUESTS: [(Kind, usize); 9] = [
    (Kind::Ping, 5),
    (Kind::Token, 5),
    (Kind::HeadManifest, 4),
    (Kind::GetManifest, 8),
    (Kind::Tags, 3),
    (Kind::Referrers, 2),
    (Kind::HeadBlob, 6),
    (Kind::GetBlob, 6),
    (Kind::Storage, 6),
];
/// Layers of the suite's images: a base layer that is worth finding again, and a small one of each version.
const LAYERS: usize = 2;

/// The suite, and the requests of its steps so far.
struct Suite {
    lab: ProductLab,
    report: String,
}

/// A finished step.
struct Step {
    ended: Finished,
    calls: Vec<String>,
    counts: Counts,
}

impl Step {
    /// Requests of this kind with `part` in their address.
    fn count(&self, kind: Kind, part: &str) -> usize {
        self.calls.iter().filter(|call| Kind::of(call) == kind && call.contains(part)).count()
    }
}

impl Suite {
    async fn start(name: &str, test: &str) -> Result<Self> {
        let product = product(name).with_context(|| format!("no product {name}"))?;
        assert_eq!(product.test, test, "the documentation names the test");
        Ok(Self { lab: ProductLab::start(product).await?, report: String::new() })
    }

    /// Runs the program and requires this exit code.
    async fn step(&mut self, identity: Identity, arguments: &[&str], code: i32) -> Result<Step> {
        let recording = self.lab.record();
        let ended = self.lab.run(identity, arguments).await?;
        let calls = recording.calls();
        let counts = Counts::of(&calls);
        writeln!(self.report, "{arguments:?}: exit {:?}: {counts}", ended.code)?;
        assert_eq!(ended.code, Some(code), "{}\n{calls:#?}\n{ended:#?}", self.report);
        Ok(Step { ended, calls, counts })
    }

    async fn succeed(&mut self, arguments: &[&str]) -> Result<Step> {
        self.step(Identity::User, arguments, 0).await
    }

    fn profile(&self) -> Option<&'static Behaviour> {
        match &self.lab.product.server {
            Server::Profile(behaviour) => Some(behaviour),
            Server::FakeEcr(_) | Server::Real(_) => None,
        }
    }

    #[expect(clippy::print_stdout, reason = "nextest shows the requests of each step with --no-capture")]
    async fn run(mut self) -> Result<()> {
        let (v1, v2) = (self.lab.name("v1"), self.lab.name("v2"));
        self.lab.push("v1").await?;
        let base = self.source_base().await?;

        let planned = self.succeed(&["convert", &v1, "--dry-run"]).await?;
        assert!(planned.ended.stdout.contains("would create"), "{:#?}", planned.ended);
        assert_eq!(planned.counts.writes(), 0, "{:#?}", planned.calls);

        let made = self.succeed(&["convert", &v1]).await?;
        assert!(made.ended.stdout.contains("converted and verified in"), "{:#?}", made.ended);
        self.require_conversion_requests(&made, &base);
        self.require_same_files("v1").await?;

        let again = self.succeed(&["convert", &v1]).await?;
        assert!(again.ended.stdout.contains("already exists"), "{:#?}", again.ended);
        assert_eq!(again.counts.writes(), 0, "{:#?}", again.calls);
        assert_eq!(again.count(Kind::GetBlob, &base), 0, "the base was pulled: {:#?}", again.calls);

        let shown = self.succeed(&["inspect", &v1]).await?;
        assert_eq!(shown.counts.writes(), 0, "{:#?}", shown.calls);

        // Another version on the same base: without the layer cache, the registry's own tags lead to the
        // base's variant.
        self.lab.push("v2").await?;
        let variant_base = self.variant_base("v1").await?;
        let next = self.succeed(&["convert", &v2, "--no-layer-cache"]).await?;
        let uploaded = variant_base.replace(':', "%3A");
        assert_eq!(next.count(Kind::GetBlob, &base), 0, "the base was pulled: {:#?}", next.calls);
        assert_eq!(next.count(Kind::PutBlob, &uploaded), 0, "the base was uploaded: {:#?}", next.calls);
        assert_eq!(next.counts.get(Kind::PutManifest), 1, "{:#?}", next.calls);
        self.require_same_files("v2").await?;

        self.convert_into_new_repository(&v1).await?;
        self.refuse_other_credentials(&v1).await?;
        if self.lab.takes_identity_tokens() {
            self.step(Identity::StoredToken, &["inspect", &v1], 0).await?;
        }
        self.refuse_to_move_immutable_tags(&v1).await?;
        assert_eq!(self.lab.violations(), [""; 0], "{}", self.report);
        println!("{}\n{}", self.lab.product.name, self.report);
        Ok(())
    }

    /// The requests of a first conversion: each source layer is pulled once, each variant layer uploaded
    /// once, and the variant pushed once.
    fn require_conversion_requests(&self, made: &Step, base: &str) {
        let calls = &made.calls;
        assert_eq!(made.count(Kind::GetBlob, base), 1, "{calls:#?}");
        let count = |kind| made.counts.get(kind);
        assert_eq!((count(Kind::Patch), count(Kind::PutManifest)), (1, 1), "{calls:#?}");
        assert_eq!((count(Kind::Mount), count(Kind::Cancel), count(Kind::Other)), (0, 0, 0), "{calls:#?}");
        assert_eq!(count(Kind::Post), LAYERS, "{calls:#?}");
        let stores = self.profile().is_some_and(|profile| profile.uploads.single_post == SinglePost::Stored);
        // The small layer goes with its POST if the product stores it.
        assert_eq!(count(Kind::PutBlob), if stores { LAYERS - 1 } else { LAYERS }, "{calls:#?}");
        for (kind, max) in MAX_REQUESTS {
            assert!(count(kind) <= max, "more than {max} of {kind:?}: {calls:#?}");
        }
    }

    async fn convert_into_new_repository(&mut self, source: &str) -> Result<()> {
        let target = self.lab.new_name("v1-zstd");
        let code = match self.lab.product.new_repository {
            NewRepository::Created => 0,
            NewRepository::Refused => 1,
        };
        if self.hides_missing_tags() {
            return self.convert_to_a_hidden_tag(source, &target).await;
        }
        let copied = self.step(Identity::User, &["convert", source, &target], code).await?;
        if code != 0 {
            assert!(copied.ended.stderr.contains("create-repository"), "{:#?}", copied.ended);
            return Ok(());
        }
        let reader = RepositoryReader::new(&self.lab.registry, &self.lab.new_repository());
        let stored = reader.manifest("v1-zstd").await?.json;
        let source = self.reader().manifest("v1").await?.json;
        reader.require_same_files(&stored, &source).await?;
        let mounts = self.profile().is_none_or(|profile| profile.uploads.mount == Mount::Linked);
        assert_eq!(copied.counts.get(Kind::Patch) == 0, mounts, "{:#?}", copied.calls);
        Ok(())
    }

    /// Returns whether a missing tag is answered as one that may not be read.
    fn hides_missing_tags(&self) -> bool {
        self.profile().is_some_and(|profile| profile.manifests.missing.status == StatusCode::FORBIDDEN)
    }

    /// A push to a tag that the user chose and the product hides could replace an image.
    async fn convert_to_a_hidden_tag(&mut self, source: &str, target: &str) -> Result<()> {
        let refused = self.step(Identity::User, &["convert", source, target], 4).await?;
        assert!(refused.ended.stderr.contains("--force"), "{:#?}", refused.ended);
        assert_eq!(refused.counts.writes(), 0, "{:#?}", refused.calls);
        self.succeed(&["convert", "--force", source, target]).await?;
        let reader = RepositoryReader::new(&self.lab.registry, &self.lab.new_repository());
        let (stored, source) =
            (reader.manifest("v1-zstd").await?.json, self.reader().manifest("v1").await?.json);
        reader.require_same_files(&stored, &source).await
    }

    async fn refuse_other_credentials(&mut self, image: &str) -> Result<()> {
        let code = match self.lab.product.anonymous {
            Anonymous::Refused => 4,
            Anonymous::Pulls => 0,
        };
        self.step(Identity::Anonymous, &["inspect", image], code).await?;
        for arguments in [["inspect", image], ["convert", image]] {
            let refused = self.step(Identity::WrongPassword, &arguments, 4).await?;
            assert_eq!(refused.counts.writes(), 0, "{:#?}", refused.calls);
            assert!(!refused.ended.stderr.contains("wrong-password"), "{:#?}", refused.ended);
        }
        Ok(())
    }

    /// An immutable tag that has the variant is no error, one with other content is.
    async fn refuse_to_move_immutable_tags(&mut self, image: &str) -> Result<()> {
        if !self.lab.make_tags_immutable() {
            return Ok(());
        }
        let tag = self.variant_tag("v1").await?;
        let before = self.reader().digest(&tag).await?;
        let chosen = self.lab.name(&tag);
        self.succeed(&["convert", "--force", image]).await?;
        self.succeed(&["convert", "--force", image, &chosen]).await?;
        // Another variant has another name, unless the user insists.
        let other = ["convert", "--force", "--level", "1", image];
        self.succeed(&other).await?;
        let refused = self.step(Identity::User, &[&other[..], &[&chosen]].concat(), 8).await?;
        assert!(refused.ended.stderr.contains("tags are immutable"), "{:#?}", refused.ended);
        assert_eq!(self.reader().digest(&tag).await?, before);
        Ok(())
    }

    fn reader(&self) -> RepositoryReader {
        RepositoryReader::new(&self.lab.registry, &self.lab.repository())
    }

    /// Tag of a version's variant.
    async fn variant_tag(&self, version: &str) -> Result<String> {
        let start = format!("{version}-zstd-");
        let tags = self.reader().tags().await?;
        tags.into_iter().find(|tag| tag.starts_with(&start)).with_context(|| format!("no {start}…"))
    }

    async fn require_same_files(&self, version: &str) -> Result<()> {
        let reader = self.reader();
        let variant = reader.manifest(&self.variant_tag(version).await?).await?.json;
        reader.require_same_files(&variant, &reader.manifest(version).await?.json).await
    }

    /// Digest of the base layer of the source.
    async fn source_base(&self) -> Result<String> {
        Ok(text(&layers(&self.reader().manifest("v1").await?.json)?[0]["digest"])?.to_owned())
    }

    /// Digest of the base layer of a version's variant.
    async fn variant_base(&self, version: &str) -> Result<String> {
        let variant = self.reader().manifest(&self.variant_tag(version).await?).await?.json;
        Ok(text(&layers(&variant)?[0]["digest"])?.to_owned())
    }
}
