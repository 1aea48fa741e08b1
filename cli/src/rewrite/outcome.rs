//! Outcome for one image of a file.

use zstart_convert::{Error, Refusal};
use zstart_core::variant::require_source;
use zstart_core::{Glob, Reference, reference, units};
use zstart_rewrite::{ImageValue, Target};

use crate::convert::ready::{Missing, ReadyVariant};
use crate::error::CliError;

/// Result for a source. Equal images of all files share it.
pub(super) enum Outcome {
    /// A variant exists.
    Ready { variant: ReadyVariant, is_new: bool },
    /// The image stays, for this reason.
    Left(String),
    /// The image has no variant.
    Missing(Box<Missing>),
    /// The registry or the conversion failed.
    Failed(CliError),
}

/// Returns the reference to look up, or the reason why the image stays as it is.
pub(super) fn source(value: &ImageValue, only: &[Glob]) -> Result<Reference, String> {
    let written = match value {
        ImageValue::Reference(written) => written,
        ImageValue::Expression(_) => return Err("computed elsewhere, left alone".to_owned()),
    };
    let parsed = written.parse::<Reference>().map_err(|error| format!("left alone: {error}"))?;
    if !only.is_empty() && !only.iter().any(|pattern| pattern.matches(written)) {
        return Err("left alone: not selected by --only".to_owned());
    }
    if zstart_core::variant::is_written_variant(&parsed) {
        return Err(ALREADY_VARIANT.to_owned());
    }
    require_source(&parsed).map_err(|error| format!("left alone: {error}"))?;
    if !reference::names_registry(written) {
        return Err("left alone: it names no registry, and a variant needs a repository of yours".to_owned());
    }
    if parsed.registry() == "docker.io" && parsed.repository().starts_with("library/") {
        return Err(
            "left alone: an official image of Docker Hub has no variants; copy it to a registry of yours"
                .to_owned(),
        );
    }
    Ok(parsed)
}

const ALREADY_VARIANT: &str = "already a variant";

impl Outcome {
    /// Outcome of a failed look-up or conversion. A refusal is a property of the image, not a failure.
    pub(super) fn of_error(error: CliError) -> Self {
        match error {
            CliError::Convert(Error::Refused { reference: _, refusal }) => Self::Left(match refusal {
                Refusal::IsVariant => ALREADY_VARIANT.to_owned(),
                refusal => format!("left alone: {refusal}"),
            }),
            error => Self::Failed(error),
        }
    }

    /// Reference that replaces `written`, in the form that the runtime documents. The author's spelling of the name
    /// is kept.
    pub(super) fn replacement(&self, written: &str, target: Target) -> Option<String> {
        let Self::Ready { variant: ReadyVariant { tag, image }, is_new: _ } = self else { return None };
        let (name, digest) = (reference::written_name(written), &image.digest);
        Some(match target {
            Target::Kubernetes => format!("{name}:{tag}@{digest}"),
            // ECS documents a tag or a digest, and the digest decides what is pulled.
            Target::Ecs(_) => format!("{name}@{digest}"),
        })
    }

    /// Description for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ready { variant: ReadyVariant { tag, image }, is_new } => {
                let saved = units::saving(image.source_bytes(), image.variant_bytes());
                let new = if *is_new { ", converted now" } else { "" };
                format!("→ {tag}, {saved} smaller{new}")
            }
            Self::Left(reason) => reason.clone(),
            Self::Missing(_) => "no variant; --convert makes one".to_owned(),
            Self::Failed(error) => format!("error: {error}"),
        }
    }
}
