//! One attempt at one layer: pull → hash → thread → hash → push, concurrently and never whole in memory.

use std::io::BufRead;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::sync::mpsc;
use zstart_codec::{Converted, LayerConverter, LayerError, LayerLimits, UnpackLimits};
use zstart_core::Digest;
use zstart_oci::Descriptor;
use zstart_registry::{BlobUpload, RegistryError, Store};

use crate::blob_io::{CHANNEL_CHUNKS, Content, HashingReader, HashingWriter, buffer_small, stream_of};
use crate::concurrency::LayerSemaphore;
use crate::converted_layer::{BlobInfo, ConvertedLayer};
use crate::error::Error;
use crate::progress::Progress;
use crate::retry::BlobError;

/// Source of a layer, and the limits of its work.
#[derive(Clone, Copy)]
pub(crate) struct LayerPipeline<'a> {
    pub(crate) source: &'a dyn Store,
    pub(crate) permits: &'a LayerSemaphore,
    pub(crate) unpack: UnpackLimits,
    pub(crate) progress: &'a dyn Progress,
}

/// A layer, and the permits that its work needs.
#[derive(Clone, Copy)]
pub(crate) struct WeightedLayer<'a> {
    pub(crate) layer: &'a Descriptor,
    pub(crate) weight: u32,
}

/// The end of a layer's thread.
enum Worked<T> {
    Done(T),
    Failed(StageError),
}

/// The thread's failure.
enum StageError {
    /// The store failed while the layer was pulled.
    Pull(RegistryError),
    /// The layer's bytes, or the encoder.
    Layer(LayerError),
}

impl LayerPipeline<'_> {
    /// Pulls a layer, converts it and pushes the result. A layer that doesn't unpack to `expected` isn't stored: the
    /// returned layer has its own `diff_id`.
    pub(crate) async fn convert(
        &self,
        target: &dyn Store,
        converter: &Arc<dyn LayerConverter>,
        weighted: WeightedLayer<'_>,
        expected: &Digest,
    ) -> Result<ConvertedLayer, BlobError> {
        let layer = weighted.layer;
        let (to_target, from_worker) = mpsc::channel(CHANNEL_CHUNKS);
        let converter = Arc::clone(converter);
        let convert = move |source: &mut dyn BufRead, limits| {
            let mut writer = HashingWriter::new(to_target);
            Ok((converter.convert(source, &mut writer, limits)?, writer))
        };
        // Runs once the source's bytes are verified: the last chunk of other bytes is never sent.
        let finish = |(converted, writer): (Converted, HashingWriter)| {
            let Converted { diff_id, rewritten } = converted;
            let written = if rewritten {
                Some(writer.finish().map_err(|source| LayerError::Write { source })?)
            } else {
                None
            };
            Ok(ConvertedLayer { diff_id, written })
        };
        // The thread's failure waits for the push: if the target hangs up, the thread only sees a closed
        // channel, and the push has the cause.
        let (worked, pushed) =
            tokio::try_join!(self.run(weighted, convert, finish), push(target, from_worker))?;
        match (worked, pushed) {
            (Worked::Done(ConvertedLayer { diff_id, written: Some(written) }), pushed)
                if diff_id == *expected =>
            {
                match pushed {
                    Pushed::Sent(upload) => upload.commit(&written.digest).await,
                    Pushed::Buffered(content) => target.put_blob(&written.digest, content).await,
                    Pushed::Nothing => return Err(interrupted(layer)),
                }
                .map_err(BlobError::transfer)?;
                Ok(ConvertedLayer { diff_id, written: Some(written) })
            }
            (worked, pushed) => {
                if let Pushed::Sent(upload) = pushed {
                    upload.abort().await;
                }
                match worked {
                    Worked::Done(ConvertedLayer { diff_id, .. }) => {
                        Ok(ConvertedLayer { diff_id, written: None })
                    }
                    Worked::Failed(error) => Err(error.into_blob_error(|source| layer_error(layer, source))),
                }
            }
        }
    }

    /// Pulls a layer and lets `read` have it, on a thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        weighted: WeightedLayer<'_>,
        read: impl FnOnce(&mut dyn BufRead, LayerLimits) -> Result<T, LayerError> + Send + 'static,
    ) -> Result<T, BlobError> {
        match self.run(weighted, read, Ok).await? {
            Worked::Done(value) => Ok(value),
            Worked::Failed(error) => Err(error.into_blob_error(|source| {
                let digest = weighted.layer.digest().clone();
                Error::Blob { digest, source }
            })),
        }
    }

    /// Pulls a layer through `work` on a thread, compares the pulled bytes with the descriptor, and runs
    /// `finish`. An error ends the attempt at once; the thread's own failure is a [`Worked::Failed`].
    async fn run<W, T: Send + 'static>(
        &self,
        WeightedLayer { layer, weight }: WeightedLayer<'_>,
        work: impl FnOnce(&mut dyn BufRead, LayerLimits) -> Result<W, LayerError> + Send + 'static,
        finish: impl FnOnce(W) -> Result<T, LayerError> + Send + 'static,
    ) -> Result<Worked<T>, BlobError> {
        let (to_worker, from_source) = mpsc::channel(CHANNEL_CHUNKS);
        let permit = self.permits.acquire_before_download(layer.size(), weight).await;
        let limits = LayerLimits {
            compressed_size: layer.size(),
            max_uncompressed: self.unpack.limit_for(layer.size()),
        };
        let thread = async {
            let permit = match permit {
                Some(permit) => permit,
                None => self.permits.acquire(weight).await,
            };
            self.progress.started(layer.digest(), layer.size());
            let expected = layer.clone();
            let thread = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let reader = HashingReader::new(from_source, expected.size());
                let worked = checked(reader, &expected, |reader| work(reader, limits));
                match worked.and_then(|worked| finish(worked).map_err(StageError::Layer)) {
                    Ok(value) => Worked::Done(value),
                    Err(error) => Worked::Failed(error),
                }
            });
            thread.await.map_err(|_| interrupted(layer))
        };
        let (worked, ()) = tokio::try_join!(thread, self.pull(layer, to_worker))?;
        Ok(worked)
    }

    /// Pulls the layer into the channel. A thread that needs no more bytes has closed the channel.
    async fn pull(
        &self,
        layer: &Descriptor,
        to_worker: mpsc::Sender<Result<Bytes, RegistryError>>,
    ) -> Result<(), BlobError> {
        let mut content = self.source.blob(layer.digest()).await.map_err(BlobError::Open)?;
        loop {
            match content.try_next().await {
                Ok(None) => return Ok(()),
                Ok(Some(chunk)) => {
                    self.progress.advanced(layer.digest(), chunk.len() as u64);
                    if to_worker.send(Ok(chunk)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    // The thread reports it, or a better cause, e.g. that the digest is wrong.
                    let _ = to_worker.send(Err(error)).await;
                    return Ok(());
                }
            }
        }
    }
}

impl StageError {
    fn into_blob_error(self, of_layer: impl FnOnce(LayerError) -> Error) -> BlobError {
        match self {
            Self::Pull(error) => BlobError::transfer(error),
            Self::Layer(error) => BlobError::Transfer(of_layer(error)),
        }
    }
}

/// The converter's bytes on their way to the target.
enum Pushed {
    /// The converter wrote none.
    Nothing,
    /// All of them, to be sent when their digest is known.
    Buffered(Bytes),
    /// The target has them and waits for their digest.
    Sent(Box<dyn BlobUpload>),
}

/// Sends the converter's bytes. The upload starts with the first ones: a layer that stays as it is costs the
/// target no request.
async fn push(target: &dyn Store, mut from_worker: mpsc::Receiver<Bytes>) -> Result<Pushed, BlobError> {
    let Some(first) = from_worker.recv().await else { return Ok(Pushed::Nothing) };
    let content = match buffer_small(stream_of(first, from_worker)).await {
        Content::Buffered(content) => return Ok(Pushed::Buffered(content)),
        Content::Stream(content) => content,
    };
    let mut upload = target.start_upload().await.map_err(BlobError::Open)?;
    upload.send(content).await.map_err(BlobError::transfer)?;
    Ok(Pushed::Sent(upload))
}

/// Runs `work` and compares the bytes that it read with the descriptor.
fn checked<T>(
    mut reader: HashingReader,
    layer: &Descriptor,
    work: impl FnOnce(&mut HashingReader) -> Result<T, LayerError>,
) -> Result<T, StageError> {
    let error = match work(&mut reader) {
        Ok(value) => return require_content(reader, layer).map(|()| value),
        Err(error) => error,
    };
    if let Some(failure) = reader.take_failure() {
        return Err(StageError::Pull(failure));
    }
    if error.is_content_error() {
        // Damaged bytes may not be the layer's bytes at all, which is the better message.
        require_content(reader, layer)?;
    }
    Err(StageError::Layer(error))
}

/// Compares all of the pulled bytes with the descriptor's digest and size.
fn require_content(reader: HashingReader, layer: &Descriptor) -> Result<(), StageError> {
    let BlobInfo { digest: found, size: found_size } = reader.finish().map_err(StageError::Pull)?;
    if &found == layer.digest() && found_size == layer.size() {
        return Ok(());
    }
    Err(StageError::Layer(LayerError::Digest { found, found_size, expected_size: layer.size() }))
}

fn layer_error(layer: &Descriptor, source: LayerError) -> Error {
    Error::Layer { digest: layer.digest().clone(), source }
}

fn interrupted(layer: &Descriptor) -> BlobError {
    BlobError::Transfer(Error::Interrupted { digest: layer.digest().clone() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::num::NonZero;
    use std::sync::Mutex;
    use std::sync::mpsc;

    use futures::{FutureExt as _, stream};
    use zstart_oci::media_type;
    use zstart_registry::LayoutFolder;

    use super::*;
    use crate::progress::Silent;

    /// A converter that reports its start and then blocks until it is released.
    struct BlockedConverter {
        started: mpsc::Sender<()>,
        release: Mutex<mpsc::Receiver<()>>,
    }

    impl LayerConverter for BlockedConverter {
        fn settings(&self) -> String {
            String::new()
        }

        fn convert(
            &self,
            _: &mut dyn BufRead,
            _: &mut (dyn Write + Send),
            _: LayerLimits,
        ) -> Result<Converted, LayerError> {
            self.started.send(()).unwrap();
            self.release.lock().unwrap().recv().unwrap();
            Ok(Converted { diff_id: Digest::sha256_of(b""), rewritten: false })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn abandoned_layer_keeps_its_permit_until_its_thread_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = LayoutFolder::new(folder.path());
        let digest = Digest::sha256_of(b"content");
        let mut upload = store.start_upload().await.unwrap();
        upload.send(Box::pin(stream::iter([Ok("content".into())]))).await.unwrap();
        upload.commit(&digest).await.unwrap();
        let layer = Descriptor::new(media_type::OCI_TAR_GZIP, digest, 7).unwrap();

        let ((started, has_started), (release, released)) = (mpsc::channel(), mpsc::channel());
        let blocked: Arc<dyn LayerConverter> =
            Arc::new(BlockedConverter { started, release: Mutex::new(released) });
        let permits = LayerSemaphore::new(NonZero::<usize>::MIN);
        {
            let unpack = UnpackLimits::default();
            let pipeline = LayerPipeline { source: &store, permits: &permits, unpack, progress: &Silent };
            let weighted = WeightedLayer { layer: &layer, weight: 1 };
            let expected = Digest::sha256_of(b"");
            let attempt = pipeline.convert(&store, &blocked, weighted, &expected).boxed();
            let has_started = tokio::task::spawn_blocking(move || has_started.recv());
            tokio::select! {
                _ = attempt => panic!("the attempt ended while its converter was blocked"),
                started = has_started => started.unwrap().unwrap(),
            }
        }
        assert!(permits.acquire(1).now_or_never().is_none());
        release.send(()).unwrap();
        permits.acquire(1).await;
    }
}
