use proptest::prelude::*;

use super::*;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn variant_tag_keeps_source_tag_or_short_digest() {
    let digest = Digest::sha256_of(b"");
    assert_eq!(tag(&reference("app:v1.4"), &digest).as_str(), "v1.4-zstd-e3b0c44298fc");
    let by_digest = reference("app:v1.4").with_digest(digest.clone());
    assert_eq!(tag(&by_digest, &digest).as_str(), "sha256-e3b0c44298fc-zstd");
    let both = reference("app").with_tag_and_digest("v1".parse().unwrap(), digest.clone());
    assert_eq!(tag(&both, &digest), tag(&both.identity(), &digest));
}

#[test]
fn ordinary_tags_are_not_taken_for_variants() {
    for text in ["latest", "v1-zstd", "zstd", "v1-zstd-123", "sha256-zzzzzzzzzzzz-zstd", "sha256-abc-zstd"] {
        assert!(!is_variant_tag(&text.parse().unwrap()), "{text}");
    }
}

#[test]
fn variant_is_refused_as_source() {
    let variant = reference("app:v1-zstd-e3b0c44298fc");
    assert_eq!(require_source(&variant), Err(SourceError::AlreadyVariant { reference: variant.clone() }));
    assert!(require_source(&reference("app:v1")).is_ok());
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
        content in any::<[u8; 16]>(),
    ) {
        let source = reference("registry.example/app").with_tag(source_tag.parse().unwrap());
        let digest = Digest::sha256_of(&content);
        let variant = tag(&source, &digest);
        prop_assert!(variant.as_str().len() <= 128);
        prop_assert!(variant.as_str().parse::<Tag>().is_ok());
        prop_assert!(is_variant_tag(&variant));
        prop_assert_eq!(tag(&source, &digest), variant.clone());
        let by_digest = tag(&source.with_digest(digest.clone()), &digest);
        prop_assert!(is_variant_tag(&by_digest));
    }

    #[test]
    fn different_sources_get_different_variant_tags(
        first_tag in "[a-z0-9]{1,8}(x{0,120})",
        second_tag in "[a-z0-9]{1,8}(x{0,120})",
        first in any::<[u8; 16]>(),
        second in any::<[u8; 16]>(),
    ) {
        let source = reference("registry.example/app");
        let first_source = source.with_tag(first_tag.parse().unwrap());
        let second_source = source.with_tag(second_tag.parse().unwrap());
        let (one, other) = (Digest::sha256_of(&first), Digest::sha256_of(&second));
        if first != second {
            prop_assert_ne!(tag(&first_source, &one), tag(&first_source, &other));
            prop_assert_ne!(tag(&source.with_digest(one.clone()), &one), tag(&source.with_digest(other.clone()), &other));
        }
        if first_tag != second_tag {
            prop_assert_ne!(tag(&first_source, &one), tag(&second_source, &one));
        }
    }
}
