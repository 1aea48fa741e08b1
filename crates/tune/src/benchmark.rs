//! One level on a selection of pieces: how large they become, and what encoding and decoding takes.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::sample::{PieceKey, Run, Selection};
use super::stopwatch::Stopwatch;
use zstart_codec::Level;
use zstart_codec::ZstdConverter;
use zstart_codec::{LayerError, zstd_frames};

/// How often everything is decoded at least: of an odd number of times, the one in the middle counts.
const MIN_PASSES: usize = 3;
/// What takes less is done again, up to [`MAX_PASSES`] times: the clock and the first touch of memory
/// would be a good part of it.
const MIN_MEASURED_TIME: Duration = Duration::from_millis(30);
/// As above; odd.
const MAX_PASSES: usize = 25;

/// What a piece came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceMeasurement {
    /// Its bytes.
    pub(super) plain: f64,
    /// The same encoded.
    pub(super) size: f64,
    /// Seconds to encode it.
    pub(super) encode: f64,
    /// Seconds to decode it again.
    pub(super) decode: f64,
}

/// A run, encoded.
struct Encoded {
    frame: Vec<u8>,
    /// Size and time of each of its parts.
    parts: Vec<(u64, Duration)>,
}

/// Measures a level. Encoding keeps all cores busy, as a conversion does; decoding is done by one
/// thread alone, as container runtimes do it.
pub(super) fn benchmark_level(
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

    let mut facts = BTreeMap::new();
    let mut decoded = decoded.into_iter();
    for (index, run) in selection.runs.iter().enumerate() {
        for (part, (key, plain)) in run.parts.iter().enumerate() {
            let encode = median(passes.iter().map(|pass| pass[index].parts[part].1).collect());
            let Some(decode) = decoded.next() else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a piece has 4 MiB")]
            let (plain, size) = (plain.len() as f64, passes[0][index].parts[part].0 as f64);
            let (encode, decode) = (encode.as_secs_f64(), decode.as_secs_f64());
            facts.insert(*key, PieceMeasurement { plain, size, encode, decode });
        }
    }
    Ok(facts)
}

/// Encodes every run, on all cores.
fn encode_all(level: Level, runs: &[Run<'_>]) -> Result<Vec<Encoded>, LayerError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(runs.len());
    let todo = Mutex::new(runs.iter().enumerate());
    let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> io::Result<Vec<(usize, Encoded)>> {
        std::iter::from_fn(next).map(|(index, run)| Ok((index, encode(level, run)?))).collect()
    };
    let mut encoded = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(runs.len());
        for thread in threads {
            let died = |_| io::Error::other("an encoder's thread died");
            all.extend(thread.join().map_err(died)??);
        }
        Ok(all)
    })
    .map_err(|source| LayerError::Write { source })?;
    encoded.sort_by_key(|(index, _)| *index);
    Ok(encoded.into_iter().map(|(_, encoded)| encoded).collect())
}

fn encode(level: Level, run: &Run<'_>) -> io::Result<Encoded> {
    // As small layers are: what other threads take isn't timed.
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

/// What decoding each part takes, in order.
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

/// Decodes all frames one after another, as one layer's, and times the parts.
fn decode(runs: &[Run<'_>], mut frames: &[u8]) -> Result<Vec<Duration>, LayerError> {
    // Up to which byte each section goes, and whether it is a part, or only warmups to one.
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
