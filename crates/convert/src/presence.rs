//! Look-ups of a blob in a store.

use zstart_core::Digest;
use zstart_registry::{ErrorKind, Presence, RegistryError, Store};

/// Looks for a blob in a store. Where the store doesn't tell, opening the blob decides.
pub(crate) async fn has_blob(store: &dyn Store, digest: &Digest) -> Result<bool, RegistryError> {
    match store.blob_presence(digest).await {
        Presence::Present => Ok(true),
        Presence::Absent => Ok(false),
        Presence::Unknown => can_open(store, digest).await,
    }
}

/// Checks that a store serves a blob to its readers. The answer to a small question suffices only if it is yes.
pub(crate) async fn serves_blob(store: &dyn Store, digest: &Digest) -> Result<bool, RegistryError> {
    match store.blob_presence(digest).await {
        Presence::Present => Ok(true),
        Presence::Absent | Presence::Unknown => can_open(store, digest).await,
    }
}

/// Requests a blob's content and drops it unread. A plain GET, because every registry must answer it as it
/// answers a node. A `Range` of one byte would save a connection, but an empty blob is answered 416, and
/// caching proxies answer ranges with statuses of their own.
async fn can_open(store: &dyn Store, digest: &Digest) -> Result<bool, RegistryError> {
    match store.blob(digest).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
