//! The serving certificate: read from its Secret by a watch, and swapped without a restart.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use zstart_core::chain;
use zstart_core::sync::lock;

use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// Field of a `kubernetes.io/tls` Secret: the chain.
const CERTIFICATE: &str = "tls.crt";
/// Field of a `kubernetes.io/tls` Secret: the key.
const KEY: &str = "tls.key";

/// The certificate that the next connection gets.
#[derive(Debug, Default)]
pub(crate) struct Certificate {
    current: Mutex<Option<Arc<CertifiedKey>>>,
}

/// The Secret doesn't hold a certificate that can serve.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    #[error("failed to find {field} in the Secret")]
    Missing { field: &'static str },
    #[error("failed to parse {field} of the Secret as PEM")]
    Pem { field: &'static str, source: rustls::pki_types::pem::Error },
    #[error("failed to use tls.key of the Secret with tls.crt")]
    Pair { source: rustls::Error },
    #[error("failed to parse the first certificate in tls.crt of the Secret")]
    Parse { source: x509_parser::nom::Err<x509_parser::error::X509Error> },
}

/// What a Secret holds.
#[derive(Debug)]
struct ServingCertificate {
    key: CertifiedKey,
    not_after: i64,
}

impl Certificate {
    /// Whether there is one.
    pub(crate) fn is_loaded(&self) -> bool {
        lock(&self.current).is_some()
    }

    /// Follows the Secret for ever. One that is deleted or broken leaves in use what was there.
    pub(crate) async fn follow(&self, client: Client, namespace: &str, name: &str, metrics: &Metrics) {
        // The role allows this one name, so the watch must ask for it alone.
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher::watcher(Api::<Secret>::namespaced(client, namespace), only);
        let mut events = pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(secret) | Event::InitApply(secret)) => self.update(&secret, name, metrics),
                Ok(Event::Delete(_)) => {
                    tracing::warn!(
                        secret = name,
                        "the serving Secret was deleted; its certificate stays in use"
                    );
                }
                Ok(Event::Init) => {}
                Ok(Event::InitDone) => {
                    if !self.is_loaded() {
                        tracing::info!(secret = name, "waiting for the serving Secret");
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        secret = name,
                        error = chain(&error),
                        "a watch broke off and is tried again"
                    );
                }
            }
        }
    }

    pub(crate) fn update(&self, secret: &Secret, name: &str, metrics: &Metrics) {
        match parse_secret(secret) {
            Ok(ServingCertificate { key, not_after }) => {
                *lock(&self.current) = Some(Arc::new(key));
                metrics.set_certificate_not_after(not_after);
                tracing::info!(secret = name, expires = not_after, "serving with the Secret's certificate");
            }
            Err(error) => {
                tracing::error!(secret = name, error = chain(&error), "the serving Secret can't be used");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        lock(&self.current).clone()
    }
}

/// How connections are answered: with whatever certificate is there when they come.
pub(crate) fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn parse_secret(secret: &Secret) -> Result<ServingCertificate, CertificateError> {
    let field = |field: &'static str| {
        let data = secret.data.as_ref().and_then(|data| data.get(field));
        data.map(|bytes| bytes.0.as_slice())
            .filter(|bytes| !bytes.is_empty())
            .ok_or(CertificateError::Missing { field })
    };
    let pem = |field: &'static str| move |source| CertificateError::Pem { field, source };
    let chain = CertificateDer::pem_slice_iter(field(CERTIFICATE)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem(CERTIFICATE))?;
    let first = chain.first().ok_or(CertificateError::Missing { field: CERTIFICATE })?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(first).map_err(|source| CertificateError::Parse { source })?;
    let not_after = parsed.validity().not_after.timestamp();
    let key = PrivateKeyDer::from_pem_slice(field(KEY)?).map_err(pem(KEY))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| CertificateError::Pair { source })?;
    Ok(ServingCertificate { key, not_after })
}
