//! Progress on stderr: bars on a terminal, lines in other output, nothing with `--json`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use zstart_convert::progress::{LayerResult, Silent};
use zstart_convert::{Level, Progress};
use zstart_core::sync::lock;
use zstart_core::{Digest, units};

use crate::output::OutputFormat;

/// Returns the progress reporter for an output format and this terminal.
pub(crate) fn reporter(format: OutputFormat) -> Box<dyn Progress> {
    if format == OutputFormat::Json {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(ProgressBars { screen: MultiProgress::new(), layers: Mutex::default() })
    } else {
        Box::new(ProgressLines { layers: Mutex::default() })
    }
}

/// Progress bars, one for each layer.
struct ProgressBars {
    screen: MultiProgress,
    layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl ProgressBars {
    fn with(&self, layer: &Digest, action: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = lock(&self.layers).get(layer) {
            action(bar);
        }
    }
}

impl Progress for ProgressBars {
    fn started(&self, layer: &Digest, size: u64) {
        if lock(&self.layers).contains_key(layer) {
            // The layer is retried, and its bar says so.
            return;
        }
        let bar = self.screen.add(ProgressBar::new(size));
        let style =
            "{prefix} {bar:30} {binary_bytes:>10} of {binary_total_bytes}  {binary_bytes_per_sec}  {msg}";
        // An invalid template only changes the bar's appearance.
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(layer.short().to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        lock(&self.layers).insert(layer.clone(), bar);
    }

    fn advanced(&self, layer: &Digest, bytes: u64) {
        self.with(layer, |bar| bar.inc(bytes));
    }

    fn finished(&self, layer: &Digest, result: LayerResult) {
        self.with(layer, |bar| match result {
            LayerResult::Converted { bytes } => bar.finish_with_message(format!("→ {}", units::size(bytes))),
            LayerResult::Reused { bytes } => {
                bar.finish_with_message(format!("→ {}, reused", units::size(bytes)));
            }
            LayerResult::Kept => bar.finish_with_message("already zstd"),
            LayerResult::Read => bar.finish(),
            LayerResult::Retrying => {
                bar.set_position(0);
                bar.set_message("transfer failed, retrying");
            }
        });
    }

    fn measuring(&self, level: Level) {
        // A closed terminal needs no progress.
        let _ = self.screen.println(measuring(level));
    }
}

/// Progress lines, one for each finished layer.
struct ProgressLines {
    layers: Mutex<HashMap<Digest, (u64, Instant)>>,
}

impl Progress for ProgressLines {
    fn started(&self, layer: &Digest, size: u64) {
        let started = (size, Instant::now());
        lock(&self.layers).insert(layer.clone(), started);
    }

    fn advanced(&self, _: &Digest, _: u64) {}

    #[expect(clippy::print_stderr, reason = "progress of a command line")]
    fn finished(&self, layer: &Digest, result: LayerResult) {
        let layers = lock(&self.layers);
        let Some((size, started)) = layers.get(layer) else { return };
        let (size, took) = (units::size(*size), units::duration(started.elapsed()));
        match result {
            LayerResult::Converted { bytes } => {
                eprintln!("layer {}: {size} → {} in {took}", layer.short(), units::size(bytes));
            }
            LayerResult::Reused { bytes } => {
                eprintln!("layer {}: {size} → {}, reused", layer.short(), units::size(bytes));
            }
            LayerResult::Kept => eprintln!("layer {}: {size}, already zstd", layer.short()),
            LayerResult::Read => eprintln!("layer {}: {size} read in {took}", layer.short()),
            LayerResult::Retrying => {
                eprintln!("layer {}: transfer failed after {took}, retrying", layer.short());
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "progress of a command line")]
    fn measuring(&self, level: Level) {
        eprintln!("{}", measuring(level));
    }
}

fn measuring(level: Level) -> String {
    format!("measuring zstd level {}", level.get())
}
