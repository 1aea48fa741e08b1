use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn content(seed: &[u8]) -> ContentHash {
    ContentHash::of([&Digest::sha256_of(seed)], "zstart/3")
}

#[test]
fn variant_tag_keeps_source_tag_or_short_digest() {
    let digest: Digest = DIGEST.parse().unwrap();
    let names = VariantNames::of(&reference("app:v1.4"), &digest);
    let hash = content(b"").0;
    assert_eq!(names.tag(&content(b"")).as_str(), format!("v1.4-zstd-e3b0c44298fc-{hash}"));
    assert_eq!(names.first_form().as_str(), "v1.4-zstd-e3b0c44298fc");
    let by_digest = VariantNames::of(&reference("app:v1.4").with_digest(digest.clone()), &digest);
    assert_eq!(by_digest.tag(&content(b"")).as_str(), format!("sha256-e3b0c44298fc-zstd-{hash}"));
    assert_eq!(by_digest.first_form().as_str(), "sha256-e3b0c44298fc-zstd");
    let both = reference("app").with_tag_and_digest(tag("v1"), digest.clone());
    assert_eq!(VariantNames::of(&both, &digest), VariantNames::of(&both.identity(), &digest));
}

#[test]
fn content_hash_depends_on_manifests_and_settings() {
    let (one, other) = (Digest::sha256_of(b"1"), Digest::sha256_of(b"2"));
    let both = ContentHash::of([&one, &other], "a");
    assert_eq!(ContentHash::of([&other, &one, &other], "a"), both, "the order doesn't matter");
    assert_ne!(ContentHash::of([&one], "a"), both);
    assert_ne!(ContentHash::of([&one, &other], "b"), both);
    // The name is a contract with the registries' content: this value never changes.
    assert_eq!(ContentHash::of([&DIGEST.parse().unwrap()], "zstart/3;zstd=1.5.7;level=3").0, "27893757");
}

#[test]
fn parts_of_every_form_are_found() {
    for (text, stem, content) in [
        ("v1-zstd-0123456789ab", Some("v1"), None),
        ("v1-zstd-0123456789ab-01234567", Some("v1"), Some("01234567")),
        ("sha256-0123456789ab-zstd", None, None),
        ("sha256-0123456789ab-zstd-01234567", None, Some("01234567")),
        ("sha256-0123456789ab-zstd-0123456789ab", Some("sha256-0123456789ab"), None),
        ("a-zstd-ffffffffffff-zstd-0123456789ab", Some("a-zstd-ffffffffffff"), None),
    ] {
        let tag = tag(text);
        assert_eq!(
            VariantTag::parse(&tag),
            Some(VariantTag { stem, source: "0123456789ab", content }),
            "{text}"
        );
    }
}

#[test]
fn ordinary_tags_are_not_taken_for_variants() {
    for text in [
        "latest",
        "v1-zstd",
        "zstd",
        "v1-zstd-123",
        "sha256-zzzzzzzzzzzz-zstd",
        "sha256-abc-zstd",
        "v1-zstd-01234567",
        "v1-zstd-0123456789AB",
        "v1-zstd-0123456789ab-0123456",
        "v1-zstd-0123456789ab-012345678",
        "v1-zstd-0123456789ab-01234567-1",
        "sha256-0123456789ab-zstd-0123456",
    ] {
        assert!(!is_variant_tag(&tag(text)), "{text}");
    }
}

#[test]
fn names_contain_both_forms_of_their_source_only() {
    let digest: Digest = DIGEST.parse().unwrap();
    let names = VariantNames::of(&reference("app:v1"), &digest);
    for (text, expected) in [
        ("v1-zstd-e3b0c44298fc", true),
        ("v1-zstd-e3b0c44298fc-01234567", true),
        ("v1-zstd-e3b0c44298fc-0123456x", false),
        ("v1-zstd-e3b0c44298fc-", false),
        ("v1-zstd-0123456789ab", false),
        ("v10-zstd-e3b0c44298fc", false),
        ("sha256-e3b0c44298fc-zstd-01234567", false),
        ("v1", false),
    ] {
        assert_eq!(names.contains(&tag(text)), expected, "{text}");
    }
}

#[test]
fn variant_written_by_zstart_is_refused_as_source() {
    for name in ["v1-zstd-e3b0c44298fc", "v1-zstd-e3b0c44298fc-01234567"] {
        // A user's own tag may have this form. The manifest tells.
        assert!(require_source(&reference(&format!("app:{name}"))).is_ok());
        let variant = reference(&format!("app:{name}@{DIGEST}"));
        assert_eq!(require_source(&variant), Err(SourceError::AlreadyVariant { reference: variant.clone() }));
    }
    for name in ["sha256-e3b0c44298fc-zstd", "sha256-e3b0c44298fc-zstd-01234567"] {
        assert!(require_source(&reference(&format!("app:{name}"))).is_err());
    }
    assert!(require_source(&reference(&format!("app:v1@{DIGEST}"))).is_ok());
}

#[test]
fn source_digest_must_be_sha256() {
    assert!(require_source(&reference(&format!("app@sha256:{}", "a".repeat(64)))).is_ok());
    let other = reference(&format!("app@sha512:{}", "a".repeat(128)));
    assert_eq!(require_source(&other), Err(SourceError::UnsupportedDigest { reference: other.clone() }));
}

proptest! {
    #[test]
    fn variant_tag_is_valid_recognised_and_deterministic(
        source_tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
        seed in any::<[u8; 16]>(),
    ) {
        let source = reference("registry.example/app").with_tag(source_tag.parse().unwrap());
        let digest = Digest::sha256_of(&seed);
        for source in [source.clone(), source.with_digest(digest.clone())] {
            let names = VariantNames::of(&source, &digest);
            prop_assert_eq!(VariantNames::of(&source, &digest), names.clone());
            let made = names.tag(&content(&seed));
            for variant in [&made, names.first_form()] {
                prop_assert!(variant.as_str().len() <= 128);
                prop_assert!(variant.as_str().parse::<Tag>().is_ok());
                prop_assert!(names.contains(variant));
                let parts = VariantTag::parse(variant).unwrap();
                prop_assert_eq!(parts.source, digest.short());
                prop_assert_eq!(parts.stem.is_none(), source.digest().is_some());
                prop_assert_eq!(parts.content.is_some(), variant == &made);
            }
        }
    }

    #[test]
    fn different_sources_and_contents_get_different_tags(
        first_tag in "[a-z0-9]{1,8}(x{0,120})",
        second_tag in "[a-z0-9]{1,8}(x{0,120})",
        first in any::<[u8; 16]>(),
        second in any::<[u8; 16]>(),
    ) {
        let source = reference("registry.example/app");
        let first_source = source.with_tag(first_tag.parse().unwrap());
        let second_source = source.with_tag(second_tag.parse().unwrap());
        let (one, other) = (Digest::sha256_of(&first), Digest::sha256_of(&second));
        let names = |source: &Reference, digest: &Digest| VariantNames::of(source, digest);
        let require_disjoint = |left: VariantNames, right: VariantNames| {
            prop_assert_ne!(left.prefix(), right.prefix());
            for (left, right) in [(&left, &right), (&right, &left)] {
                prop_assert!(!left.contains(right.first_form()));
                prop_assert!(!left.contains(&right.tag(&content(b""))));
            }
            Ok(())
        };
        if first != second {
            require_disjoint(names(&first_source, &one), names(&first_source, &other))?;
            let by_digest = |digest: &Digest| names(&source.with_digest(digest.clone()), digest);
            require_disjoint(by_digest(&one), by_digest(&other))?;
            prop_assert_ne!(content(&first), content(&second));
        }
        if first_tag != second_tag {
            require_disjoint(names(&first_source, &one), names(&second_source, &one))?;
        }
        require_disjoint(names(&first_source, &one), names(&source.with_digest(one.clone()), &one))?;
    }
}
