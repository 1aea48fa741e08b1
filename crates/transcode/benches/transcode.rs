//! Compares the transcoder with decoding and encoding at level 3: CPU time and size, both with the SHA-256 of the
//! uncompressed and of the compressed bytes. Two threads are compared by elapsed time, too.
//!
//! The input is made from folders of the machine by `tar` and `gzip -6`. `cargo bench -p zstart-transcode --
//! FILE...` measures gzip files instead. Rounds of both methods alternate, and the fastest one counts.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};
use zstart_transcode::{Settings, Sink, Verify, transcode, transcode_in_two_threads};

/// Rounds per method.
const ROUNDS: usize = 5;
/// Size of reads in bytes, as the converter's.
const BUFFER_BYTES: usize = 128 << 10;
/// Uncompressed bytes that are taken of a folder.
const MAX_INPUT_BYTES: u64 = 200 << 20;
/// Folders of the machine, with a name each.
const FOLDERS: [(&str, &str); 3] =
    [("programs", "/usr/bin"), ("python", "/usr/lib/python3"), ("texts", "/usr/share")];

/// A method, with its name.
type Method<'a> = (&'static str, &'a dyn Fn(&[u8]) -> io::Result<Round>);

/// Result of one round.
#[derive(Clone, Copy)]
struct Round {
    /// CPU time of all threads in seconds.
    seconds: f64,
    /// Elapsed time in seconds.
    elapsed: f64,
    plain_bytes: u64,
    frame_bytes: u64,
}

fn main() -> io::Result<()> {
    let arguments: Vec<OsString> =
        std::env::args_os().skip(1).filter(|argument| argument != "--bench").collect();
    let inputs = if arguments.is_empty() {
        FOLDERS.map(|(name, folder)| make_input(name, folder)).into_iter().collect::<io::Result<_>>()?
    } else {
        arguments.into_iter().map(PathBuf::from).collect::<Vec<_>>()
    };
    println!(
        "{:18} {:>7} {:>8}  {:8} {:>6} {:>6} {:>5} {:>7} {:>8}",
        "input", "MB", "gzip MB", "method", "CPU s", "wall s", "MB/s", "MB", "of gzip"
    );
    for path in inputs {
        compare(&path)?;
    }
    Ok(())
}

/// A gzip file of a folder.
fn make_input(name: &str, folder: &str) -> io::Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.tar.gz"));
    if path.exists() {
        return Ok(path);
    }
    let mut tar = Command::new("tar")
        .args(["--create", "--ignore-failed-read", "--sort=name", "--directory", folder, "."])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let partial = path.with_extension("partial");
    let mut gzip = Command::new("gzip")
        .args(["-6", "-n"])
        .stdin(Stdio::piped())
        .stdout(File::create(&partial)?)
        .spawn()?;
    if let (Some(source), Some(mut target)) = (tar.stdout.take(), gzip.stdin.take()) {
        io::copy(&mut source.take(MAX_INPUT_BYTES), &mut target)?;
    }
    tar.wait()?;
    gzip.wait()?;
    fs::rename(partial, &path)?;
    Ok(path)
}

/// Measures all methods for a gzip file, and prints a line each.
fn compare(path: &Path) -> io::Result<()> {
    let gzip = fs::read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let methods: [Method<'_>; 5] = [
        ("level 3", &encode),
        ("sampled", &|gzip| run_transcoder(gzip, Verify::default())),
        ("full", &|gzip| run_transcoder(gzip, Verify::Full)),
        ("off", &|gzip| run_transcoder(gzip, Verify::Off)),
        ("threads", &run_two_threads),
    ];
    let mut best: [Option<Round>; 5] = [None; 5];
    for _ in 0..ROUNDS {
        for (best, (_, method)) in best.iter_mut().zip(&methods) {
            let round = method(&gzip)?;
            *best = Some(best.map_or(round, |best| Round {
                seconds: best.seconds.min(round.seconds),
                elapsed: best.elapsed.min(round.elapsed),
                ..round
            }));
        }
    }
    let level_3 = best[0];
    for (round, (method, _)) in best.into_iter().zip(&methods) {
        let (Some(round), Some(level_3)) = (round, level_3) else { continue };
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{name:18} {:7.1} {:8.1}  {method:8} {:6.3} {:6.3} {:5.0} {:7.2} {:8.4}; CPU {:.3}, wall {:.3}, size {:.4} of level 3's",
            megabytes(round.plain_bytes),
            megabytes(gzip.len() as u64),
            round.seconds,
            round.elapsed,
            megabytes(round.plain_bytes) / round.seconds,
            megabytes(round.frame_bytes),
            round.frame_bytes as f64 / gzip.len() as f64,
            round.seconds / level_3.seconds,
            round.elapsed / level_3.elapsed,
            round.frame_bytes as f64 / level_3.frame_bytes as f64,
        );
    }
    Ok(())
}

/// Start of a round.
struct Start(f64, Instant);

impl Start {
    fn new() -> Self {
        Self(cpu_seconds(), Instant::now())
    }

    fn round(&self, plain_bytes: u64, frame_bytes: u64) -> Round {
        let (seconds, elapsed) = (cpu_seconds() - self.0, self.1.elapsed().as_secs_f64());
        Round { seconds, elapsed, plain_bytes, frame_bytes }
    }
}

/// CPU time of the process in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// A hash of all bytes, and their number.
#[derive(Default)]
struct HashWriter {
    hash: Sha256,
    count: u64,
}

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct HashSink {
    plain: HashWriter,
    frame: HashWriter,
}

impl Sink for HashSink {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.plain.write_all(bytes)
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.write_all(bytes)
    }
}

fn encode(gzip: &[u8]) -> io::Result<Round> {
    let start = Start::new();
    let mut encoder = zstd::Encoder::new(HashWriter::default(), 3)?;
    encoder.window_log(23)?;
    encoder.include_checksum(true)?;
    let mut plain = HashWriter::default();
    let mut decoder = MultiGzDecoder::new(gzip);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = decoder.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        plain.write_all(&buffer[..count])?;
        encoder.write_all(&buffer[..count])?;
    }
    let frame = encoder.finish()?;
    std::hint::black_box((plain.hash.finalize(), frame.hash.finalize()));
    Ok(start.round(plain.count, frame.count))
}

fn run_transcoder(gzip: &[u8], verify: Verify) -> io::Result<Round> {
    let start = Start::new();
    let mut sink = HashSink::default();
    let settings = Settings { verify, ..Settings::default() };
    let mut source = io::BufReader::with_capacity(BUFFER_BYTES, gzip);
    transcode(&mut source, settings, &mut sink).map_err(io::Error::other)?;
    std::hint::black_box((sink.plain.hash.finalize(), sink.frame.hash.finalize()));
    Ok(start.round(sink.plain.count, sink.frame.count))
}

fn run_two_threads(gzip: &[u8]) -> io::Result<Round> {
    let start = Start::new();
    let (mut plain, mut frame) = (HashWriter::default(), HashWriter::default());
    let mut source = io::BufReader::with_capacity(BUFFER_BYTES, gzip);
    transcode_in_two_threads(
        &mut source,
        Settings::default(),
        &mut |bytes| plain.write_all(bytes),
        &mut |bytes| frame.write_all(bytes),
    )
    .map_err(io::Error::other)?;
    std::hint::black_box((plain.hash.finalize(), frame.hash.finalize()));
    Ok(start.round(plain.count, frame.count))
}
