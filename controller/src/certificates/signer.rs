//! The authority as a signer.

use std::fmt;

use rcgen::KeyPair;

use super::certificate::Certificate;

/// An authority that can sign. `Debug` omits the private key.
pub struct Signer {
    /// Certificate of the authority.
    pub certificate: Certificate,
    /// Private key of the authority.
    pub key: KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate, key: _ } = self;
        formatter.debug_struct("Signer").field("certificate", certificate).finish_non_exhaustive()
    }
}
