//! Certificates that zstart trusts: the system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR`
//! name.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use thiserror::Error;

/// TLS can't be set up.
#[derive(Debug, Error)]
pub(super) enum TrustError {
    #[error("the process has no default rustls provider")]
    NoProvider,
    #[error("no certificates of authorities found: install the system's, or name a file in SSL_CERT_FILE")]
    NoRoots(#[source] Option<rustls_native_certs::Error>),
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// TLS settings of all HTTPS requests: HTTP/2 or HTTP/1.1.
pub(super) fn client_config() -> Result<ClientConfig, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to load certificates of authorities");
    }
    if found.certs.is_empty() {
        return Err(TrustError::NoRoots(found.errors.into_iter().next()));
    }
    let provider = CryptoProvider::get_default().cloned().ok_or(TrustError::NoProvider)?;
    let verifier = RootVerifier::new(found.certs, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let verified = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// webpki's verifier, which also accepts a server that presents a trusted root itself.
///
/// `openssl req -x509` makes such certificates by default, and curl and Go accept them. The holder of a root's
/// key can issue a certificate for any name, so a server that proves to hold the key has no more power by
/// this rule. webpki refuses an authority as a server (`CaUsedAsEndEntity`) after it has checked the
/// certificate's validity period; this verifier checks the name.
#[derive(Debug)]
struct RootVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl RootVerifier {
    fn new(
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(roots.iter().cloned());
        if ignored > 0 {
            tracing::debug!(ignored, "left out certificates of authorities that are not readable");
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build()?;
        Ok(Self { webpki, roots })
    }
}

impl ServerCertVerifier for RootVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(TlsError::InvalidCertificate(error))
                if is_authority_as_server(&error) && self.roots.iter().any(|root| root == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether webpki refused a certificate because it is an authority's. rustls has no variant for that error of
/// webpki, only its name.
pub(crate) fn is_authority_as_server(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// A self-signed certificate for `registry.example`, valid in the years 2020 to 2029.
    fn self_signed(is_ca: IsCa) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(["registry.example".to_owned()]).unwrap();
        parameters.is_ca = is_ca;
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn trusted_root_is_accepted_as_the_server_it_names() {
        let root = self_signed(IsCa::Ca(BasicConstraints::Unconstrained));
        let twin = self_signed(IsCa::Ca(BasicConstraints::Unconstrained));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = RootVerifier::new(vec![root.clone()], provider).unwrap();
        let verify = |certificate: &CertificateDer<'static>, name: &'static str, year: u64| {
            let now = UnixTime::since_unix_epoch(Duration::from_hours((year - 1970) * 8766));
            let name = ServerName::try_from(name).unwrap();
            verifier.verify_server_cert(certificate, &[], &name, &[], now).map(drop)
        };
        let problem = |result: Result<(), TlsError>| match result {
            Err(TlsError::InvalidCertificate(problem)) => problem,
            other => panic!("{other:?}"),
        };
        verify(&root, "registry.example", 2025).unwrap();
        let other_name = problem(verify(&root, "other.example", 2025));
        assert!(matches!(other_name, CertificateError::NotValidForNameContext { .. }), "{other_name:?}");
        let expired = problem(verify(&root, "registry.example", 2031));
        assert!(matches!(expired, CertificateError::ExpiredContext { .. }), "{expired:?}");
        let early = problem(verify(&root, "registry.example", 2019));
        assert!(matches!(early, CertificateError::NotValidYetContext { .. }), "{early:?}");
        // Same subject and names, another key.
        assert!(is_authority_as_server(&problem(verify(&twin, "registry.example", 2025))));
        let leaf = self_signed(IsCa::NoCa);
        let unknown = problem(verify(&leaf, "registry.example", 2025));
        assert!(!is_authority_as_server(&unknown), "{unknown:?}");
    }
}
