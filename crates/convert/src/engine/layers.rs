//! One layer: pull → inflate → hash → zstd → hash → push, all at once and never whole.

use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use zstart_core::Digest;

use super::again::{Failed, with_attempts};
use super::channel::{CHUNKS, Chunk, Content, Source, Target, gather, stream_of};
use super::execute::{Job, Wanted};
use super::places::Places;
use super::reuse;
use crate::error::Error;
use crate::memory::LayerKey;
use crate::progress::{LayerResult, Progress};
use zstart_codec::UnpackLimits;
use zstart_codec::{Announced, LayerConverter, LayerError};
use zstart_oci::Descriptor;
use zstart_registry::{BlobUpload, Repository};

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerOutcome {
    /// The digest of its uncompressed bytes.
    pub(crate) diff_id: Digest,
    /// The new layer in the target; `None` where its bytes are zstd already, whatever its media type
    /// says.
    pub(crate) written: Option<Written>,
}

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A layer that is where it is needed.
pub(super) struct ProvidedLayer {
    pub(super) outcome: LayerOutcome,
    /// It was written by an earlier conversion.
    pub(super) made_before: bool,
}

/// What all layers of a conversion have in common.
pub(super) struct Workshop<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) converter: Arc<dyn LayerConverter>,
    /// The converter's settings, as annotations carry them.
    pub(super) marks: String,
    pub(super) places: Places,
}

/// Brings one layer into the target: one that was made before, or a new one. `hint` is what an earlier
/// variant in the target says that was made of it.
pub(super) async fn provide_layer(
    workshop: &Workshop<'_>,
    wanted: &Wanted,
    hint: Option<&Written>,
) -> Result<ProvidedLayer, Error> {
    let Workshop { job, marks, .. } = workshop;
    let Wanted { layer, diff_id } = wanted;
    let key = LayerKey { layer: layer.digest().clone(), settings: marks.clone() };
    let location = job.target.location();
    let _alone = job.memory.claim(&key, location).await;
    let made_before = if job.settings.force {
        None
    } else {
        match reuse::remembered(job, layer, &key, diff_id).await? {
            Some(outcome) => Some(outcome),
            None => reuse::proven(workshop, hint, diff_id).await,
        }
    };
    let (outcome, is_new) = match made_before {
        Some(outcome) => {
            job.progress.started(layer.digest(), layer.size());
            (outcome, false)
        }
        None => (convert_layer(workshop, layer).await?, true),
    };
    // What is made by force, others would keep.
    if !job.settings.force {
        job.memory.note(&key, &outcome, location);
    }
    let result = match &outcome.written {
        Some(Written { digest: _, size }) if is_new => LayerResult::Converted { bytes: *size },
        Some(Written { digest: _, size }) => LayerResult::Reused { bytes: *size },
        None => LayerResult::Kept,
    };
    job.progress.finished(layer.digest(), result);
    Ok(ProvidedLayer { made_before: matches!(result, LayerResult::Reused { .. }), outcome })
}

async fn convert_layer(workshop: &Workshop<'_>, layer: &Descriptor) -> Result<LayerOutcome, Error> {
    let Workshop { job, converter, marks: _, places } = workshop;
    let Job { source, target, settings, memory: _, progress } = **job;
    with_attempts(
        layer.digest(),
        || progress.finished(layer.digest(), LayerResult::Retrying),
        || attempt_layer(source, target, converter, places, layer, settings.unpack, progress),
    )
    .await
}

/// Pulls a layer and hands it to a `reader`, which writes nothing. Answers the digest of its uncompressed
/// bytes.
pub async fn read_layer(
    source: &dyn Repository,
    reader: &Arc<dyn LayerConverter>,
    layer: &Descriptor,
    unpack: UnpackLimits,
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    let retrying = || progress.finished(layer.digest(), LayerResult::Retrying);
    let places = Places::new(NonZero::<usize>::MIN);
    let attempt = || attempt_layer(source, source, reader, &places, layer, unpack, progress);
    match with_attempts(layer.digest(), retrying, attempt).await {
        Ok(LayerOutcome { diff_id, written: _ }) => Ok(diff_id),
        // Nothing was to be converted.
        Err(Error::Layer { digest, source }) => Err(Error::Blob { digest, source }),
        Err(error) => Err(error),
    }
}

/// Pulls, converts and pushes a layer, once.
pub(super) async fn attempt_layer(
    source: &dyn Repository,
    target: &dyn Repository,
    converter: &Arc<dyn LayerConverter>,
    places: &Places,
    layer: &Descriptor,
    unpack: UnpackLimits,
    progress: &dyn Progress,
) -> Result<LayerOutcome, Failed> {
    let (to_worker, from_source) = mpsc::channel::<Chunk>(CHUNKS);
    let (to_target, from_worker) = mpsc::channel::<Chunk>(CHUNKS);
    let place = places.before(layer, &**converter).await;
    let work = async {
        let place = match place {
            Some(place) => place,
            None => places.take(layer, &**converter).await,
        };
        progress.started(layer.digest(), layer.size());
        let (converter, to_convert) = (Arc::clone(converter), layer.clone());
        let worker = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&*converter, &to_convert, unpack, from_source, to_target)
        });
        let worked = worker.await.map_err(|_| Error::Interrupted { digest: layer.digest().clone() })?;
        // Its failure waits for the other two: where the target hangs up, the worker only sees that
        // nobody takes its bytes, and the target knows why.
        Ok(worked.map_err(|source| Error::Layer { digest: layer.digest().clone(), source }))
    };
    let (worked, (), pushed) =
        tokio::try_join!(work, pull(source, layer, to_worker, progress), push(target, from_worker))?;
    match (worked, pushed) {
        (Ok(LayerOutcome { diff_id, written: Some(written) }), pushed) => {
            match pushed {
                Pushed::Sent(upload) => upload.commit(&written.digest).await?,
                Pushed::AtHand(content) => target.put_blob(&written.digest, content).await?,
                Pushed::Nothing => return Err(Error::Interrupted { digest: layer.digest().clone() }.into()),
            }
            Ok(LayerOutcome { diff_id, written: Some(written) })
        }
        (worked, pushed) => {
            // Whatever was sent is worth nothing.
            if let Pushed::Sent(upload) = pushed {
                upload.abort().await;
            }
            Ok(worked?)
        }
    }
}

/// Reads the source into the channel. A worker that needs no more has hung up; that is no error here.
async fn pull(
    source: &dyn Repository,
    layer: &Descriptor,
    to_worker: mpsc::Sender<Chunk>,
    progress: &dyn Progress,
) -> Result<(), Failed> {
    let mut content = source.blob(layer.digest()).await.map_err(Failed::opening)?;
    loop {
        match content.try_next().await {
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => {
                progress.advanced(layer.digest(), chunk.len() as u64);
                if to_worker.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                // The worker reports it: it may know better, e.g. that the digest is wrong.
                let _ = to_worker.send(Err(error)).await;
                return Ok(());
            }
        }
    }
}

/// What became of the bytes that the worker wrote.
enum Pushed {
    /// There were none.
    Nothing,
    /// All of them, to be sent when their digest is known.
    AtHand(Bytes),
    /// The target has them, and waits for their digest.
    Sent(Box<dyn BlobUpload>),
}

/// Sends what the worker writes. The upload is opened with the first bytes: a layer that stays as it
/// is costs the target no request.
async fn push(target: &dyn Repository, mut from_worker: mpsc::Receiver<Chunk>) -> Result<Pushed, Failed> {
    let Some(first) = from_worker.recv().await else { return Ok(Pushed::Nothing) };
    let content = match gather(stream_of(first, from_worker)).await {
        Content::Whole(content) => return Ok(Pushed::AtHand(content)),
        Content::Stream(content) => content,
    };
    let mut upload = target.begin_blob().await.map_err(Failed::opening)?;
    upload.send(content).await?;
    Ok(Pushed::Sent(upload))
}

/// The work itself, on its own thread.
fn work(
    converter: &dyn LayerConverter,
    layer: &Descriptor,
    unpack: UnpackLimits,
    from_source: mpsc::Receiver<Chunk>,
    to_target: mpsc::Sender<Chunk>,
) -> Result<LayerOutcome, LayerError> {
    let mut source = Source::new(from_source, layer.size());
    let mut target = Target::new(to_target);
    let announced = Announced { packed: layer.size(), most: unpack.of(layer.size()) };
    let converted = match converter.convert(&mut source, &mut target, announced) {
        Ok(converted) => converted,
        // Damaged bytes may not be the layer's bytes at all: that is the better message.
        Err(error) if error.blames_content() => {
            require_content(source, layer)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    require_content(source, layer)?;
    let written = if converted.anew {
        let (digest, size) = target.finish().map_err(|source| LayerError::Write { source })?;
        Some(Written { digest, size })
    } else {
        None
    };
    Ok(LayerOutcome { diff_id: converted.diff_id, written })
}

/// Compares all of the source's bytes with what the descriptor promises.
fn require_content(source: Source, layer: &Descriptor) -> Result<(), LayerError> {
    let (found, found_size) = source.finish().map_err(|source| LayerError::Read { source })?;
    if &found == layer.digest() && found_size == layer.size() {
        return Ok(());
    }
    Err(LayerError::Digest { found, found_size, expected_size: layer.size() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Write};
    use std::sync::Mutex;
    use std::sync::mpsc;

    use futures::{FutureExt as _, stream};

    use super::*;
    use crate::progress::Silent;
    use zstart_codec::Converted;
    use zstart_oci::media_type;
    use zstart_registry::LayoutFolder;

    /// Says that it has begun, and then hears and sees nothing until it may go on.
    struct Deaf {
        began: mpsc::Sender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl LayerConverter for Deaf {
        fn settings(&self) -> String {
            String::new()
        }

        fn convert(
            &self,
            _: &mut dyn BufRead,
            _: &mut (dyn Write + Send),
            _: Announced,
        ) -> Result<Converted, LayerError> {
            self.began.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
            Ok(Converted { diff_id: Digest::sha256_of(b""), anew: false })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_layer_that_was_given_up_has_its_place_until_its_work_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let repository = LayoutFolder::new(folder.path());
        let digest = Digest::sha256_of(b"content");
        let mut upload = repository.begin_blob().await.unwrap();
        upload.send(Box::pin(stream::iter([Ok("content".into())]))).await.unwrap();
        upload.commit(&digest).await.unwrap();
        let layer = Descriptor::new(media_type::OCI_TAR_GZIP, digest, 7).unwrap();

        let ((began, has_begun), (end, go_on)) = (mpsc::channel(), mpsc::channel());
        let deaf: Arc<dyn LayerConverter> = Arc::new(Deaf { began, go_on: Mutex::new(go_on) });
        let places = Places::new(NonZero::<usize>::MIN);
        {
            let limits = UnpackLimits::default();
            let attempt =
                attempt_layer(&repository, &repository, &deaf, &places, &layer, limits, &Silent).boxed();
            let begun = tokio::task::spawn_blocking(move || has_begun.recv());
            tokio::select! {
                _ = attempt => panic!("it can't end yet"),
                begun = begun => begun.unwrap().unwrap(),
            }
        }
        assert!(places.take(&layer, &*deaf).now_or_never().is_none());
        end.send(()).unwrap();
        places.take(&layer, &*deaf).await;
    }
}
