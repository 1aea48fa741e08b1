//! Tests of finding and replacing.

mod cloudformation;
mod json;
mod kubernetes;
mod random;
mod terraform;
mod terraform_json;
mod yaml;

use crate::{EditError, Format, ImageValue, Manifest, ParseError};

/// Reference that the tests write.
pub(super) const NEW: &str = "registry.example/app:v1-zstd-1a2b3c4d5e6f-27893757@sha256:\
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn parse(text: &str, format: Format) -> Manifest {
    Manifest::parse(text.to_owned(), format).expect("the text is valid")
}

pub(super) fn parse_error(text: &str, format: Format) -> ParseError {
    Manifest::parse(text.to_owned(), format).expect_err("the text is refused")
}

/// Images as `HOLDER: REFERENCE`, with expressions in parentheses.
pub(super) fn images(manifest: &Manifest) -> Vec<String> {
    let images = manifest.images().iter().map(|image| match &image.value {
        ImageValue::Reference(reference) => format!("{}: {reference}", image.holder),
        ImageValue::Expression(source) => format!("{}: ({source})", image.holder),
    });
    images.collect()
}

/// Replaces each image that is equal to `old`.
pub(super) fn replace(manifest: &Manifest, old: &str, new: &str) -> Result<String, EditError> {
    let is_old = |value: &ImageValue| *value == ImageValue::Reference(old.to_owned());
    let replacements: Vec<Option<String>> =
        manifest.images().iter().map(|image| is_old(&image.value).then(|| new.to_owned())).collect();
    assert!(replacements.iter().any(Option::is_some), "{old} is none of {:?}", images(manifest));
    manifest.replace(&replacements)
}

/// Requires that a replacement changes the text `old` and nothing else.
pub(super) fn require_edit(text: &str, format: Format, old: &str) {
    let edited = replace(&parse(text, format), old, NEW).expect("the text can be edited");
    assert_eq!(edited, text.replace(old, NEW));
}
