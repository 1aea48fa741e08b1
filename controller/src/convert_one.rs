//! Converts one image, then ends: the program of a conversion's Job.
//!
//! The input is in the environment ([`Work`]), the login in a mounted file, and the result becomes the container's
//! termination message. The process talks to registries alone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;
use zstart_convert::progress::Silent;
use zstart_convert::{Execution, Job, LayerCache, LevelError, VariantTagging};
use zstart_core::VariantNames;
use zstart_registry::auth::{Credentials, CredentialsError, CredentialsFileError, DockerConfig};
use zstart_registry::{ClientError, ManifestKey, RegistryClient, RegistryOptions};

use crate::executor::job_result::{Claim, Failed, JobResult};
use crate::executor::work::{VARIABLE, Work};
use crate::reconcile::chain_with_hint;

/// Arguments of the conversion of one image.
#[derive(Debug, Args)]
pub struct ConvertOneArguments {
    /// The conversion, as the controller writes it, in JSON.
    #[arg(long, env = VARIABLE, hide_env_values = true, value_parser = parse_work)]
    work: Work,
    /// Docker config with the login.
    #[arg(long, value_name = "FILE")]
    login: PathBuf,
    /// File that gets the result.
    #[arg(long, value_name = "FILE")]
    result: PathBuf,
}

/// Error of a conversion in a process of its own.
#[derive(Debug, Error)]
pub enum ConvertOneError {
    /// The login can't be read.
    #[error("failed to read the login")]
    Login(#[from] CredentialsFileError),
    /// The login can't be used.
    #[error("failed to use the login in {}", file.display())]
    Credentials {
        /// Path of the file.
        file: PathBuf,
        /// Cause.
        source: CredentialsError,
    },
    /// The registry client can't be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// zstd has no such level.
    #[error("the level is invalid")]
    Level(#[from] LevelError),
    /// The conversion failed.
    #[error("{}", chain_with_hint(.0))]
    Convert(zstart_convert::Error),
    /// The process was told to end. Kubernetes knows why.
    #[error("stopped before the conversion was complete")]
    Stopped,
    /// The result can't be written.
    #[error("failed to write the result to {}", file.display())]
    Result {
        /// Path of the file.
        file: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

fn parse_work(text: &str) -> Result<Work, String> {
    serde_json::from_str(text).map_err(|error| format!("{VARIABLE} is no conversion: {error}"))
}

/// Converts the image and writes the result.
pub async fn convert_one(
    arguments: ConvertOneArguments,
    shutdown: CancellationToken,
) -> Result<(), ConvertOneError> {
    let ConvertOneArguments { work, login, result: file } = arguments;
    let converted = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Err(ConvertOneError::Stopped),
        converted = convert(&work, &login) => converted,
    };
    let (result, ended) = match converted {
        Ok(claim) => (JobResult::Converted(claim), Ok(())),
        Err(error) => (JobResult::Failed(failed(&error)), Err(error)),
    };
    std::fs::write(&file, result.to_message())
        .map_err(|source| ConvertOneError::Result { file: file.clone(), source })?;
    ended
}

async fn convert(work: &Work, login: &Path) -> Result<Claim, ConvertOneError> {
    let started = Instant::now();
    let settings = work.settings()?;
    let config = DockerConfig::load(login)?.without_helpers();
    let credentials = config.credentials_for(&work.source).await;
    let credentials = credentials
        .map_err(|source| ConvertOneError::Credentials { file: login.to_owned(), source })?
        .unwrap_or(Credentials::Anonymous);
    let plain_http = work.plain_http_registries.iter().cloned().collect();
    let token_servers = work.token_servers.iter().cloned().collect();
    let registries =
        RegistryClient::new(RegistryOptions { plain_http, token_servers, ..RegistryOptions::default() })?;
    let repository = registries.repository(&work.source, credentials);
    let (source, digest) = (&work.source, &work.digest);
    info!(%source, %digest, "converting an image");
    let execute = async {
        let resolved = zstart_convert::resolve(&*repository, ManifestKey::Digest(digest)).await?;
        let plan = zstart_convert::plan(&*repository, &resolved, &settings).await?;
        let names = VariantNames::of(source, digest);
        let job = Job {
            source: &*repository,
            target: &*repository,
            settings: &settings,
            layer_cache: &LayerCache::default(),
            progress: &Silent,
        };
        let tagging = VariantTagging::Derived { names: &names, listing: None };
        zstart_convert::execute(job, source, tagging, &plan).await
    };
    let Execution { image, tag, layers_reused, transcoder_faults } =
        execute.await.map_err(ConvertOneError::Convert)?;
    info!(%source, %digest, %tag, layers_reused, "converted an image");
    Ok(Claim { tag, digest: image.digest, layers_reused, transcoder_faults, took: started.elapsed() })
}

/// The error as the controller reads it.
fn failed(error: &ConvertOneError) -> Failed {
    let message = zstart_core::chain(error);
    match error {
        ConvertOneError::Convert(cause) => {
            Failed { class: cause.class(), is_caused_by_content: cause.is_caused_by_content(), message }
        }
        ConvertOneError::Login(_)
        | ConvertOneError::Credentials { .. }
        | ConvertOneError::Client(_)
        | ConvertOneError::Level(_)
        | ConvertOneError::Stopped
        | ConvertOneError::Result { .. } => {
            Failed { class: zstart_convert::ErrorClass::Other, is_caused_by_content: false, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::work;

    #[tokio::test]
    async fn missing_login_is_reported_in_the_result() {
        let folder = std::env::temp_dir();
        let result = folder.join(format!("zstart-convert-one-{}", std::process::id()));
        let arguments = ConvertOneArguments {
            work: work::example(),
            login: folder.join("no-such-login"),
            result: result.clone(),
        };
        let error = convert_one(arguments, CancellationToken::new()).await.unwrap_err();
        let text = std::fs::read_to_string(&result).unwrap();
        std::fs::remove_file(&result).unwrap();
        let JobResult::Failed(failed) = JobResult::parse(&text).unwrap() else { panic!("{text}") };
        assert_eq!(failed.message, zstart_core::chain(&error));
        assert!(failed.message.contains("no-such-login"), "{text}");
    }
}
