//! An identity at a registry.

use super::identity_token::IdentityToken;
use super::password::Password;
use super::provider::SharedProvider;

/// An identity at a registry. Its debug form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// No identity.
    Anonymous,
    /// A user with a password, or with a token in its place.
    Basic(Password),
    /// A login that a token server exchanges for tokens.
    IdentityToken(IdentityToken),
    /// An identity whose passwords expire.
    Provider(SharedProvider),
}

impl Credentials {
    /// A user with a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic(Password { username: username.into(), password: password.into() })
    }

    /// A login's token, as a Docker config (`identitytoken`) or a credential helper (user `<token>`) holds it.
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self::IdentityToken(IdentityToken::new(token))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::auth::{CredentialProvider, ExpiringCredentials, ProviderError};

    /// A provider that contains a password.
    #[derive(Debug)]
    struct Fixed(#[expect(dead_code, reason = "it is printed")] Password);

    #[async_trait::async_trait]
    impl CredentialProvider for Fixed {
        async fn credentials(
            &self,
            _: Option<&Password>,
        ) -> Result<Option<ExpiringCredentials>, ProviderError> {
            Ok(None)
        }
    }

    #[test]
    fn debug_form_shows_no_password() {
        let password = Password { username: "user".to_owned(), password: "hush".to_owned() };
        let expiring =
            ExpiringCredentials { password: password.clone(), expires_at: Instant::now(), is_new: true };
        let provider = SharedProvider(Arc::new(Fixed(password.clone())));
        for printed in [
            format!("{password:?} {password:#?}"),
            format!("{:?}", Credentials::basic("user", "hush")),
            format!("{expiring:#?}"),
            format!("{:?}", Credentials::Provider(provider)),
        ] {
            assert!(printed.contains("user") && !printed.contains("hush"), "{printed}");
        }
        let printed = format!("{:#?}", Credentials::identity_token("hush"));
        assert!(printed.contains("IdentityToken") && !printed.contains("hush"), "{printed}");
    }
}
