//! Credentials for registries, from where container tools keep them.

use std::fmt;

mod docker_config;
mod helper;

pub use docker_config::{CredentialsError, DockerConfig};

/// Who zstart is to a registry. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password, or with a token in its place.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("Anonymous"),
            Self::Basic { username, password: _ } => {
                write!(formatter, "Basic {{ username: {username:?}, password: … }}")
            }
        }
    }
}
