//! Making certificates: the authority, and what it signs.

use std::collections::BTreeSet;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use super::secret_data::Signer;

/// How far in the past a certificate begins: a server whose clock is behind takes it too.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// How long an authority lives: 10 years.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a serving certificate lives: 90 days.
pub const SERVING_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What goes wrong in making a certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key could be made.
    #[error("failed to make an ECDSA P-256 key")]
    Key(#[source] rcgen::Error),
    /// The time of day is so far off that the end of a life can't be told.
    #[error("failed to tell when a certificate made at {now} ends")]
    Time {
        /// What the clock said.
        now: Timestamp,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// A name that no certificate can have.
    #[error("failed to make a certificate for {names:?}")]
    Names {
        /// The names that were asked for.
        names: BTreeSet<String>,
        /// What is wrong with them.
        #[source]
        source: rcgen::Error,
    },
    /// The authority can't sign itself.
    #[error("failed to sign a certificate authority")]
    Authority(#[source] rcgen::Error),
    /// The authority can't sign another.
    #[error("failed to sign the serving certificate")]
    Serving(#[source] rcgen::Error),
}

/// A certificate with its private key, both PEM. Has no `Debug` form: the key is nobody's to print.
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A new authority that signed itself.
pub fn issue_authority(now: Timestamp) -> Result<IssuedCertificate, IssueError> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // The day tells two that are trusted at once apart, for whoever looks at them.
    let day = now.strftime("%Y-%m-%d");
    parameters.distinguished_name = common_name(&format!("zstart webhook authority {day}"));
    set_validity(&mut parameters, now, AUTHORITY_LIFETIME)?;
    let key = generate_key()?;
    let certificate = parameters.self_signed(&key).map_err(IssueError::Authority)?;
    Ok(IssuedCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A serving certificate for these DNS names, with a key of its own.
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
    // Not a DNS name: those may be longer than the 64 characters that X.520 allows here.
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
