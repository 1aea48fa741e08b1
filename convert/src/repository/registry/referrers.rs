//! What belongs to a manifest (distribution specification, "Listing Referrers"), by the registry's own
//! list or, where it keeps none, by the tag that clients write instead ("Referrers Tag Schema").

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use zstart_core::Digest;

use super::super::{Access, MANIFEST_MAX, RepositoryError, Trouble};
use super::session::Session;
use super::{answer, pull, retry};
use crate::image::Descriptor;

/// The list: an index whose entries say what kind of artifact they are.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The referrers of this type. A registry that knows no such question, or answers it with something
/// else than a list, has none.
pub(super) async fn list(
    session: &Session,
    of: &Digest,
    artifact_type: &str,
) -> Result<Vec<Descriptor>, RepositoryError> {
    let by_tag = format!("manifests/{}-{}", of.algorithm(), of.hex());
    for path in [format!("referrers/{of}"), by_tag] {
        let found = match retry::with_retries(session.limits().pause, || read(session, &path)).await {
            Ok(found) => found,
            // 403 too: some registries deny what they don't know.
            Err(error) if !matches!(error.trouble, Trouble::Unavailable | Trouble::RateLimited { .. }) => {
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(List { manifests }) = found {
            let of_type =
                |descriptor: &Descriptor| descriptor.artifact_type().as_deref() == Some(artifact_type);
            return Ok(manifests.into_iter().filter(of_type).collect());
        }
    }
    Ok(Vec::new())
}

async fn read(session: &Session, path: &str) -> Result<Option<List>, RepositoryError> {
    const OPERATION: &str = "list what belongs to the image";
    let response = pull::request(session, Method::GET, path, OPERATION).await?;
    if response.status() != StatusCode::OK {
        return Err(answer::from_response(session, Access::Pull, OPERATION, response).await);
    }
    let bytes = answer::read_bounded(session, Access::Pull, OPERATION, response, MANIFEST_MAX).await?;
    Ok(serde_json::from_slice(&bytes).ok())
}
