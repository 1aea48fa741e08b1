//! Repetition of a read that failed. oci-client repeats nothing.

use std::time::Duration;

use crate::reader::{ReadError, ReadErrorKind};

/// Pauses before the second and third attempt.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Repeats `read` while the registry can't be reached or limits requests.
pub(crate) async fn with_retries<T>(read: impl AsyncFn() -> Result<T, ReadError>) -> Result<T, ReadError> {
    for pause in PAUSES {
        match read().await {
            Err(error) if error.kind == ReadErrorKind::Unavailable => tokio::time::sleep(pause).await,
            result => return result,
        }
    }
    read().await
}
