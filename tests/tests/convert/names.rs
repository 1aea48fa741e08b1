//! Names of variants: written once, found again, and the best one taken.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use zstart_convert::{Level, PlatformSelection, Settings, TagChildren};
use zstart_core::variant::{VariantTag, is_variant_tag};
use zstart_core::{Digest, Platform, Tag};
use zstart_tests::images::{Fixture, Index, Prepared};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::profiles::Release;
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use crate::conversion::{Converted, Lab};

fn image(architecture: &str) -> Fixture {
    Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 50_000)
}

fn index() -> Result<Prepared> {
    Index::new().oci().image(&image("amd64"))?.image(&image("arm64"))?.image(&image("s390x"))?.prepare()
}

fn settings(architectures: &[&str], level: i32) -> Result<Settings> {
    let platforms = architectures.iter().map(|architecture| Platform::new("linux", architecture)).collect();
    Ok(Settings {
        level: Level::try_from(level)?,
        platforms: PlatformSelection::Only(platforms),
        ..Settings::default()
    })
}

/// A registry with the index `app:v1`.
async fn with_index() -> Result<(Lab, RepositoryReader, Digest)> {
    let lab = Lab::start().await?;
    let source = index()?.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    Ok((lab, stored, source))
}

impl Lab {
    /// Converts `app:v1`, also if a variant exists.
    async fn make(&self, architectures: &[&str], level: i32) -> Result<Converted> {
        Ok(self.conversion("app:v1").settings(settings(architectures, level)?).forced().run().await?)
    }

    /// Finds or converts `app:v1`.
    async fn find(&self, architectures: &[&str], level: i32) -> Result<Converted> {
        Ok(self.conversion("app:v1").settings(settings(architectures, level)?).run().await?)
    }
}

/// Tags of a repository in the form of a variant's of a tag, and of one that is named by digest.
async fn variant_tags(stored: &RepositoryReader) -> Result<(Vec<String>, Vec<String>)> {
    let tags: Vec<Tag> = stored.tags().await?.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
    let (mut named, mut digests) = (Vec::new(), Vec::new());
    for tag in tags.iter().filter(|tag| is_variant_tag(tag)) {
        let parts = VariantTag::parse(tag).context("a variant's tag")?;
        if parts.stem.is_some() { &mut named } else { &mut digests }.push(tag.to_string());
    }
    Ok((named, digests))
}

#[tokio::test]
async fn tag_names_one_content_for_good() -> Result<()> {
    let (lab, stored, _) = with_index().await?;
    let mut made = Vec::new();
    for (architectures, level) in
        [(&["amd64"][..], 3), (&["amd64", "arm64"], 3), (&["amd64"], 9), (&["amd64", "arm64"], 9)]
    {
        let first = lab.make(architectures, level).await?;
        let second = lab.make(architectures, level).await?;
        assert_eq!((&first.tag, &first.image), (&second.tag, &second.image));
        made.push(first);
    }
    let (tags, _) = variant_tags(&stored).await?;
    assert_eq!(tags.len(), made.len(), "{tags:?}");
    for converted in &made {
        assert_eq!(stored.digest(converted.tag.as_str()).await?, converted.image.digest);
    }
    Ok(())
}

#[tokio::test]
async fn variant_with_most_wanted_platforms_and_level_is_taken() -> Result<()> {
    let (lab, _, _) = with_index().await?;
    let small = lab.make(&["amd64"], 3).await?;
    let other = lab.make(&["arm64"], 9).await?;
    let large = lab.make(&["amd64", "arm64"], 3).await?;
    let packed = lab.make(&["amd64", "arm64"], 9).await?;
    let recording = lab.gateway.record();
    for (architectures, level, expected) in [
        (&["amd64", "arm64"][..], 9, &packed),
        (&["amd64", "arm64"], 3, &large),
        // Of equal settings, the one that others can use too.
        (&["amd64"], 3, &large),
        (&["arm64"], 9, &packed),
    ] {
        let found = lab.find(architectures, level).await?;
        assert_eq!((found.reused, &found.tag), (true, &expected.tag), "{architectures:?} {level}");
    }
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.starts_with("HEAD ")), "{calls:#?}");
    for unused in [small, other] {
        assert_ne!(unused.tag, large.tag);
    }
    Ok(())
}

#[tokio::test]
async fn incomplete_variant_is_passed_over() -> Result<()> {
    let (lab, stored, _) = with_index().await?;
    let small = lab.make(&["amd64"], 3).await?;
    let large = lab.make(&["amd64", "arm64"], 3).await?;
    let arm = stored.manifest_for(large.tag.as_str(), "arm64").await?;
    stored.delete_blob(text(&layers(&arm)?[0]["digest"])?).await?;
    let found = lab.find(&["amd64"], 3).await?;
    assert_eq!((found.reused, &found.tag), (true, &small.tag));
    // A conversion for both makes the equal variant whole again.
    let again = lab.find(&["amd64", "arm64"], 3).await?;
    assert_eq!((again.reused, &again.tag, &again.image.digest), (false, &large.tag, &large.image.digest));
    assert_eq!(lab.find(&["amd64"], 3).await?.tag, large.tag);
    Ok(())
}

#[tokio::test]
async fn first_form_variant_is_reused_and_never_rewritten() -> Result<()> {
    let (lab, stored, source) = with_index().await?;
    let conversion = lab.conversion("app:v1").settings(settings(&["amd64"], 3)?);
    let old = conversion.names(&source).first_form().clone();
    let made = conversion.clone().over(old.as_str()).run().await?;
    assert_eq!(made.tag, old);
    let recording = lab.gateway.record();
    let found = conversion.run().await?;
    assert_eq!((found.reused, &found.tag, &found.image), (true, &old, &made.image));
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.starts_with("HEAD ")), "{calls:#?}");

    // Another platform gets a tag of the new form, which covers the old variant's platforms too.
    let both = lab.find(&["arm64"], 3).await?;
    assert_eq!((both.reused, both.image.platforms.len()), (false, 2));
    assert_ne!(both.tag, old);
    assert_eq!(stored.digest(old.as_str()).await?, made.image.digest, "pods run it");
    Ok(())
}

#[tokio::test]
async fn known_variant_suffices_without_a_list_of_tags() -> Result<()> {
    let (lab, ..) = with_index().await?;
    let large = lab.make(&["amd64", "arm64"], 3).await?;
    let packed = lab.make(&["amd64", "arm64"], 9).await?;
    let conversion =
        |architectures: &[&str]| anyhow::Ok(lab.conversion("app:v1").settings(settings(architectures, 9)?));
    let recording = lab.gateway.record();
    let found = conversion(&["amd64"])?.search(&large.tag, &large.image.digest).await?;
    assert_eq!((found.known_is_whole, found.best.map(|best| best.tag)), (true, Some(large.tag.clone())));
    assert!(!recording.calls().iter().any(|call| call.contains("/tags/list")), "{:#?}", recording.calls());

    // A platform is missing: others may have it.
    let found = conversion(&["amd64", "s390x"])?.search(&large.tag, &large.image.digest).await?;
    let best = found.best.context("no variant")?;
    assert_eq!((found.known_is_whole, &best.tag, best.is_complete), (true, &packed.tag, false));
    assert_eq!(found.other_platforms, [Platform::new("linux", "arm64")]);

    // It has nothing to offer, and is whole all the same.
    let found = conversion(&["s390x"])?.search(&large.tag, &large.image.digest).await?;
    assert_eq!((found.known_is_whole, found.best), (true, None));
    Ok(())
}

#[tokio::test]
async fn known_variant_whose_tag_moved_is_not_whole() -> Result<()> {
    let (lab, _, source) = with_index().await?;
    let conversion = lab.conversion("app:v1").settings(settings(&["amd64"], 3)?);
    let old = conversion.names(&source).first_form().clone();
    let first = conversion.clone().over(old.as_str()).run().await?;
    // An earlier version of zstart moved its tags.
    let both = lab.conversion("app:v1").settings(settings(&["amd64", "arm64"], 3)?);
    let second = both.over(old.as_str()).run().await?;
    let found = conversion.search(&old, &first.image.digest).await?;
    assert!(!found.known_is_whole);
    assert_eq!(found.best.map(|best| best.image.digest), Some(second.image.digest));
    Ok(())
}

#[tokio::test]
async fn first_form_is_found_without_a_list_of_tags() -> Result<()> {
    let (lab, _, source) = with_index().await?;
    let conversion = lab.conversion("app:v1").settings(settings(&["amd64"], 3)?);
    let old = conversion.names(&source).first_form().clone();
    conversion.clone().over(old.as_str()).run().await?;
    let refused = Fault::Respond(StatusCode::METHOD_NOT_ALLOWED, vec![], "");
    lab.gateway.fault(Method::GET, "/tags/list", refused);
    let found = conversion.run().await?;
    assert_eq!((found.reused, found.tag), (true, old));
    Ok(())
}

#[tokio::test]
async fn equal_variant_is_no_conflict_without_a_list_of_tags() -> Result<()> {
    let (lab, stored, _) = with_index().await?;
    let first = lab.find(&["amd64"], 3).await?;
    let refused = Fault::Respond(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#);
    lab.gateway.fault(Method::GET, "/tags/list", refused);
    // A repository with immutable tags refuses the push of an equal manifest too.
    let immutable = Fault::Respond(StatusCode::BAD_REQUEST, vec![], r#"{"errors":[{"code":"TAG_INVALID"}]}"#);
    lab.gateway.fault(Method::PUT, "-zstd-", immutable);
    let again = lab.find(&["amd64"], 3).await?;
    assert_eq!((again.reused, &again.tag, &again.image), (false, &first.tag, &first.image));
    assert_eq!(stored.digest(first.tag.as_str()).await?, first.image.digest);
    Ok(())
}

#[tokio::test]
async fn search_for_a_new_source_is_one_list_of_tags() -> Result<()> {
    let (lab, ..) = with_index().await?;
    let recording = lab.gateway.record();
    let made = lab.find(&["amd64"], 3).await?;
    let calls = recording.calls();
    let count = |method: &str, part: &str| {
        calls.iter().filter(|call| call.starts_with(method) && call.contains(part)).count()
    };
    assert_eq!(count("GET ", "/tags/list"), 1, "{calls:#?}");
    let tag = made.tag.as_str();
    // Before the push, and to verify the push.
    assert_eq!((count("HEAD ", tag), count("GET ", tag), count("PUT ", tag)), (1, 1, 1), "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn child_manifests_are_variants_of_their_sources() -> Result<()> {
    let (lab, stored, _) = with_index().await?;
    let made = lab.find(&["amd64", "arm64"], 3).await?;
    let (named, children) = variant_tags(&stored).await?;
    assert_eq!((named, children.len()), (vec![made.tag.to_string()], 2));
    let source = stored.manifest("v1").await?.json;
    for (entry, architecture) in
        source["manifests"].as_array().context("entries")?.iter().zip(["amd64", "arm64"])
    {
        // The image of a pod that names the platform's manifest by digest.
        let digest = text(&entry["digest"])?;
        let found = lab.conversion(&format!("app@{digest}")).run().await?;
        assert!(found.reused && children.contains(&found.tag.to_string()), "{found:?}");
        let variant = stored.manifest_for(made.tag.as_str(), architecture).await?;
        assert_eq!(stored.manifest(found.tag.as_str()).await?.json, variant);
    }
    Ok(())
}

#[tokio::test]
async fn tagged_children_survive_the_collection_of_untagged() -> Result<()> {
    let architectures = ["amd64", "arm64"];
    for (tag_children, survives) in [(TagChildren::Auto, true), (TagChildren::Never, false)] {
        let (lab, stored, _) = with_index().await?;
        let settings = Settings { tag_children, ..settings(&architectures, 3)? };
        let made = lab.conversion("app:v1").settings(settings).run().await?;
        let mut variants = Vec::new();
        for architecture in architectures {
            variants.push(stored.manifest_for(made.tag.as_str(), architecture).await?);
        }
        let index = stored.manifest(made.tag.as_str()).await?.json;
        // The source's own children have no tags.
        let before = stored.manifest_for("v1", "s390x").await?;
        lab.registry.collect_garbage(Release::Debian).await?;
        assert!(stored.has_manifest(made.tag.as_str()).await?, "an index with a tag");
        for (position, variant) in variants.iter().enumerate() {
            let digest = text(&index["manifests"][position]["digest"])?;
            assert_eq!(stored.has_manifest(digest).await?, survives, "{tag_children:?}");
            for layer in layers(variant)? {
                assert_eq!(stored.has_blob(text(&layer["digest"])?).await?, survives, "{tag_children:?}");
            }
        }
        assert!(!stored.has_blob(text(&layers(&before)?[0]["digest"])?).await?, "the collection deletes");
    }
    Ok(())
}
