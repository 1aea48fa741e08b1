//! Fingerprints of identities: equality without the secret.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use super::credentials::Credentials;

/// Hash of an identity with a key of this process. Equal credentials have equal fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Credentials {
    /// Fingerprint of this identity. A provider's is constant while its passwords change.
    pub fn fingerprint(&self) -> Fingerprint {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let key = KEY.get_or_init(RandomState::new);
        Fingerprint(match self {
            Self::Anonymous => key.hash_one("anonymous"),
            Self::Basic(password) => key.hash_one(("basic", &password.username, &password.password)),
            Self::IdentityToken(token) => key.hash_one(("token", token.secret())),
            Self::Provider(provider) => key.hash_one(("provider", Arc::as_ptr(&provider.0).addr())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_identities_have_different_fingerprints() {
        let all = [
            Credentials::Anonymous,
            Credentials::basic("user", "one"),
            Credentials::basic("user", "two"),
            Credentials::basic("other", "one"),
            Credentials::identity_token("one"),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one.fingerprint() == other.fingerprint(), at == other_at, "{one:?} {other:?}");
            }
        }
    }
}
