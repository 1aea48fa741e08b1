//! Sample of an image: all pieces if they fit into the budget, otherwise an evenly spread part of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use zstart_codec::JOB_BYTES;

/// Size of a piece. It is a multiple of zstd's blocks of 128 KiB and of the jobs of large layers, and
/// therefore a flush after a piece doesn't change the encoded bytes.
pub(super) const PIECE_BYTES: usize = 4 << 20;
const _: () = assert!(PIECE_BYTES.is_multiple_of(JOB_BYTES as usize));
/// Number of preceding pieces that are kept with a piece, to warm up the encoder: 8 MiB, the largest window
/// that zstart writes. Without warm-up, pieces of a real image were 1.7 % (level 3) to 7 % (level 19) too
/// large; with as much as the level's window, less than 0.1 %.
pub(super) const WARMUP_PIECES: usize = 2;
/// 2^64 divided by the golden ratio. Any number of its multiples, modulo 2^64, fills the range evenly.
const GOLDEN_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Key of a piece. Any number of pieces with the lowest keys is spread evenly over the image.
pub(super) type PieceKey = u64;

/// A piece, with the pieces before it in its layer.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) layer: usize,
    /// Number of the piece among all pieces of the image, in order.
    number: u64,
    warmup: Vec<Arc<Vec<u8>>>,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// Pieces that are kept while the image is read.
#[derive(Debug)]
pub(super) struct Sample {
    /// Limit of the kept bytes.
    budget: u64,
    pieces: BTreeMap<PieceKey, Piece>,
    count: u64,
    /// Whether pieces were dropped to stay within the budget.
    thinned: bool,
    /// The layer's last pieces: warm-up of the next one.
    preceding: Vec<Arc<Vec<u8>>>,
}

/// Input of one encoder.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// Bytes that are encoded first and aren't measured.
    pub(super) warmup: Vec<&'a [u8]>,
    pub(super) parts: Vec<(PieceKey, &'a [u8])>,
}

/// Pieces that a level is measured on.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) runs: Vec<Run<'a>>,
    /// Whether the runs are all layers, each layer in one run.
    pub(super) whole: bool,
}

impl Sample {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, pieces: BTreeMap::new(), count: 0, thinned: false, preceding: Vec::new() }
    }

    /// Starts a layer, or starts it again.
    pub(super) fn begin_layer(&mut self, layer: usize) {
        self.pieces.retain(|_, piece| piece.layer != layer);
        self.preceding.clear();
    }

    /// Adds the next piece of a layer.
    pub(super) fn add(&mut self, layer: usize, bytes: Vec<u8>) -> PieceKey {
        self.count += 1;
        let (key, bytes) = (self.count.wrapping_mul(GOLDEN_STEP), Arc::new(bytes));
        let warmup = self.preceding.clone();
        if self.preceding.len() == WARMUP_PIECES {
            self.preceding.remove(0);
        }
        self.preceding.push(Arc::clone(&bytes));
        self.pieces.insert(key, Piece { layer, number: self.count, warmup, bytes });
        while self.memory() > self.budget && self.pieces.len() > 1 {
            self.pieces.pop_last();
            self.thinned = true;
        }
        key
    }

    /// Memory of all pieces, in bytes. Until pieces are dropped, every warm-up piece is also a piece of the
    /// sample.
    fn memory(&self) -> u64 {
        let cost = if self.thinned { Piece::memory } else { Piece::size };
        self.pieces.values().map(cost).sum()
    }

    /// Selects as many pieces as `budget` allows, and at least two if the sample has two.
    pub(super) fn select(&self, budget: u64) -> Selection<'_> {
        if !self.thinned && self.memory() <= budget {
            return Selection { runs: self.layer_runs(), whole: true };
        }
        let mut runs = Vec::new();
        let mut left = budget;
        for (key, piece) in &self.pieces {
            let after = left.checked_sub(piece.memory());
            if after.is_none() && runs.len() >= 2 {
                break;
            }
            left = after.unwrap_or(0);
            let warmup = piece.warmup.iter().map(|bytes| &bytes[..]).collect();
            runs.push(Run { warmup, parts: vec![(*key, &piece.bytes[..])] });
        }
        Selection { runs, whole: false }
    }

    /// One run for each layer.
    fn layer_runs(&self) -> Vec<Run<'_>> {
        let mut pieces: Vec<(&PieceKey, &Piece)> = self.pieces.iter().collect();
        pieces.sort_by_key(|(_, piece)| piece.number);
        let layers = pieces.chunk_by(|(_, one), (_, other)| one.layer == other.layer);
        layers
            .map(|pieces| Run {
                warmup: Vec::new(),
                parts: pieces.iter().map(|(key, piece)| (**key, &piece.bytes[..])).collect(),
            })
            .collect()
    }
}

impl Piece {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn memory(&self) -> u64 {
        self.size() + self.warmup.iter().map(|bytes| bytes.len() as u64).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(budget: u64, layers: &[usize]) -> Sample {
        let mut sample = Sample::new(budget);
        for (layer, pieces) in layers.iter().enumerate() {
            sample.begin_layer(layer);
            for piece in 0..*pieces {
                sample.add(layer, vec![u8::try_from(piece % 251).unwrap(); 10]);
            }
        }
        sample
    }

    #[test]
    fn image_within_the_budget_is_selected_whole() {
        let sample = sample(200, &[3, 1, 16]);
        let selection = sample.select(200);
        assert!(selection.whole);
        let lengths: Vec<usize> = selection.runs.iter().map(|run| run.parts.len()).collect();
        assert_eq!(lengths, [3, 1, 16]);
        for run in &selection.runs {
            assert!(run.warmup.is_empty());
            assert!(run.parts.windows(2).all(|parts| parts[0].1[0] + 1 == parts[1].1[0]), "in order");
        }
        assert!(!sample.select(199).whole);
    }

    #[test]
    fn larger_image_is_thinned_evenly_with_warmup_pieces() {
        let sample = sample(600, &[200, 200, 200]);
        let selection = sample.select(600);
        assert!(!selection.whole);
        assert!(selection.runs.len() >= 20, "{}", selection.runs.len());
        let mut numbers: Vec<u64> = sample.pieces.values().map(|piece| piece.number).collect();
        numbers.sort_unstable();
        let gaps = numbers.windows(2).map(|pair| pair[1] - pair[0]);
        // Multiples of the golden ratio leave gaps of at most three lengths. None is much longer than an even
        // gap.
        assert!(gaps.max().unwrap() <= 3 * 600 / numbers.len() as u64, "{numbers:?}");
        for run in selection.runs {
            let [(_, part)] = run.parts[..] else { panic!("a run has one piece") };
            let expected: Vec<u8> = (part[0].saturating_sub(2)..part[0]).collect();
            assert_eq!(run.warmup.iter().map(|bytes| bytes[0]).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn smaller_selection_is_a_prefix_of_at_least_two_pieces() {
        let sample = sample(600, &[200, 200]);
        let keys = |budget| -> Vec<PieceKey> {
            sample.select(budget).runs.iter().map(|run| run.parts[0].0).collect()
        };
        assert!(keys(600).starts_with(&keys(150)));
        assert_eq!(keys(1).len(), 2);
    }

    #[test]
    fn restarted_layer_drops_its_earlier_pieces() {
        let mut sample = sample(1000, &[3, 2]);
        sample.begin_layer(1);
        sample.add(1, vec![7]);
        let selection = sample.select(1000);
        assert_eq!(selection.runs.iter().map(|run| run.parts.len()).collect::<Vec<_>>(), [3, 1]);
    }
}
