//! Reading a repository, through oci-client.

use futures::TryStreamExt as _;
use oci_client::errors::OciDistributionError;
use zstart_core::Digest;

use super::super::{Access, ByteStream, ManifestKey, RepositoryError};
use super::answer;
use super::session::Session;
use crate::image::{RawManifest, media_type};

/// A manifest's bytes. oci-client compares them with the digest that was asked for.
pub(super) async fn manifest(
    session: &Session,
    key: ManifestKey<'_>,
) -> Result<RawManifest, RepositoryError> {
    session.allow_reading().await?;
    let reference = session.oci_manifest(key);
    let pulled = session.oci.pull_manifest_raw(&reference, &session.auth(), &media_type::ACCEPT).await;
    match pulled {
        Ok((bytes, _)) => Ok(RawManifest::new(bytes)),
        Err(error) => {
            let operation = match key {
                ManifestKey::Tag(tag) => format!("pull image {tag}"),
                ManifestKey::Digest(digest) => format!("pull manifest {digest}"),
            };
            Err(answer::from_oci(session, Access::Pull, &operation, &error))
        }
    }
}

/// A blob's bytes, in the pieces in which they arrive.
pub(super) async fn blob(session: &Session, digest: &Digest) -> Result<ByteStream, RepositoryError> {
    session.allow_reading().await?;
    let operation = format!("pull blob {digest}");
    // A bare digest: a descriptor's `urls` would be followed to any host.
    let pulled = session.oci.pull_blob_stream(&session.oci_repository(), digest.as_str()).await;
    let stream = pulled.map_err(|error| answer::from_oci(session, Access::Pull, &operation, &error))?.stream;
    let session = session.clone();
    Ok(Box::pin(stream.map_err(move |error| {
        let error = OciDistributionError::IoError(error);
        std::io::Error::other(answer::from_oci(&session, Access::Pull, &operation, &error))
    })))
}

/// Whether a blob is there.
pub(super) async fn has_blob(session: &Session, digest: &Digest) -> Result<bool, RepositoryError> {
    session.allow_reading().await?;
    let found = session.oci.blob_exists(&session.oci_repository(), digest.as_str()).await;
    found.map_err(|error| answer::from_oci(session, Access::Pull, &format!("look for blob {digest}"), &error))
}
