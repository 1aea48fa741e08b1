//! The input of a conversion in another process. It names no secret.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZero;

use serde::{Deserialize, Serialize};
use zstart_convert::{
    Level, LevelError, Method, Plan, PlatformSelection, Settings, TagChildren, Verification,
};
use zstart_core::{Digest, Platform, Reference};

use crate::config::Config;

/// Variable of the container's environment that has the [`Work`] as JSON.
pub const VARIABLE: &str = "ZSTART_WORK";
/// Digits of the hash in a Job's name.
const NAME_DIGITS: usize = 20;

/// A conversion for another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Work {
    /// Reference whose variant is made.
    pub source: Reference,
    /// Digest that the source had when the conversion was planned.
    pub digest: Digest,
    /// Platforms to convert.
    pub platforms: Vec<Platform>,
    /// zstd level of layers that are encoded.
    pub level: i32,
    /// Method for gzip layers.
    pub method: Method,
    /// Part of transcoded layers that is decoded again.
    pub verify: Verification,
    /// Maximum number of concurrent layers.
    pub layers_at_once: NonZero<usize>,
    /// Tags for the converted manifests that an index lists.
    pub tag_children: TagChildren,
    /// Registries that are reached over plain HTTP.
    pub plain_http_registries: BTreeSet<String>,
    /// Token servers outside the registry's own domain that may receive credentials.
    pub token_servers: BTreeSet<String>,
}

impl Work {
    /// The conversion that `plan` describes.
    pub(crate) fn new(source: &Reference, plan: &Plan, settings: &Settings, config: &Config) -> Self {
        let Config { plain_http_registries, token_servers, .. } = config;
        Self {
            source: source.clone(),
            digest: plan.source.digest.clone(),
            // Exactly those of the plan: a selection such as "all" could give other ones in another process.
            platforms: plan.conversions().map(|manifest| manifest.platform.clone()).collect(),
            level: settings.level.get(),
            method: settings.method,
            verify: settings.verification,
            layers_at_once: settings.layers_at_once,
            tag_children: settings.tag_children,
            plain_http_registries: plain_http_registries.clone(),
            token_servers: token_servers.clone(),
        }
    }

    /// Settings of the conversion.
    pub fn settings(&self) -> Result<Settings, LevelError> {
        Ok(Settings {
            level: Level::try_from(self.level)?,
            method: self.method,
            verification: self.verify,
            platforms: PlatformSelection::Only(self.platforms.clone()),
            layers_at_once: self.layers_at_once,
            tag_children: self.tag_children,
            ..Settings::default()
        })
    }

    /// Name of the Job. Equal repositories, digests and results give equal names, so a leader finds the Job of its
    /// predecessor. Two tags of one image share a Job.
    pub(crate) fn job_name(&self) -> String {
        let platforms: BTreeSet<String> = self.platforms.iter().map(ToString::to_string).collect();
        let Self { source, digest, level, method, tag_children, .. } = self;
        let mut text = format!("{}\n{digest}\n{level}\n{tag_children:?}\n", source.name());
        // As before there were methods, so that a new controller finds the Jobs of the former one.
        if *method != Method::Encode {
            text.push_str(method.name());
            text.push('\n');
        }
        for platform in platforms {
            // A String takes all that is written.
            let _ = writeln!(text, "{platform}");
        }
        format!("zstart-convert-{}", &Digest::sha256_of(text.as_bytes()).hex()[..NAME_DIGITS])
    }
}

#[cfg(test)]
pub(crate) fn example() -> Work {
    Work {
        source: "registry.example:5000/team/app:v1".parse().unwrap(),
        digest: Digest::sha256_of(b"source"),
        platforms: vec![Platform::new("linux", "amd64"), Platform::new("linux", "arm64")],
        level: 3,
        method: Method::Encode,
        verify: Verification::Sampled,
        layers_at_once: Settings::LAYERS_AT_ONCE,
        tag_children: TagChildren::Auto,
        plain_http_registries: BTreeSet::from(["registry.example:5000".to_owned()]),
        token_servers: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_depends_on_everything_that_decides_the_result() {
        let work = example();
        let name = work.job_name();
        assert_eq!(name, "zstart-convert-3c4dc390237222ac500f");
        assert!(name.len() <= 63 - "-abcde".len(), "the Job controller appends five letters for a pod");
        let mut reversed = work.clone();
        reversed.platforms.reverse();
        let other_tag = Work { source: "registry.example:5000/team/app:v2".parse().unwrap(), ..work.clone() };
        let faster = Work { layers_at_once: NonZero::new(9).unwrap(), ..work.clone() };
        let verified = Work { verify: Verification::Full, ..work.clone() };
        for same in [reversed, other_tag, faster, verified] {
            assert_eq!(same.job_name(), name, "{same:?}");
        }
        for other in [
            Work { source: "registry.example:5000/team/other:v1".parse().unwrap(), ..work.clone() },
            Work { source: "other.example/team/app:v1".parse().unwrap(), ..work.clone() },
            Work { digest: Digest::sha256_of(b"other"), ..work.clone() },
            Work { platforms: work.platforms[..1].to_vec(), ..work.clone() },
            Work { level: 9, ..work.clone() },
            Work { method: Method::Auto, ..work.clone() },
            Work { tag_children: TagChildren::Never, ..work.clone() },
        ] {
            assert_ne!(other.job_name(), name, "{other:?}");
        }
    }

    #[test]
    fn work_survives_its_way_through_the_environment() {
        let work = example();
        let text = serde_json::to_string(&work).unwrap();
        assert_eq!(serde_json::from_str::<Work>(&text).unwrap(), work);
        let settings = work.settings().unwrap();
        assert_eq!((settings.level.get(), settings.layers_at_once.get()), (3, 2));
        assert_eq!(settings.platforms, PlatformSelection::Only(work.platforms));
    }
}
