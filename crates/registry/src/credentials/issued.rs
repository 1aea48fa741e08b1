//! The seam for passwords that end, and are made anew: Amazon ECR's tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;

use super::Password;
use crate::Trouble;

/// Makes passwords. One source serves all repositories that the same identity reads or writes, at once.
#[async_trait]
pub trait PasswordSource: fmt::Debug + Send + Sync {
    /// The password of now; never the one that was `refused`. `None`: nobody in particular, which will
    /// do to read from some registries.
    async fn password(&self, refused: Option<&Password>) -> Result<Option<IssuedPassword>, IssueError>;
}

/// A password with an end.
#[derive(Clone, Debug)]
pub struct IssuedPassword {
    /// The password.
    pub password: Password,
    /// When to ask for the next one.
    pub until: Instant,
    /// Whether it was made for this very call: then a refusal means that it has no right.
    pub is_new: bool,
}

/// There is no password to be had.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct IssueError {
    /// Why, and what to do.
    pub message: String,
    /// What kind of answer it was.
    pub trouble: Trouble,
}

/// A [`PasswordSource`]. Two are equal if they are the same one.
#[derive(Clone, Debug)]
pub struct Issuer(pub Arc<dyn PasswordSource>);

impl PartialEq for Issuer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Issuer {}
