//! How far a conversion has come: bars on a terminal, lines elsewhere, nothing with `--json`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use zstart_convert::progress::{LayerResult, Silent};
use zstart_convert::{Level, Progress};
use zstart_core::{Digest, units};

/// The watcher for this terminal, or for none.
pub(crate) fn reporter(json: bool) -> Box<dyn Progress> {
    if json {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(ProgressBars { screen: MultiProgress::new(), layers: Mutex::default() })
    } else {
        Box::new(ProgressLines { layers: Mutex::default() })
    }
}

/// One bar a layer.
struct ProgressBars {
    screen: MultiProgress,
    layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl ProgressBars {
    fn with(&self, layer: &Digest, action: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.layers.lock().unwrap_or_else(PoisonError::into_inner).get(layer) {
            action(bar);
        }
    }
}

impl Progress for ProgressBars {
    fn started(&self, layer: &Digest, size: u64) {
        if self.layers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(layer) {
            // It begins again, and its bar says so.
            return;
        }
        let bar = self.screen.add(ProgressBar::new(size));
        let style =
            "{prefix} {bar:30} {binary_bytes:>10} of {binary_total_bytes}  {binary_bytes_per_sec}  {msg}";
        // A template that can't be read would only cost the looks.
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(layer.short().to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.clone(), bar);
    }

    fn advanced(&self, layer: &Digest, bytes: u64) {
        self.with(layer, |bar| bar.inc(bytes));
    }

    fn finished(&self, layer: &Digest, result: LayerResult) {
        self.with(layer, |bar| match result {
            LayerResult::Converted { bytes } => bar.finish_with_message(format!("→ {}", units::size(bytes))),
            LayerResult::Reused { bytes } => {
                bar.finish_with_message(format!("→ {}, made before", units::size(bytes)));
            }
            LayerResult::Kept => bar.finish_with_message("zstd already"),
            LayerResult::Read => bar.finish(),
            LayerResult::Retrying => {
                bar.set_position(0);
                bar.set_message("broke off, starting again");
            }
        });
    }

    fn measuring(&self, level: Level) {
        // A screen that is gone shows nothing.
        let _ = self.screen.println(measuring(level));
    }
}

/// One line a layer, when it ends.
struct ProgressLines {
    layers: Mutex<HashMap<Digest, (u64, Instant)>>,
}

impl Progress for ProgressLines {
    fn started(&self, layer: &Digest, size: u64) {
        let started = (size, Instant::now());
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.clone(), started);
    }

    fn advanced(&self, _: &Digest, _: u64) {}

    #[expect(clippy::print_stderr, reason = "progress of a command line")]
    fn finished(&self, layer: &Digest, result: LayerResult) {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((size, started)) = layers.get(layer) else { return };
        let (size, took) = (units::size(*size), units::duration(started.elapsed()));
        match result {
            LayerResult::Converted { bytes } => {
                eprintln!("layer {}: {size} → {} in {took}", layer.short(), units::size(bytes));
            }
            LayerResult::Reused { bytes } => {
                eprintln!("layer {}: {size} → {}, made before", layer.short(), units::size(bytes));
            }
            LayerResult::Kept => eprintln!("layer {}: {size}, zstd already", layer.short()),
            LayerResult::Read => eprintln!("layer {}: {size} read in {took}", layer.short()),
            LayerResult::Retrying => {
                eprintln!("layer {}: broke off after {took}, starting again", layer.short());
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "progress of a command line")]
    fn measuring(&self, level: Level) {
        eprintln!("{}", measuring(level));
    }
}

fn measuring(level: Level) -> String {
    format!("measuring level {}", level.get())
}
