//! Benchmark of one level on a selection of pieces: encoded size, encoding time and decoding time.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::node::Node;
use super::sample::{PieceKey, Run, Selection};
use super::stopwatch::Stopwatch;
use zstart_codec::compression::Compression;
use zstart_codec::{LayerError, Level, ZstdConverter, zstd_frames};
use zstart_core::sync::lock;

/// Lowest number of decoding passes. It is odd, and the median counts.
const MIN_PASSES: usize = 3;
/// Shortest measured time. Shorter measurements are repeated, up to [`MAX_PASSES`] times, because the clock
/// and the first touch of memory would be a good part of them.
const MIN_MEASURED_TIME: Duration = Duration::from_millis(30);
/// Highest number of passes; odd.
const MAX_PASSES: usize = 25;

/// Measurement of one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceMeasurement {
    /// Uncompressed size, in bytes.
    pub(super) uncompressed_size: f64,
    /// Encoded size, in bytes.
    pub(super) size: f64,
    /// Seconds to encode.
    pub(super) encode: f64,
    /// Seconds in which the node decodes.
    pub(super) decode: f64,
}

/// An encoded run.
struct Encoded {
    frame: Vec<u8>,
    /// Size and encoding time of each part.
    parts: Vec<(u64, Duration)>,
}

/// Measures a level. Encoding uses all cores, like a conversion. Decoding uses one thread; the node's factor makes it
/// the node's time.
pub(super) fn benchmark_level(
    node: Node,
    level: Level,
    selection: &Selection<'_>,
) -> Result<BTreeMap<PieceKey, PieceMeasurement>, LayerError> {
    let mut passes = vec![encode_all(level, &selection.runs)?];
    let took = |pass: &[Encoded]| -> Duration {
        pass.iter().flat_map(|run| &run.parts).map(|(_, took)| *took).sum()
    };
    while passes.len() < MAX_PASSES
        && passes.iter().map(|pass| took(pass)).sum::<Duration>() < MIN_MEASURED_TIME
    {
        passes.push(encode_all(level, &selection.runs)?);
    }
    let decoded = decode_all(selection, &passes[0])?;

    let mut measurements = BTreeMap::new();
    let mut decoded = decoded.into_iter();
    for (index, run) in selection.runs.iter().enumerate() {
        for (part, (key, bytes)) in run.parts.iter().enumerate() {
            let encode = median(passes.iter().map(|pass| pass[index].parts[part].1).collect());
            let Some(decode) = decoded.next() else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a piece has 4 MiB")]
            let (uncompressed_size, size) = (bytes.len() as f64, passes[0][index].parts[part].0 as f64);
            let (encode, decode) =
                (encode.as_secs_f64(), node.decode_time(Compression::Zstd, decode).as_secs_f64());
            measurements.insert(*key, PieceMeasurement { uncompressed_size, size, encode, decode });
        }
    }
    Ok(measurements)
}

/// Encodes all runs, on all cores.
fn encode_all(level: Level, runs: &[Run<'_>]) -> Result<Vec<Encoded>, LayerError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(runs.len());
    let todo = Mutex::new(runs.iter().enumerate());
    let next = || lock(&todo).next();
    let work = || -> io::Result<Vec<(usize, Encoded)>> {
        std::iter::from_fn(next).map(|(index, run)| Ok((index, encode(level, run)?))).collect()
    };
    let mut encoded = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(runs.len());
        for thread in threads {
            let died = |_| io::Error::other("an encoder thread panicked");
            all.extend(thread.join().map_err(died)??);
        }
        Ok(all)
    })
    .map_err(|source| LayerError::Write { source })?;
    encoded.sort_by_key(|(index, _)| *index);
    Ok(encoded.into_iter().map(|(_, encoded)| encoded).collect())
}

fn encode(level: Level, run: &Run<'_>) -> io::Result<Encoded> {
    // The encoder of small layers: the watch doesn't see the time of a large layer's extra threads.
    let mut encoder = ZstdConverter::new(level).encoder(0, Vec::new())?;
    for warmup in &run.warmup {
        encoder.write_all(warmup)?;
    }
    if !run.warmup.is_empty() {
        encoder.flush()?;
    }
    let mut before = encoder.get_ref().len();
    let mut parts = Vec::with_capacity(run.parts.len());
    let watch = Stopwatch::started();
    let (last, front) = run.parts.split_last().map_or((None, &[][..]), |(last, front)| (Some(last), front));
    for (_, part) in front {
        encoder.write_all(part)?;
        encoder.flush()?;
        let after = encoder.get_ref().len();
        parts.push(((after - before) as u64, watch.lap()));
        before = after;
    }
    if let Some((_, part)) = last {
        encoder.write_all(part)?;
    }
    let frame = encoder.finish()?;
    parts.push(((frame.len() - before) as u64, watch.lap()));
    Ok(Encoded { frame, parts })
}

/// Decoding time of each part, in order.
fn decode_all(selection: &Selection<'_>, encoded: &[Encoded]) -> Result<Vec<Duration>, LayerError> {
    let frames: Vec<u8> = encoded.iter().flat_map(|run| run.frame.iter().copied()).collect();
    let mut passes = vec![decode(&selection.runs, &frames)?];
    let took = |passes: &[Vec<Duration>]| passes.iter().flatten().sum::<Duration>();
    while passes.len() < MIN_PASSES || (passes.len() < MAX_PASSES && took(&passes) < MIN_MEASURED_TIME) {
        passes.push(decode(&selection.runs, &frames)?);
    }
    let parts = 0..passes[0].len();
    Ok(parts.map(|part| median(passes.iter().map(|pass| pass[part]).collect())).collect())
}

/// Decodes all frames in sequence, like those of one layer, and times the parts.
fn decode(runs: &[Run<'_>], mut frames: &[u8]) -> Result<Vec<Duration>, LayerError> {
    // End of each section, whether it is a part or warm-up, and its time.
    let mut end = 0;
    let mut sections = Vec::new();
    for run in runs {
        let warmups = run.warmup.iter().map(|warmup| (warmup.len(), false));
        for (length, is_part) in warmups.chain(run.parts.iter().map(|(_, part)| (part.len(), true))) {
            end += length;
            sections.push((end, is_part, Duration::ZERO));
        }
    }
    let (mut section, mut position) = (0, 0);
    let watch = Stopwatch::started();
    zstd_frames::decode(&mut frames, |bytes| {
        while section + 1 < sections.len() && position >= sections[section].0 {
            section += 1;
        }
        position += bytes.len();
        if let Some((_, _, took)) = sections.get_mut(section) {
            *took += watch.lap();
        }
        Ok(())
    })?;
    Ok(sections.into_iter().filter(|(_, is_part, _)| *is_part).map(|(_, _, took)| took).collect())
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
