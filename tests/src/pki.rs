//! Keys and certificates of a lab, generated in each run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::json;

/// A certificate authority with its files in one folder.
pub(crate) struct Pki {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// Subject of a certificate.
pub(crate) struct Subject<'a> {
    pub(crate) file: &'a str,
    pub(crate) name: &'a str,
    pub(crate) organisation: &'a str,
    pub(crate) addresses: &'a [&'a str],
}

impl Subject<'_> {
    fn parameters(&self) -> Result<CertificateParams> {
        let names: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name.push(DnType::CommonName, self.name);
        parameters.distinguished_name.push(DnType::OrganizationName, self.organisation);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(parameters)
    }
}

impl Pki {
    /// Creates an authority. Writes `ca.crt`, and `sa.key` with `sa.pub` for service account tokens.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "zstart lab");
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        fs::write(folder.join("ca.crt"), authority.pem())?;
        let tokens = KeyPair::generate()?;
        fs::write(folder.join("sa.key"), tokens.serialize_pem())?;
        fs::write(folder.join("sa.pub"), tokens.public_key_pem())?;
        Ok(Self { folder: folder.to_owned(), authority })
    }

    /// Path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `FILE.crt` and `FILE.key`.
    pub(crate) fn issue(&self, subject: &Subject<'_>) -> Result<()> {
        self.sign(subject, &subject.parameters()?)
    }

    /// Writes `FILE.crt`, whose validity is over, and `FILE.key`.
    pub(crate) fn issue_expired(&self, subject: &Subject<'_>) -> Result<()> {
        let mut parameters = subject.parameters()?;
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.sign(subject, &parameters)
    }

    /// Writes `FILE.crt`, which no other certificate signed and which may sign others, and `FILE.key`. `openssl
    /// req -x509` makes such certificates.
    pub(crate) fn issue_self_signed(&self, subject: &Subject<'_>) -> Result<()> {
        let mut parameters = subject.parameters()?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        self.write(subject.file, &parameters.self_signed(&key)?, &key)
    }

    fn sign(&self, subject: &Subject<'_>, parameters: &CertificateParams) -> Result<()> {
        let key = KeyPair::generate()?;
        self.write(subject.file, &parameters.signed_by(&key, &self.authority)?, &key)
    }

    fn write(&self, file: &str, certificate: &Certificate, key: &KeyPair) -> Result<()> {
        fs::write(self.path(&format!("{file}.crt")), certificate.pem())?;
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// Writes `FILE.kubeconfig` for an issued certificate. (JSON is YAML.)
    pub(crate) fn kubeconfig(&self, file: &str, server: &str) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": server, "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": file, "user": {
                "client-certificate": self.path(&format!("{file}.crt")),
                "client-key": self.path(&format!("{file}.key")),
            }}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": file}}],
        });
        let path = self.path(&format!("{file}.kubeconfig"));
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }
}
