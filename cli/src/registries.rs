//! Registry clients of one command: credentials, and the choice of plain HTTP.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Mutex;
use zstart_core::Reference;
use zstart_ecr::EcrIdentity;
use zstart_registry::auth::{Credentials, DockerConfig};
use zstart_registry::{RegistryClient, RegistryOptions, Store, is_plain_http_loopback};

use crate::error::CliError;

/// Arguments for access to registries.
#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// Use plain HTTP for this registry (`HOST[:PORT]`). Repeat the flag for several. Default: TLS; a
    /// registry on this machine gets plain HTTP if it speaks no TLS.
    #[arg(long, value_name = "HOST")]
    pub(crate) plain_http: Vec<String>,
    /// Send credentials also to this token server (`HOST`) if a registry names it. Repeat the flag for
    /// several. Default: only token servers in the registry's own domain get credentials.
    #[arg(long, value_name = "HOST")]
    pub(crate) token_server: Vec<String>,
    /// Credentials file in the format of Docker's `config.json`. Default: `config.json` in the folder
    /// `DOCKER_CONFIG`, or in `~/.docker`.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Docker's configuration folder.
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CONFIG", hide = true)]
    pub(crate) docker_config: Option<PathBuf>,
}

/// Registry access shared by the images of one command.
pub(crate) struct Registries<'a> {
    arguments: &'a RegistryArguments,
    ecr: EcrIdentity,
    /// Clients by registry. Source and target in one registry share its connections.
    clients: Mutex<HashMap<String, RegistryClient>>,
}

impl<'a> Registries<'a> {
    pub(crate) fn new(arguments: &'a RegistryArguments) -> Self {
        Self { arguments, ecr: EcrIdentity::default(), clients: Mutex::default() }
    }

    /// Opens the repository of a reference.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, CliError> {
        let credentials = self.credentials(reference).await?;
        Ok(self.client(reference.registry()).await?.repository(reference, credentials))
    }

    async fn client(&self, registry: &str) -> Result<RegistryClient, CliError> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(registry) {
            return Ok(client.clone());
        }
        let mut plain_http = self.arguments.plain_http.clone();
        let is_listed = plain_http.iter().any(|listed| listed == registry);
        if !is_listed && is_plain_http_loopback(registry).await {
            plain_http.push(registry.to_owned());
        }
        let token_servers = self.arguments.token_server.clone();
        let options = RegistryOptions { plain_http, token_servers, ..RegistryOptions::default() };
        let client = RegistryClient::new(options)?;
        clients.insert(registry.to_owned(), client.clone());
        Ok(client)
    }

    /// Returns credentials from Docker's configuration, which a user wrote for this registry, then from the
    /// AWS identity, then anonymous ones.
    async fn credentials(&self, reference: &Reference) -> Result<Credentials, CliError> {
        let file = self.docker_config_file()?;
        let failed = |source| {
            let (registry, file) = (reference.registry().to_owned(), file.clone());
            CliError::Credentials { registry, file, source }
        };
        let config = DockerConfig::load(&file).map_err(failed)?;
        if let Some(credentials) = config.credentials_for(reference).await.map_err(failed)? {
            return Ok(credentials);
        }
        Ok(self.ecr.credentials(reference.registry())?.unwrap_or(Credentials::Anonymous))
    }

    fn docker_config_file(&self) -> Result<PathBuf, CliError> {
        Ok(match (&self.arguments.authfile, &self.arguments.docker_config) {
            (Some(file), _) => file.clone(),
            (None, Some(folder)) => folder.join("config.json"),
            (None, None) => {
                let below = PathBuf::from(".docker").join("config.json");
                std::env::home_dir().ok_or(CliError::NoHomeFolder { file: below.clone() })?.join(below)
            }
        })
    }
}
