//! Issues the authority and the serving certificate.

use std::collections::BTreeSet;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use super::signer::Signer;

/// Time by which the start of the validity is set back, so that servers with a slow clock accept the
/// certificate.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// Lifetime of an authority: 10 years.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Lifetime of a serving certificate: 90 days.
pub const SERVING_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Error of issuing a certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key can't be generated.
    #[error("failed to generate an ECDSA P-256 key")]
    Key(#[source] rcgen::Error),
    /// The validity is out of range because the clock is far off.
    #[error("failed to compute the validity of a certificate issued at {now}: check the clock")]
    Time {
        /// Time of the clock.
        now: Timestamp,
        /// Error of the calculation.
        #[source]
        source: jiff::Error,
    },
    /// A name is no DNS name.
    #[error("failed to issue a certificate for the DNS names {names:?}")]
    Names {
        /// Requested DNS names.
        names: BTreeSet<String>,
        /// The invalid name.
        #[source]
        source: rcgen::Error,
    },
    /// The authority can't sign itself.
    #[error("failed to sign a certificate authority")]
    Authority(#[source] rcgen::Error),
    /// The authority can't sign the serving certificate.
    #[error("failed to sign the serving certificate")]
    Serving(#[source] rcgen::Error),
}

/// A certificate with its private key, both PEM. Without `Debug`: the key must not be printed.
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// Issues a self-signed authority.
pub fn issue_authority(now: Timestamp) -> Result<IssuedCertificate, IssueError> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // The day distinguishes two trusted authorities for a reader of the bundle.
    let day = now.strftime("%Y-%m-%d");
    parameters.distinguished_name = common_name(&format!("zstart webhook authority {day}"));
    set_validity(&mut parameters, now, AUTHORITY_LIFETIME)?;
    let key = generate_key()?;
    let certificate = parameters.self_signed(&key).map_err(IssueError::Authority)?;
    Ok(IssuedCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Issues a serving certificate for these DNS names, with a new key.
pub fn issue_serving(
    now: Timestamp,
    signer: &Signer,
    names: &BTreeSet<String>,
) -> Result<IssuedCertificate, IssueError> {
    let mut parameters = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())
        .map_err(|source| IssueError::Names { names: names.clone(), source })?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    // Not a DNS name: X.520 limits the common name to 64 characters, and DNS names may be longer.
    parameters.distinguished_name = common_name("zstart webhook");
    set_validity(&mut parameters, now, SERVING_LIFETIME)?;
    let key = generate_key()?;
    let authority = signer.certificate.to_pem();
    let issuer = Issuer::from_ca_cert_pem(&authority, &signer.key).map_err(IssueError::Serving)?;
    let certificate = parameters.signed_by(&key, &issuer).map_err(IssueError::Serving)?;
    Ok(IssuedCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn generate_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssueError::Key)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(
    parameters: &mut CertificateParams,
    now: Timestamp,
    life: SignedDuration,
) -> Result<(), IssueError> {
    let fail = |source| IssueError::Time { now, source };
    let begin = now.checked_sub(BACKDATE).map_err(fail)?;
    let end = now.checked_add(life).map_err(fail)?;
    parameters.not_before = SystemTime::from(begin).into();
    parameters.not_after = SystemTime::from(end).into();
    Ok(())
}
