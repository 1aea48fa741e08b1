//! As whom a registry is asked: the controller itself, those who want the image, nobody.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use tracing::debug;
use zstart_convert::credentials::{Credentials, CredentialsError, DockerConfig};
use zstart_core::Reference;

use crate::demand::Wanter;

/// A pull secret: namespace and name.
type SecretName = (String, String);

/// The controller's own credentials. No helper that they name is run: the image holds no programs.
pub fn own(file: Option<&Path>) -> Result<DockerConfig, CredentialsError> {
    Ok(file.map(DockerConfig::load).transpose()?.unwrap_or_default().without_helpers())
}

/// The credentials to try, in turn: the controller's own where an administrator listed the registry,
/// then the pull secrets of those who want the image, then none.
pub async fn candidates(
    client: &Client,
    own: &DockerConfig,
    wanters: &[Wanter],
    source: &Reference,
) -> Vec<Credentials> {
    let mut found = Vec::new();
    if own.knows(source) {
        note(&mut found, own, source, "the controller's own").await;
    }
    for (namespace, name) in secret_names(client, wanters).await {
        if let Some(config) = pull_secret(client, &namespace, &name).await {
            note(&mut found, &config, source, &format!("{namespace}/{name}")).await;
        }
    }
    found.push(Credentials::Anonymous);
    found
}

async fn note(found: &mut Vec<Credentials>, config: &DockerConfig, source: &Reference, origin: &str) {
    match config.credentials_for(source).await {
        Ok(Some(credentials)) if !found.contains(&credentials) => found.push(credentials),
        Ok(_) => {}
        Err(error) => tracing::warn!(origin, %error, "credentials that can't be used"),
    }
}

/// The pull secrets that pods name, and those of their service accounts.
async fn secret_names(client: &Client, wanters: &[Wanter]) -> BTreeSet<SecretName> {
    let mut names = BTreeSet::new();
    let mut accounts = BTreeSet::new();
    for wanter in wanters {
        names.extend(wanter.pull_secrets.iter().map(|name| (wanter.namespace.clone(), name.clone())));
        accounts.insert((wanter.namespace.clone(), wanter.service_account.clone()));
    }
    for (namespace, name) in accounts {
        let account = Api::<ServiceAccount>::namespaced(client.clone(), &namespace).get_opt(&name).await;
        match account {
            Ok(account) => {
                let secrets = account.and_then(|account| account.image_pull_secrets).unwrap_or_default();
                names.extend(secrets.into_iter().map(|secret| (namespace.clone(), secret.name)));
            }
            Err(error) => debug!(namespace, name, %error, "could not read a service account"),
        }
    }
    names
}

/// A pull secret's content. One that can't be had is no credentials: the kubelet sees it so too.
async fn pull_secret(client: &Client, namespace: &str, name: &str) -> Option<DockerConfig> {
    let secret = match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(secret) => secret?,
        Err(error) => {
            debug!(namespace, name, %error, "could not read a pull secret");
            return None;
        }
    };
    let data = secret.data.unwrap_or_default();
    let parsed = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(config), _) => DockerConfig::parse(&config.0),
        (None, Some(config)) => DockerConfig::parse_legacy(&config.0),
        (None, None) => return None,
    };
    match parsed {
        Ok(config) => Some(config.without_helpers()),
        Err(error) => {
            tracing::warn!(namespace, name, %error, "a pull secret can't be read");
            None
        }
    }
}
