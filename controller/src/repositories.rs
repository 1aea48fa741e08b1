//! Repositories that stay open between two looks, with their tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use zstart_core::Reference;
use zstart_core::sync::lock;
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, Store};

/// Highest number of open repositories: some KiB each.
const MAX_OPEN: usize = 2000;

/// Open repositories, by record. With a new client, a look is two requests, and three at a registry with a token
/// server. With an open one, it is one request.
#[derive(Default)]
pub(crate) struct Repositories {
    open: Mutex<HashMap<String, Open>>,
}

/// Repository that was opened with these credentials.
struct Open {
    credentials: Credentials,
    repository: Arc<dyn Store>,
}

impl Repositories {
    /// Returns the open repository of a record if the credentials are the same; opens it otherwise.
    pub(crate) fn get(
        &self,
        record: &str,
        registries: &RegistryClient,
        source: &Reference,
        credentials: Credentials,
    ) -> Arc<dyn Store> {
        if let Some(open) = lock(&self.open).get(record).filter(|open| open.credentials == credentials) {
            return Arc::clone(&open.repository);
        }
        registries.repository(source, credentials)
    }

    /// Keeps a repository open that answered, in place of the record's former one. Another record's is closed
    /// if too many are open.
    pub(crate) fn keep(&self, record: String, credentials: Credentials, repository: Arc<dyn Store>) {
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN
            && !open.contains_key(&record)
            && let Some(other) = open.keys().next().cloned()
        {
            open.remove(&other);
        }
        open.insert(record, Open { credentials, repository });
    }

    /// Closes the repository of a record that no longer exists.
    pub(crate) fn remove(&self, record: &str) {
        lock(&self.open).remove(record);
    }
}
