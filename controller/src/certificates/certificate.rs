//! A certificate parsed from PEM, reduced to the fields that decisions need.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use pem::{EncodeConfig, LineEnding, Pem};
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::nom;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

const LABEL: &str = "CERTIFICATE";

/// Error of parsing a certificate. Never contains the text, which may be a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateReadError {
    /// The text is no PEM.
    #[error("failed to parse PEM")]
    Pem(#[source] pem::PemError),
    /// The PEM block is no certificate.
    #[error("failed to read a certificate: PEM block has label {label:?} instead of CERTIFICATE")]
    Label {
        /// Label of the block.
        label: String,
    },
    /// The text has no PEM block.
    #[error("failed to find a PEM block")]
    Empty,
    /// The block is no X.509 certificate.
    #[error("failed to parse a certificate")]
    Der(#[source] nom::Err<X509Error>),
    /// A required extension can't be parsed.
    #[error("failed to parse a certificate's extensions")]
    Extensions(#[source] X509Error),
    /// The validity is out of range.
    #[error("failed to parse a certificate's validity")]
    Time(#[source] jiff::Error),
}

/// A certificate: its DER bytes and the parsed fields.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    dns_names: BTreeSet<String>,
    is_authority: bool,
}

impl Certificate {
    /// Parses all certificates of a PEM text, in order. The result has at least one.
    pub fn read_all(text: &[u8]) -> Result<Vec<Self>, CertificateReadError> {
        let blocks = pem::parse_many(text).map_err(CertificateReadError::Pem)?;
        if blocks.is_empty() {
            return Err(CertificateReadError::Empty);
        }
        blocks.into_iter().map(Self::from_block).collect()
    }

    /// Parses the first certificate of a PEM text: the leaf of a chain.
    pub fn read_first(text: &[u8]) -> Result<Self, CertificateReadError> {
        Self::read_all(text)?.into_iter().next().ok_or(CertificateReadError::Empty)
    }

    fn from_block(block: Pem) -> Result<Self, CertificateReadError> {
        if block.tag() != LABEL {
            return Err(CertificateReadError::Label { label: block.tag().to_owned() });
        }
        let der = block.into_contents();
        let (_, parsed) = parse_x509_certificate(&der).map_err(CertificateReadError::Der)?;
        let validity = parsed.validity();
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(CertificateReadError::Time)
        };
        let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
        let dns_names = dns_names(&parsed)?;
        let is_authority = parsed
            .basic_constraints()
            .map_err(CertificateReadError::Extensions)?
            .is_some_and(|constraints| constraints.value.ca);
        Ok(Self { der, not_before, not_after, dns_names, is_authority })
    }

    /// The certificate as PEM, without the text around it.
    pub fn to_pem(&self) -> String {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        pem::encode_config(&Pem::new(LABEL, self.der.as_slice()), config)
    }

    /// Start of the validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// End of the validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether the certificate is valid at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Time of the renewal: two thirds of the lifetime. The last third is the time to notice that renewal
    /// fails.
    pub fn renewal(&self) -> Timestamp {
        let life: SignedDuration = self.not_before.duration_until(self.not_after);
        // Saturating: a certificate that ends before it starts is due at once.
        self.not_before.saturating_add(life / 3 * 2).unwrap_or(self.not_before)
    }

    /// DNS names of the subject.
    pub fn dns_names(&self) -> &BTreeSet<String> {
        &self.dns_names
    }

    /// Whether the certificate may sign others.
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Whether the authority's key signed the certificate.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, other))) =
            (parse_x509_certificate(&self.der), parse_x509_certificate(&authority.der))
        else {
            return false;
        };
        own.issuer() == other.subject() && own.verify_signature(Some(other.public_key())).is_ok()
    }

    /// Whether the certificate holds the public half of `key`.
    pub fn belongs_to(&self, key: &rcgen::KeyPair) -> bool {
        parse_x509_certificate(&self.der).is_ok_and(|(_, parsed)| {
            parsed.public_key().subject_public_key.data.as_ref() == rcgen::PublicKeyData::der_bytes(key)
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { der: _, not_before, not_after, dns_names, is_authority } = self;
        formatter
            .debug_struct("Certificate")
            .field("not_before", not_before)
            .field("not_after", not_after)
            .field("dns_names", dns_names)
            .field("is_authority", is_authority)
            .finish_non_exhaustive()
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Result<BTreeSet<String>, CertificateReadError> {
    let extension = certificate.subject_alternative_name().map_err(CertificateReadError::Extensions)?;
    let names = extension.into_iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}
