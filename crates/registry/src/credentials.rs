//! Credentials for registries, from where container tools keep them.

use std::fmt;

mod docker_config;
mod helper;
mod issued;

pub use docker_config::{CredentialsError, DockerConfig};
pub use issued::{IssueError, IssuedPassword, Issuer, PasswordSource};

/// Who zstart is to a registry. Printing it shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password, or with a token in its place.
    Basic(Password),
    /// Somebody whose passwords end.
    Issued(Issuer),
}

/// A user's name and password. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// A user with a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic(Password { username: username.into(), password: password.into() })
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Password").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    /// A source that holds a password.
    #[derive(Debug)]
    struct Holder(#[expect(dead_code, reason = "it is printed")] Password);

    #[async_trait::async_trait]
    impl PasswordSource for Holder {
        async fn password(&self, _: Option<&Password>) -> Result<Option<IssuedPassword>, IssueError> {
            Ok(None)
        }
    }

    #[test]
    fn whatever_holds_a_password_is_printed_without_it() {
        let password = Password { username: "somebody".to_owned(), password: "hush".to_owned() };
        let issued = IssuedPassword { password: password.clone(), until: Instant::now(), is_new: true };
        let issuer = Issuer(Arc::new(Holder(password.clone())));
        for printed in [
            format!("{password:?} {password:#?}"),
            format!("{:?}", Credentials::basic("somebody", "hush")),
            format!("{issued:#?}"),
            format!("{:?}", Credentials::Issued(issuer)),
        ] {
            assert!(printed.contains("somebody") && !printed.contains("hush"), "{printed}");
        }
    }
}
