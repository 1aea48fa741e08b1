//! Phase *verify*: an existing variant is read back before it is reused.

use zstart_convert::{Error, Plan, VariantImage};

use super::error::ReconcileError;
use super::target::Target;

/// Returns an existing variant if the registry still has everything that it names. An incomplete one is
/// logged and `None`: the caller converts again.
pub(super) async fn verify_existing(
    target: Target<'_>,
    plan: &Plan,
    image: VariantImage,
) -> Result<Option<VariantImage>, ReconcileError> {
    let verified = zstart_convert::verify(target.repository, target.tag, plan, &image).await;
    intact(target, image, verified)
}

/// Returns a variant that was read back; `None` if it is incomplete.
pub(super) fn intact(
    target: Target<'_>,
    image: VariantImage,
    verified: Result<(), Error>,
) -> Result<Option<VariantImage>, ReconcileError> {
    match verified {
        Ok(()) => Ok(Some(image)),
        Err(error @ Error::NotVerified { .. }) => {
            let source = target.source;
            tracing::warn!(%source, error = error.chain(), "variant is incomplete, converting again");
            Ok(None)
        }
        Err(error) => Err(ReconcileError::Convert(error)),
    }
}
