//! Conversions in the leader's own process.

use std::time::Instant;

use tokio::time::timeout;
use tracing::info;
use zstart_convert::progress::Silent;
use zstart_convert::{Error, Execution, Job, NamedVariant, VariantTagging};

use super::{Conversion, ConversionError, Converted};
use crate::context::Context;

/// Converts, pushes and verifies a variant within the time limit.
pub(super) async fn convert(
    context: &Context,
    conversion: Conversion<'_>,
) -> Result<Converted, ConversionError> {
    let started = Instant::now();
    let limit = context.config.conversion_timeout;
    let converted = timeout(limit, execute(context, conversion)).await;
    let (variant, transcoder_faults) = converted.map_err(|_| ConversionError::Timeout { limit })??;
    Ok(Converted { variant, transcoder_faults, took: started.elapsed() })
}

/// Returns the variant, and the number of the transcoder's faults.
async fn execute(context: &Context, conversion: Conversion<'_>) -> Result<(NamedVariant, usize), Error> {
    let Conversion { source, repository, names, plan, settings, listing, .. } = conversion;
    let digest = &plan.source.digest;
    info!(%source, %digest, "converting an image");
    let job = Job {
        source: repository,
        target: repository,
        settings,
        layer_cache: &context.layer_cache,
        progress: &Silent,
    };
    let tagging = VariantTagging::Derived { names, listing };
    let Execution { image, tag, layers_reused, transcoder_faults } =
        zstart_convert::execute(job, source, tagging, plan).await?;
    info!(%source, %digest, layers_reused, "converted an image");
    zstart_convert::verify_pushed(repository, &tag, plan, &image).await?;
    Ok((NamedVariant { tag, image, is_complete: true }, transcoder_faults))
}
