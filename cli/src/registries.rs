//! Registry clients of one command: credentials, and the choice of plain HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Mutex;
use zstart_core::Reference;
use zstart_ecr::EcrIdentity;
use zstart_registry::auth::{AuthFiles, Credentials, CredentialsFileError};
use zstart_registry::{RegistryClient, RegistryOptions, Store, is_plain_http_loopback};

use crate::auth_files::AuthFileArguments;
use crate::error::CliError;

/// Arguments for access to registries.
#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// Use plain HTTP for this registry (`HOST[:PORT]`). Repeat the flag for several. Default: TLS; a
    /// registry at localhost or a loopback address gets plain HTTP if it answers a TLS handshake without TLS.
    #[arg(long, value_name = "HOST")]
    pub(crate) plain_http: Vec<String>,
    /// Send credentials also to this token server (`HOST`) if a registry names it. Repeat the flag for
    /// several. Default: only token servers in the registry's own domain get credentials.
    #[arg(long, value_name = "HOST")]
    pub(crate) token_server: Vec<String>,
    #[command(flatten)]
    pub(crate) auth_files: AuthFileArguments,
}

/// Registry access shared by the images of one command.
pub(crate) struct Registries<'a> {
    arguments: &'a RegistryArguments,
    auth_files: AuthFiles,
    ecr: EcrIdentity,
    /// Clients by registry. Source and target in one registry share its connections.
    clients: Mutex<HashMap<String, RegistryClient>>,
}

impl<'a> Registries<'a> {
    pub(crate) fn new(arguments: &'a RegistryArguments) -> Self {
        let auth_files = AuthFiles::new(arguments.auth_files.locations());
        Self { arguments, auth_files, ecr: EcrIdentity::default(), clients: Mutex::default() }
    }

    /// Opens the repository of a reference.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Arc<dyn Store>, CliError> {
        let credentials = self.credentials(reference).await?;
        Ok(self.client(reference.registry()).await?.repository(reference, credentials))
    }

    /// Returns the client for a registry. Images of one registry share its connections.
    pub(crate) async fn client(&self, registry: &str) -> Result<RegistryClient, CliError> {
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

    /// Returns credentials from the user's files, which name the registry, then from the AWS identity, then
    /// anonymous ones.
    pub(crate) async fn credentials(&self, reference: &Reference) -> Result<Credentials, CliError> {
        let of_files = self.auth_files.credentials_for(reference).await;
        let failed = |CredentialsFileError { path, source }| {
            let registry = reference.registry().to_owned();
            CliError::Credentials { registry, file: path, source }
        };
        if let Some(credentials) = of_files.map_err(failed)? {
            return Ok(credentials);
        }
        Ok(self.ecr.credentials(reference.registry())?.unwrap_or(Credentials::Anonymous))
    }
}
