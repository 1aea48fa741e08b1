//! Protection of the source from `--force`, which replaces any other image of a chosen tag.

use zstart_core::{Digest, Tag};
use zstart_registry::{ErrorKind, Store};

use crate::error::CliError;

/// Refuses a tag that names the source image. Source and target may be one place in two spellings: with a
/// symbolic link, a slash at the end, or another name of the registry's host.
pub(super) async fn require_other_image(
    target: &dyn Store,
    tag: &Tag,
    source: &Digest,
) -> Result<(), CliError> {
    match target.tag_digest(tag).await {
        Ok(found) if &found == source => {
            let target = format!("{}:{tag}", target.location());
            Err(CliError::TargetHoldsSource { target, digest: found })
        }
        Ok(_) => Ok(()),
        // Some registries refuse to show a tag that doesn't exist, and some credentials may push only. A damaged
        // manifest isn't the source, which was read.
        Err(error)
            if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::ContentMismatch) =>
        {
            tracing::debug!(%tag, error = error.chain(), "failed to look at the target's tag");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
