//! A user name with its password.

use std::fmt;

/// A user's name and password. Its debug form shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Password").field("username", &self.username).finish_non_exhaustive()
    }
}
