//! Reads and writes the data of the two Secrets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::KeyPair;

use super::certificate::{Certificate, CertificateReadError};
use super::issue::IssuedCertificate;
use super::signer::Signer;

/// `data` of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Key of the authority's certificate, in both Secrets.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// Key of the authority's private key, only in the authority's Secret.
pub const CA_KEY: &str = "ca.key";
/// Key of the earlier authorities that are still trusted, in the authority's Secret.
pub const PREVIOUS: &str = "previous.crt";
/// Key of the serving certificate.
pub const SERVING_CERTIFICATE: &str = "tls.crt";
/// Key of the serving certificate's private key.
pub const SERVING_KEY: &str = "tls.key";

/// Defect of a Secret. Never contains the Secret's data.
#[derive(Debug, thiserror::Error)]
pub enum SecretDataError {
    /// A data key is missing.
    #[error("failed to find {key} in the Secret")]
    Missing {
        /// Data key.
        key: &'static str,
    },
    /// A certificate can't be read.
    #[error("failed to read {key} of the Secret")]
    Certificate {
        /// Data key.
        key: &'static str,
        /// Defect of the certificate.
        #[source]
        source: CertificateReadError,
    },
    /// A private key can't be read.
    // Without its source: a parser's error might quote the text.
    #[error("failed to read the private key {key} of the Secret")]
    PrivateKey {
        /// Data key.
        key: &'static str,
    },
    /// The certificate has another public key.
    #[error("the private key {key} of the Secret does not match the certificate {certificate}")]
    Mismatch {
        /// Data key of the certificate.
        certificate: &'static str,
        /// Data key of the private key.
        key: &'static str,
    },
    /// The certificate may not sign others.
    #[error("the certificate {key} of the Secret is not an authority")]
    NoAuthority {
        /// Data key.
        key: &'static str,
    },
}

impl Signer {
    /// Reads an authority that [`super::issue::issue_authority`] issued.
    pub fn read(certificate: &[u8], key: &[u8]) -> Result<Self, SecretDataError> {
        let (certificate, key) = read_pair((CA_CERTIFICATE, certificate), (CA_KEY, key))?;
        if !certificate.is_authority() {
            return Err(SecretDataError::NoAuthority { key: CA_CERTIFICATE });
        }
        Ok(Self { certificate, key })
    }
}

impl PartialEq for Signer {
    /// Compares the certificates, which hold the public keys.
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Signer {}

/// Content of the authority's Secret.
pub struct Authority {
    /// The current authority, or the defect of the Secret.
    pub signer: Result<Signer, SecretDataError>,
    /// Earlier authorities that were trusted when the Secret was written.
    pub previous: Vec<Certificate>,
}

impl Authority {
    /// Reads the Secret's data. Unreadable parts are replaced later; readable authorities stay trusted.
    pub fn read(data: &Data) -> Self {
        let signer = (|| Signer::read(get(data, CA_CERTIFICATE)?, get(data, CA_KEY)?))();
        let mut previous = read_authorities(data, PREVIOUS);
        if signer.is_err() {
            // The key is lost, but certificates that it signed are still in use.
            previous.splice(0..0, read_authorities(data, CA_CERTIFICATE));
        }
        Self { signer, previous }
    }

    /// Every authority that is valid at `now`, the current one first.
    pub fn trusted(&self, now: Timestamp) -> Vec<&Certificate> {
        let mut trusted: Vec<&Certificate> = Vec::new();
        for certificate in self.signer.iter().map(|signer| &signer.certificate).chain(&self.previous) {
            if certificate.is_valid(now) && !trusted.contains(&certificate) {
                trusted.push(certificate);
            }
        }
        trusted
    }

    /// Bundle for the API server at `now`, as PEM.
    pub fn bundle(&self, now: Timestamp) -> String {
        to_pem(self.trusted(now))
    }
}

/// Data of the authority's Secret for a new authority. Trusted authorities stay trusted.
pub fn authority_data(new: &IssuedCertificate, old: Option<&Authority>, now: Timestamp) -> Data {
    let mut data = Data::from([text(CA_CERTIFICATE, &new.certificate), text(CA_KEY, &new.key)]);
    let previous = old.map(|old| old.bundle(now)).unwrap_or_default();
    if !previous.is_empty() {
        data.extend([text(PREVIOUS, &previous)]);
    }
    data
}

/// Content of the serving Secret. The private key is checked against the certificate and dropped.
#[derive(Debug)]
pub struct ServingCertificate {
    /// Certificate of the webhook.
    pub certificate: Certificate,
}

impl ServingCertificate {
    /// Reads the Secret's data.
    pub fn read(data: &Data) -> Result<Self, SecretDataError> {
        let certificate = (SERVING_CERTIFICATE, get(data, SERVING_CERTIFICATE)?);
        let (certificate, _) = read_pair(certificate, (SERVING_KEY, get(data, SERVING_KEY)?))?;
        Ok(Self { certificate })
    }
}

/// Data of the serving Secret.
pub fn serving_data(new: &IssuedCertificate, signer: &Signer) -> Data {
    Data::from([
        text(SERVING_CERTIFICATE, &new.certificate),
        text(SERVING_KEY, &new.key),
        text(CA_CERTIFICATE, &signer.certificate.to_pem()),
    ])
}

fn text(key: &str, value: &str) -> (String, ByteString) {
    (key.to_owned(), ByteString(value.as_bytes().to_vec()))
}

fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    certificates.into_iter().map(Certificate::to_pem).collect()
}

fn get<'a>(data: &'a Data, key: &'static str) -> Result<&'a [u8], SecretDataError> {
    data.get(key).map(|value| value.0.as_slice()).ok_or(SecretDataError::Missing { key })
}

fn read_pair(
    (at, certificate): (&'static str, &[u8]),
    (key_at, key): (&'static str, &[u8]),
) -> Result<(Certificate, KeyPair), SecretDataError> {
    let certificate = Certificate::read_first(certificate)
        .map_err(|source| SecretDataError::Certificate { key: at, source })?;
    let unreadable = SecretDataError::PrivateKey { key: key_at };
    let Some(key) = str::from_utf8(key).ok().and_then(|text| KeyPair::from_pem(text).ok()) else {
        return Err(unreadable);
    };
    if !certificate.belongs_to(&key) {
        return Err(SecretDataError::Mismatch { certificate: at, key: key_at });
    }
    Ok((certificate, key))
}

/// Authorities of a bundle; empty if the bundle is unreadable.
fn read_authorities(data: &Data, key: &'static str) -> Vec<Certificate> {
    let mut certificates =
        get(data, key).ok().and_then(|text| Certificate::read_all(text).ok()).unwrap_or_default();
    certificates.retain(Certificate::is_authority);
    certificates
}
