//! What belongs to a manifest (distribution specification, "Listing Referrers"), by the registry's own
//! list or, where it keeps none, by the tag that clients write instead ("Referrers Tag Schema").

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zstart_core::Digest;

use super::pages::{self, PAGES_MAX};
use super::session::Session;
use super::{answer, pull, retry};
use crate::{Access, RepositoryError, Trouble};
use zstart_oci::{Descriptor, MANIFEST_MAX};

/// How many are enough: a registry that goes on and on isn't believed.
const MOST: usize = 1000;

/// The list, or a page of it: an index whose entries say what kind of artifact they are.
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
        if let Some(found) = read_pages(session, &path, artifact_type).await? {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Those in the list at this path; `None` where there is no list. One that breaks off ends there.
async fn read_pages(
    session: &Session,
    path: &str,
    artifact_type: &str,
) -> Result<Option<Vec<Descriptor>>, RepositoryError> {
    let mut found = None;
    let mut next = session.url(Access::Pull, path)?;
    for _ in 0..PAGES_MAX {
        let page = match retry::with_retries(session.limits().pause, || read(session, path, &next)).await {
            Ok(page) => page,
            // 403 too: some registries deny what they don't know.
            Err(error) if !matches!(error.trouble, Trouble::Unavailable | Trouble::RateLimited { .. }) => {
                None
            }
            Err(error) => return Err(error),
        };
        let Some((List { manifests }, after)) = page else { break };
        let of_type = |descriptor: &Descriptor| descriptor.artifact_type().as_deref() == Some(artifact_type);
        let found = found.get_or_insert_with(Vec::new);
        found.extend(manifests.into_iter().filter(of_type));
        match after {
            Some(after) if found.len() < MOST => next = after,
            Some(_) | None => break,
        }
    }
    Ok(found)
}

async fn read(
    session: &Session,
    path: &str,
    url: &Url,
) -> Result<Option<(List, Option<Url>)>, RepositoryError> {
    const OPERATION: &str = "list what belongs to the image";
    let response =
        pull::request_at(session, Method::GET, url.clone(), &pull::accept(path), OPERATION).await?;
    if response.status() != StatusCode::OK {
        return Err(answer::from_response(session, Access::Pull, OPERATION, response).await);
    }
    let after = pages::next(url, response.headers());
    let bytes = answer::read_bounded(session, Access::Pull, OPERATION, response, MANIFEST_MAX).await?;
    Ok(serde_json::from_slice(&bytes).ok().map(|list| (list, after)))
}
