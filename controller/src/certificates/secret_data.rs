//! What the two Secrets hold, and how it is written there.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::KeyPair;

use super::certificate::{Certificate, CertificateReadError};
use super::issue::IssuedCertificate;

/// Data of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Key of the authority's certificate, in both Secrets.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// Key of the authority's private key, in the authority's own Secret alone.
pub const CA_KEY: &str = "ca.key";
/// Key of the earlier authorities that are still trusted.
pub const PREVIOUS: &str = "previous.crt";
/// Key of the serving certificate.
pub const SERVING_CERTIFICATE: &str = "tls.crt";
/// Key of the serving certificate's private key.
pub const SERVING_KEY: &str = "tls.key";

/// Why what a Secret holds can't be used. Never says what it holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretDataError {
    /// A key of the Secret's data is missing.
    #[error("the Secret has no {key}")]
    Missing {
        /// The missing key.
        key: &'static str,
    },
    /// A certificate can't be read.
    #[error("failed to read {key} of the Secret")]
    Certificate {
        /// Where it stands.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: CertificateReadError,
    },
    /// A private key can't be read.
    // Without its source: a parser's error might quote the text.
    #[error("failed to read the private key {key} of the Secret")]
    PrivateKey {
        /// Where it stands.
        key: &'static str,
    },
    /// Certificate and key were made for others.
    #[error("{certificate} and {key} of the Secret don't belong together")]
    Mismatch {
        /// Where the certificate stands.
        certificate: &'static str,
        /// Where the key stands.
        key: &'static str,
    },
    /// The certificate may not sign others.
    #[error("the certificate {key} of the Secret is no authority's")]
    NoAuthority {
        /// Where it stands.
        key: &'static str,
    },
}

/// An authority that can sign. Its `Debug` form leaves out the key, which is nobody's to print.
pub struct Signer {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its private key.
    pub key: KeyPair,
}

impl Signer {
    /// Reads back what [`super::issue::issue_authority`] made.
    pub fn read(certificate: &[u8], key: &[u8]) -> Result<Self, SecretDataError> {
        let (certificate, key) = read_pair((CA_CERTIFICATE, certificate), (CA_KEY, key))?;
        if !certificate.is_authority() {
            return Err(SecretDataError::NoAuthority { key: CA_CERTIFICATE });
        }
        Ok(Self { certificate, key })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate, key: _ } = self;
        formatter.debug_struct("Signer").field("certificate", certificate).finish_non_exhaustive()
    }
}

impl PartialEq for Signer {
    /// By the certificate, which the key belongs to.
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Signer {}

/// What the authority's Secret holds.
pub struct Authority {
    /// Who signs now, if that can be read.
    pub signer: Result<Signer, SecretDataError>,
    /// Earlier authorities that were trusted when this was written.
    pub previous: Vec<Certificate>,
}

impl Authority {
    /// Reads the Secret's data. What can't be read is replaced; what can still be trusted of it is kept.
    pub fn read(data: &Data) -> Self {
        let signer = (|| Signer::read(get(data, CA_CERTIFICATE)?, get(data, CA_KEY)?))();
        let mut previous = read_authorities(data, PREVIOUS);
        if signer.is_err() {
            // Its key is lost, but what it signed is still in use.
            previous.splice(0..0, read_authorities(data, CA_CERTIFICATE));
        }
        Self { signer, previous }
    }

    /// Every authority that is valid now, the one that signs first.
    pub fn trusted(&self, now: Timestamp) -> Vec<&Certificate> {
        let mut trusted: Vec<&Certificate> = Vec::new();
        for certificate in self.signer.iter().map(|signer| &signer.certificate).chain(&self.previous) {
            if certificate.is_valid(now) && !trusted.contains(&certificate) {
                trusted.push(certificate);
            }
        }
        trusted
    }

    /// What the API server must trust now, as PEM.
    pub fn bundle(&self, now: Timestamp) -> String {
        to_pem(self.trusted(now))
    }
}

/// The data of the authority's Secret after a new one was made: those that were trusted stay so.
pub fn authority_data(new: &IssuedCertificate, old: Option<&Authority>, now: Timestamp) -> Data {
    let mut data = Data::from([text(CA_CERTIFICATE, &new.certificate), text(CA_KEY, &new.key)]);
    let previous = old.map(|old| old.bundle(now)).unwrap_or_default();
    if !previous.is_empty() {
        data.extend([text(PREVIOUS, &previous)]);
    }
    data
}

/// What the serving Secret holds. Its key is read to see that it fits, and dropped.
#[derive(Debug)]
pub struct ServingCertificate {
    /// The certificate that the webhook serves with.
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

/// The data of the serving Secret.
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

/// Those of a bundle that are authorities; none when it can't be read.
fn read_authorities(data: &Data, key: &'static str) -> Vec<Certificate> {
    let mut certificates =
        get(data, key).ok().and_then(|text| Certificate::read_all(text).ok()).unwrap_or_default();
    certificates.retain(Certificate::is_authority);
    certificates
}
