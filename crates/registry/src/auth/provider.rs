//! Credentials that expire and are issued again, such as Amazon ECR's tokens.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use thiserror::Error;

use super::password::Password;
use crate::error_kind::ErrorKind;

/// Issues credentials. One provider serves all repositories that its identity reads or writes, concurrently.
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync {
    /// Returns the current credentials, never the `refused` ones. `None` means anonymous access, which
    /// suffices to read from some registries.
    async fn credentials(
        &self,
        refused: Option<&Password>,
    ) -> Result<Option<ExpiringCredentials>, ProviderError>;
}

/// Credentials with an end.
#[derive(Clone, Debug)]
pub struct ExpiringCredentials {
    /// User name and password.
    pub password: Password,
    /// Time to ask the provider for the next ones.
    pub expires_at: Instant,
    /// Whether they were issued for this very call: then a refusal means that they lack the right.
    pub is_new: bool,
}

/// The provider has no credentials to give.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct ProviderError {
    /// Cause, and what to do.
    pub message: String,
    /// Class of the error.
    pub kind: ErrorKind,
}

/// A shared [`CredentialProvider`]. Two are equal if they are the same object.
#[derive(Clone, Debug)]
pub struct SharedProvider(pub Arc<dyn CredentialProvider>);

impl PartialEq for SharedProvider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedProvider {}

impl Hash for SharedProvider {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}
