//! Serving certificate, read from its Secret by a watch and replaced without a restart.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{Config, Event};
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
use zstart_process::watch;

use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// Field of a `kubernetes.io/tls` Secret with the certificate chain.
const CERTIFICATE: &str = "tls.crt";
/// Field of a `kubernetes.io/tls` Secret with the private key.
const KEY: &str = "tls.key";

/// Certificate for new connections.
#[derive(Debug, Default)]
pub(crate) struct Certificate {
    current: Mutex<Option<ServingCertificate>>,
}

/// Error for a Secret without a usable certificate.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    #[error("the Secret has no {field}")]
    Missing { field: &'static str },
    #[error("failed to parse {field} of the Secret as PEM")]
    Pem { field: &'static str, source: rustls::pki_types::pem::Error },
    #[error("failed to use tls.key of the Secret with tls.crt")]
    Pair { source: rustls::Error },
    #[error("failed to parse the first certificate in tls.crt of the Secret")]
    Parse { source: x509_parser::nom::Err<x509_parser::error::X509Error> },
}

/// Certificate and key of a Secret.
#[derive(Debug)]
struct ServingCertificate {
    key: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Reason why API servers accept no certificate of this webhook at `now`.
    pub(crate) fn problem(&self, now: Timestamp) -> Option<Cow<'static, str>> {
        match &*lock(&self.current) {
            None => Some("no serving certificate yet".into()),
            Some(ServingCertificate { not_after, .. }) if now > *not_after => {
                Some(format!("the serving certificate expired at {not_after}").into())
            }
            Some(ServingCertificate { not_before, .. }) if now < *not_before => {
                Some(format!("the serving certificate isn't valid before {not_before}").into())
            }
            Some(_) => None,
        }
    }

    /// Returns whether a certificate was loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        lock(&self.current).is_some()
    }

    /// Watches the Secret until the task is dropped. A deleted or invalid Secret leaves the current
    /// certificate in use.
    pub(crate) async fn follow(&self, client: Client, namespace: &str, name: &str, metrics: &Metrics) {
        // The role permits this name only, so the watch must select the name.
        let only = Config::default().fields(&format!("metadata.name={name}"));
        let secrets = Api::<Secret>::namespaced(client, namespace);
        let mut events = watch::events(format!("secrets/{name}"), secrets, only);
        while let Some(event) = events.next().await {
            match event {
                Event::Apply(secret) | Event::InitApply(secret) => self.update(&secret, name, metrics),
                Event::Delete(_) => {
                    tracing::warn!(
                        secret = name,
                        "the serving Secret was deleted; the current certificate stays in use"
                    );
                }
                Event::Init => {}
                Event::InitDone => {
                    if !self.is_loaded() {
                        tracing::info!(secret = name, "waiting for the serving Secret");
                    }
                }
            }
        }
    }

    pub(crate) fn update(&self, secret: &Secret, name: &str, metrics: &Metrics) {
        match parse_secret(secret) {
            Ok(certificate) => {
                let not_after = certificate.not_after;
                *lock(&self.current) = Some(certificate);
                metrics.set_certificate_not_after(not_after.as_second());
                tracing::info!(secret = name, expires = %not_after, "loaded the serving certificate");
                if let Some(problem) = self.problem(Timestamp::now()) {
                    tracing::error!(secret = name, "not ready: {problem}");
                }
            }
            Err(error) => {
                tracing::error!(
                    secret = name,
                    error = chain(&error),
                    "failed to load the serving certificate; any current certificate stays in use"
                );
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        lock(&self.current).as_ref().map(|certificate| Arc::clone(&certificate.key))
    }
}

/// Builds the TLS configuration, in which each handshake gets the current certificate.
pub(crate) fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
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
    let validity = parsed.validity();
    // A certificate without an expiry has the year 9999 (RFC 5280, section 4.1.2.5), whose last hours no
    // `Timestamp` can hold.
    let time = |second, otherwise| Timestamp::from_second(second).unwrap_or(otherwise);
    let not_before = time(validity.not_before.timestamp(), Timestamp::MIN);
    let not_after = time(validity.not_after.timestamp(), Timestamp::MAX);
    let key = PrivateKeyDer::from_pem_slice(field(KEY)?).map_err(pem(KEY))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| CertificateError::Pair { source })?;
    Ok(ServingCertificate { key: Arc::new(key), not_before, not_after })
}
