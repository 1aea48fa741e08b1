//! Targets that the registry refuses to show, and existing variants that are incomplete.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use crate::command::Zstart;
use crate::exit_codes::require_failure;

struct Lab {
    zstart: Zstart,
    registry: Registry,
    gateway: Gateway,
}

impl Lab {
    /// A registry with the image `app:v1` behind a gateway.
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let image = Fixture::new().layer(&[("etc/app", b"configuration")]);
        image.push(&registry.host(), "app:v1").await?;
        let gateway = Gateway::start(&registry.host()).await?;
        Ok(Self { zstart: Zstart::find()?, registry, gateway })
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.gateway.host())
    }

    fn deny(&self, part: &str) {
        self.gateway.fault(Method::GET, part, Fault::Respond(StatusCode::FORBIDDEN, vec![], "denied"));
        self.gateway.fault(Method::HEAD, part, Fault::Respond(StatusCode::FORBIDDEN, vec![], ""));
    }
}

#[tokio::test]
async fn dry_run_says_that_the_target_is_not_shown() -> Result<()> {
    let lab = Lab::start().await?;
    lab.deny("/v2/mirror/");
    let printed =
        lab.zstart.print(&["convert", &lab.name("app:v1"), &lab.name("mirror"), "--dry-run"]).await?;
    let last = printed.lines().last().context("a line")?;
    assert!(last.starts_with(&format!("would create {}:v1-zstd-", lab.name("mirror"))), "{last}");
    assert!(last.ends_with(" (the registry refuses to show whether it exists)"), "{last}");

    // A list of tags that names others says that this one doesn't exist.
    lab.gateway.clear_faults();
    lab.deny("-zstd-");
    let printed = lab.zstart.print(&["convert", &lab.name("app:v1"), "--dry-run"]).await?;
    let last = printed.lines().last().context("a line")?;
    assert!(last.starts_with("would create ") && !last.ends_with(')'), "{last}");
    let writes = lab
        .gateway
        .calls()
        .into_iter()
        .filter(|call| !call.starts_with("GET ") && !call.starts_with("HEAD "));
    assert_eq!(writes.count(), 0);
    Ok(())
}

#[tokio::test]
async fn chosen_tag_that_is_not_shown_needs_force() -> Result<()> {
    let lab = Lab::start().await?;
    lab.deny("/v2/mirror/");
    let (source, target) = (lab.name("app:v1"), lab.name("mirror:stable"));
    let said = ["failed to look for an image at target", &target, "--force", "HTTP 403 denied"];
    require_failure(&lab.zstart, &["convert", &source, &target], 4, &said).await?;
    let stored = RepositoryReader::new(&lab.registry, "mirror");
    assert_eq!(stored.tags().await?, [""; 0]);
    let ended = lab.zstart.run(&["convert", &source, &target, "--force"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(stored.tags().await?, ["stable"]);
    Ok(())
}

/// Registries shorten lists of tags, deny them with 404, and link to pages at addresses of their own network.
#[tokio::test]
async fn chosen_tag_survives_whatever_the_list_says() -> Result<()> {
    let lab = Lab::start().await?;
    let other = Fixture::new().layer(&[("other", b"other")]);
    let kept = other.push(&lab.registry.host(), "mirror:prod").await?;
    let list = |link: &str| {
        Fault::Respond(StatusCode::OK, vec![("link", link.to_owned())], "{\"tags\": [\"latest\"]}")
    };
    let (source, target) = (lab.name("app:v1"), lab.name("mirror:prod"));
    for answer in [
        Fault::Respond(StatusCode::NOT_FOUND, vec![], ""),
        list("<?last=latest>; rel=\"next\""),
        list("<http://registry.internal/v2/mirror/tags/list?last=latest>; rel=\"next\""),
        list(""),
    ] {
        lab.gateway.clear_faults();
        lab.deny("/v2/mirror/manifests/prod");
        lab.gateway.fault(Method::GET, "/tags/list", answer);
        let said = ["failed to look for an image at target", &target, "--force"];
        require_failure(&lab.zstart, &["convert", &source, &target], 4, &said).await?;
        assert_eq!(RepositoryReader::new(&lab.registry, "mirror").digest("prod").await?, kept);
    }
    Ok(())
}

/// An index of two platforms.
async fn push_index(lab: &Lab) -> Result<()> {
    let image =
        |architecture| Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 9000);
    let index = Index::new().oci().image(&image("amd64"))?.image(&image("arm64"))?;
    index.prepare()?.push(&lab.registry.host(), "app:v2").await?;
    Ok(())
}

#[tokio::test]
async fn hidden_variant_is_not_replaced() -> Result<()> {
    let lab = Lab::start().await?;
    push_index(&lab).await?;
    let (source, target) = (lab.name("app:v2"), lab.name("mirror"));
    lab.zstart.print(&["convert", &source, &target]).await?;
    let stored = RepositoryReader::new(&lab.registry, "mirror");
    let tag = stored.tags().await?.pop().context("a tag")?;
    let full = stored.digest(&tag).await?;
    lab.deny("/v2/mirror/");
    let ended = lab.zstart.run(&["convert", &source, &target, "--platform", "linux/amd64"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(stored.digest(&tag).await?, full);
    let named = stored.tags().await?.into_iter().filter(|tag| tag.starts_with("v2-zstd-"));
    assert_eq!(named.count(), 2, "one platform has another name");
    Ok(())
}

#[tokio::test]
async fn denied_manifest_of_a_variant_is_named() -> Result<()> {
    let lab = Lab::start().await?;
    push_index(&lab).await?;
    let convert = ["convert", &*lab.name("app:v2")].map(ToOwned::to_owned);
    lab.zstart.print(&convert).await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let tag = stored.tags().await?.into_iter().find(|tag| tag.starts_with("v2-zstd-")).context("a tag")?;
    let variant = stored.manifest(&tag).await?.json;
    let entry = text(&variant["manifests"][1]["digest"])?;
    let denied = Fault::Respond(StatusCode::FORBIDDEN, vec![], "blocked by a policy");
    lab.gateway.fault_times(1, Method::GET, entry, denied);
    let ended = lab.zstart.run(&convert).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let named = ended.stderr.lines().find(|line| line.contains("counts as missing")).context("a warning")?;
    assert!(named.contains(entry) && named.contains("blocked by a policy"), "{named}");
    Ok(())
}

#[tokio::test]
async fn each_manifest_without_referrers_list_is_named() -> Result<()> {
    // Failing for good, and no list.
    for (status, body) in [(StatusCode::INTERNAL_SERVER_ERROR, ""), (StatusCode::OK, "<html>what?</html>")] {
        let lab = Lab::start().await?;
        push_index(&lab).await?;
        let index = RepositoryReader::new(&lab.registry, "app").manifest("v2").await?.json;
        lab.gateway.fault(Method::GET, "/referrers/", Fault::Respond(status, vec![], body));
        let ended = lab.zstart.run(&["convert", &lab.name("app:v2"), "--dry-run"]).await?;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        for entry in index["manifests"].as_array().context("entries")? {
            let digest = text(&entry["digest"])?;
            let warned =
                |line: &str| line.contains("a SOCI index of it would go unnoticed") && line.contains(digest);
            assert!(ended.stderr.lines().any(warned), "{status} {digest}: {}", ended.stderr);
        }
    }
    Ok(())
}

#[tokio::test]
async fn credentials_that_may_only_push_suffice_for_the_target() -> Result<()> {
    let lab = Lab::start().await?;
    lab.deny("/v2/mirror/");
    let ended = lab.zstart.run(&["convert", &lab.name("app:v1"), &lab.name("mirror")]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let last = ended.stdout.lines().last().context("a line")?;
    assert!(last.contains(", not verified (the credentials may not pull): "), "{last}");
    assert!(ended.stderr.contains("failed to verify the variant"), "{}", ended.stderr);
    let (stored, source) =
        (RepositoryReader::new(&lab.registry, "mirror"), RepositoryReader::new(&lab.registry, "app"));
    let tags = stored.tags().await?;
    let variant = stored.manifest(&tags[0]).await?.json;
    stored.require_same_files(&variant, &source.manifest("v1").await?.json).await
}

#[tokio::test]
async fn incomplete_variant_does_not_exist_already() -> Result<()> {
    // Storage that lists nothing denies what doesn't exist.
    for status in [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN] {
        require_repair(status).await?;
    }
    Ok(())
}

/// Requires that a variant is converted again whose lost layer is answered with this status.
async fn require_repair(status: StatusCode) -> Result<()> {
    let lab = Lab::start().await?;
    let convert = ["convert", &*lab.name("app:v1")].map(ToOwned::to_owned);
    lab.zstart.print(&convert).await?;
    assert!(lab.zstart.print(&convert).await?.contains("already exists: "));
    let stored = RepositoryReader::new(&lab.registry, "app");
    let tags = stored.tags().await?;
    let variant = stored.manifest(&tags[1]).await?;
    let lost = text(&layers(&variant.json)?[0]["digest"])?;
    stored.delete_blob(lost).await?;
    lab.gateway.fault_times(1, Method::HEAD, lost, Fault::Respond(status, vec![], ""));
    lab.gateway.fault_times(1, Method::GET, lost, Fault::Respond(status, vec![], "no such key"));
    let ended = lab.zstart.run(&convert).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("converted and verified in "), "{}", ended.stdout);
    assert!(ended.stderr.contains("the existing variant is incomplete"), "{}", ended.stderr);
    assert!(stored.has_blob(lost).await?);
    assert_eq!(stored.digest(&tags[1]).await?, variant.digest);
    Ok(())
}
