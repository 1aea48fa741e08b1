//! A certificate authority for the webhook, and the served certificate.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use zstart_tests::tls::served_certificate;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn create() -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self { issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)? })
    }

    /// Certificate of the authority, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Bundle for a webhook configuration.
    pub(crate) fn bundle(&self) -> String {
        STANDARD.encode(self.issuer.pem())
    }

    /// Issues a certificate for loopback, in the serving Secret's format.
    pub(crate) fn issue(&self) -> Result<Value> {
        self.sign(&CertificateParams::new(vec!["127.0.0.1".to_owned()])?)
    }

    /// Issues a certificate like [`issue`](Self::issue), whose validity ended with 2020.
    pub(crate) fn issue_expired(&self) -> Result<Value> {
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Result<Value> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(json!({"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()}))
    }

    /// Certificate that a new connection gets, as DER. This authority must have issued the certificate.
    pub(crate) async fn served(&self, address: SocketAddr) -> Result<Vec<u8>> {
        let name = ServerName::from(address.ip());
        served_certificate(address, name, self.issuer.pem().as_bytes()).await
    }
}

/// Certificate of a serving Secret, as DER.
pub(crate) fn der(data: &Value) -> Result<Vec<u8>> {
    let text = data["tls.crt"].as_str().context("no certificate")?;
    Ok(CertificateDer::from_pem_slice(text.as_bytes())?.to_vec())
}
