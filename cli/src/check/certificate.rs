//! Certificate of the webhook: its dates, its name, and the authorities that the API server trusts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use zstart_core::chain;

use super::issuer::Issuer;
use super::name::CheckName;
use super::outcome::Check;

const NAME: CheckName = CheckName::Certificate;

/// Certificate of the serving Secret, and the party that verifies it.
pub(super) struct Serving<'a> {
    /// Name of the Secret.
    pub(super) secret: &'a str,
    /// Certificate and its intermediates, as PEM.
    pub(super) chain: &'a [u8],
    /// `caBundle` of the webhook configuration, as PEM.
    pub(super) bundle: &'a [u8],
    /// DNS name by which the API server calls the webhook.
    pub(super) host: &'a str,
    /// Party that replaces the certificate.
    pub(super) issuer: Issuer,
}

impl Serving<'_> {
    /// Verifies the certificate as the API server does in its TLS handshake.
    pub(super) fn check(&self, now: Timestamp) -> Check {
        let Self { secret, chain: pem, .. } = self;
        let renew = self.issuer.certificate_action(secret);
        let unusable = |problem: String| {
            Check::failed(NAME, format!("tls.crt of the Secret {secret} can't be used: {problem}"), &renew)
        };
        let chain = match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(chain) => chain,
            Err(error) => return unusable(error.to_string()),
        };
        let Some((leaf, intermediates)) = chain.split_first() else {
            return unusable("it holds no certificate".to_owned());
        };
        let (from, until) = match x509_parser::parse_x509_certificate(leaf) {
            Ok((_, certificate)) => {
                let validity = certificate.validity();
                (validity.not_before.timestamp(), validity.not_after.timestamp())
            }
            Err(error) => return unusable(error.to_string()),
        };
        let date = |second| {
            Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
        };
        let seconds = now.as_second();
        if seconds > until {
            let text = format!("the certificate in the Secret {secret} expired at {}", date(until));
            return Check::failed(NAME, text, renew);
        }
        if seconds < from {
            let text = format!("the certificate in the Secret {secret} isn't valid before {}", date(from));
            return Check::failed(
                NAME,
                text,
                "compare the clocks of this machine and of the certificate's issuer",
            );
        }
        if let Err(error) = self.verify(leaf, intermediates, now) {
            return self.refused(&error);
        }
        let text = format!(
            "the certificate is valid for {} until {}, and caBundle trusts it",
            self.host,
            date(until)
        );
        // Issuers renew after two thirds of the lifetime at the latest.
        if (until - seconds).saturating_mul(10) < until - from {
            let text = format!("{text}, but its renewal is overdue");
            return Check::warning(NAME, text, renew);
        }
        Check::passed(NAME, text)
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(self.bundle).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let host = ServerName::try_from(self.host).map_err(|error| Error::General(error.to_string()))?;
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verifier.verify_server_cert(leaf, intermediates, &host, &[], now).map(|_| ())
    }

    fn refused(&self, error: &Error) -> Check {
        let Self { secret, host, .. } = self;
        match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Check::failed(
                    NAME,
                    format!(
                        "no authority in the webhook configuration's caBundle signed the certificate in the Secret \
                         {secret}: the API server refuses the webhook, and pods start from their original images"
                    ),
                    self.issuer.authority_action(),
                )
            }
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Check::failed(
                NAME,
                format!(
                    "the certificate in the Secret {secret} isn't valid for {host}, by which the API server calls the \
                     webhook"
                ),
                format!("issue a certificate with the DNS name {host}"),
            ),
            // Verifiers differ in details: Go, unlike webpki, accepts an authority as a server's certificate.
            error => Check::warning(
                NAME,
                format!("the certificate in the Secret {secret} can't be verified here: {}", chain(error)),
                "the check of the dry-run pod below tells whether the API server accepts it",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::super::outcome::Outcome;
    use super::*;

    const HOST: &str = "zstart-webhook.zstart-system.svc";

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate for the year 2026.
    fn issue(authority: &CertifiedIssuer<'static, KeyPair>, host: &str) -> String {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        parameters.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().pem()
    }

    fn check(chain: &str, bundle: &str, now: &str) -> Check {
        let (chain, bundle) = (chain.as_bytes(), bundle.as_bytes());
        let serving = Serving { secret: "tls", chain, bundle, host: HOST, issuer: Issuer::Controller };
        serving.check(now.parse().unwrap())
    }

    #[test]
    fn trusted_certificate_passes_until_its_renewal_is_overdue() {
        let authority = authority();
        let (chain, bundle) = (issue(&authority, HOST), authority.pem());
        let passed = check(&chain, &bundle, "2026-06-01T00:00:00Z");
        assert_eq!(passed.outcome, Outcome::Passed, "{}", passed.text);
        assert!(passed.text.contains("until 2027-01-01T00:00:00Z"), "{}", passed.text);
        let late = check(&chain, &bundle, "2026-12-20T00:00:00Z");
        assert!(matches!(late.outcome, Outcome::Warning { .. }), "{}", late.text);
    }

    #[test]
    fn dates_name_and_authority_are_told_apart() {
        let (own, foreign) = (authority(), authority());
        let chain = issue(&own, HOST);
        let (now, bundle) = ("2026-06-01T00:00:00Z", own.pem());
        for (check, said) in [
            (check(&chain, &bundle, "2028-01-01T00:00:00Z"), "expired at 2027-01-01T00:00:00Z"),
            (check(&chain, &bundle, "2025-01-01T00:00:00Z"), "isn't valid before 2026-01-01T00:00:00Z"),
            (
                check(&issue(&own, "other.svc"), &bundle, now),
                "isn't valid for zstart-webhook.zstart-system.svc",
            ),
            (check(&chain, &foreign.pem(), now), "no authority in the webhook configuration's caBundle"),
            (check(&chain, "", now), "no authority in the webhook configuration's caBundle"),
            (check("", &bundle, now), "holds no certificate"),
        ] {
            assert!(matches!(check.outcome, Outcome::Failed { .. }), "{}", check.text);
            assert!(check.text.contains(said), "{}", check.text);
        }
    }

    #[test]
    fn intermediate_of_the_secret_is_used() {
        let root = authority();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
        let intermediate =
            CertifiedIssuer::signed_by(parameters, KeyPair::generate().unwrap(), &root).unwrap();
        let chain = format!("{}{}", issue(&intermediate, HOST), intermediate.pem());
        let now = "2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap() + 24.hours();
        assert_eq!(check(&chain, &root.pem(), &now.to_string()).outcome, Outcome::Passed);
    }
}
