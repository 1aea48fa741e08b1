//! Which pieces of an image are measured: all where they fit, else as many as fit, evenly spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use zstart_codec::JOB_BYTES;

/// How long a piece is. A multiple of zstd's blocks of 128 KiB, and of the jobs of large layers, so that a
/// flush behind it changes nothing.
pub(super) const PIECE: usize = 4 << 20;
const _: () = assert!(PIECE.is_multiple_of(JOB_BYTES as usize));
/// How many pieces in front of it are kept with it, so that an encoder can see them first: 8 MiB, the
/// largest window that is written. Pieces encoded without came out 1.7 % (level 3) to 7 % (level 19)
/// too large on a real image, and with as much as the level's window less than 0.1 %.
pub(super) const LEAD: usize = 2;
/// Multiples of this, modulo 2^64, fill the range evenly however many they are: 2^64 by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What names a piece. In the order of these, any number of them from the first on is spread evenly.
pub(super) type Key = u64;

/// A piece, and what comes before it in its layer.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) layer: usize,
    /// Its place among all pieces of the image.
    number: u64,
    lead: Vec<Arc<Vec<u8>>>,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// The pieces that are kept while an image goes by.
#[derive(Debug)]
pub(super) struct Sample {
    /// How many bytes may be kept.
    budget: u64,
    pieces: BTreeMap<Key, Piece>,
    count: u64,
    /// Whether pieces were let go.
    thinned: bool,
    /// The last ones of the layer.
    before: Vec<Arc<Vec<u8>>>,
}

/// What an encoder is given at once.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// To be encoded first, and not counted.
    pub(super) lead: Vec<&'a [u8]>,
    pub(super) parts: Vec<(Key, &'a [u8])>,
}

/// What a level is measured on.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) runs: Vec<Run<'a>>,
    /// Every byte of every layer, each layer in one run.
    pub(super) whole: bool,
}

impl Sample {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, pieces: BTreeMap::new(), count: 0, thinned: false, before: Vec::new() }
    }

    /// A layer begins, or begins again.
    pub(super) fn begin_layer(&mut self, layer: usize) {
        self.pieces.retain(|_, piece| piece.layer != layer);
        self.before.clear();
    }

    /// The next piece of a layer.
    pub(super) fn add(&mut self, layer: usize, bytes: Vec<u8>) -> Key {
        self.count += 1;
        let (key, bytes) = (self.count.wrapping_mul(STEP), Arc::new(bytes));
        let lead = self.before.clone();
        if self.before.len() == LEAD {
            self.before.remove(0);
        }
        self.before.push(Arc::clone(&bytes));
        self.pieces.insert(key, Piece { layer, number: self.count, lead, bytes });
        while self.cost() > self.budget && self.pieces.len() > 1 {
            self.pieces.pop_last();
            self.thinned = true;
        }
        key
    }

    /// What all of this takes.
    fn cost(&self) -> u64 {
        let cost = if self.thinned { Piece::cost } else { Piece::size };
        self.pieces.values().map(cost).sum()
    }

    /// As much as `budget` allows, but no less than two pieces where there are two.
    pub(super) fn select(&self, budget: u64) -> Selection<'_> {
        if !self.thinned && self.cost() <= budget {
            return Selection { runs: self.layers(), whole: true };
        }
        let mut runs = Vec::new();
        let mut left = budget;
        for (key, piece) in &self.pieces {
            let after = left.checked_sub(piece.cost());
            if after.is_none() && runs.len() >= 2 {
                break;
            }
            left = after.unwrap_or(0);
            let lead = piece.lead.iter().map(|bytes| &bytes[..]).collect();
            runs.push(Run { lead, parts: vec![(*key, &piece.bytes[..])] });
        }
        Selection { runs, whole: false }
    }

    /// Every piece, layer by layer.
    fn layers(&self) -> Vec<Run<'_>> {
        let mut pieces: Vec<(&Key, &Piece)> = self.pieces.iter().collect();
        pieces.sort_by_key(|(_, piece)| piece.number);
        let layers = pieces.chunk_by(|(_, one), (_, other)| one.layer == other.layer);
        layers
            .map(|pieces| Run {
                lead: Vec::new(),
                parts: pieces.iter().map(|(key, piece)| (**key, &piece.bytes[..])).collect(),
            })
            .collect()
    }
}

impl Piece {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn cost(&self) -> u64 {
        self.size() + self.lead.iter().map(|bytes| bytes.len() as u64).sum::<u64>()
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
    fn what_fits_is_taken_whole_layer_by_layer() {
        let sample = sample(200, &[3, 1, 16]);
        let selection = sample.select(200);
        assert!(selection.whole);
        let lengths: Vec<usize> = selection.runs.iter().map(|run| run.parts.len()).collect();
        assert_eq!(lengths, [3, 1, 16]);
        for run in &selection.runs {
            assert!(run.lead.is_empty());
            assert!(run.parts.windows(2).all(|parts| parts[0].1[0] + 1 == parts[1].1[0]), "in order");
        }
        assert!(!sample.select(199).whole);
    }

    #[test]
    fn what_does_not_fit_is_thinned_evenly_and_each_piece_has_what_lies_before_it() {
        let sample = sample(600, &[200, 200, 200]);
        let selection = sample.select(600);
        assert!(!selection.whole);
        assert!(selection.runs.len() >= 20, "{}", selection.runs.len());
        let mut numbers: Vec<u64> = sample.pieces.values().map(|piece| piece.number).collect();
        numbers.sort_unstable();
        let gaps = numbers.windows(2).map(|pair| pair[1] - pair[0]);
        // Multiples of the golden ratio leave gaps of three lengths at most, none of them much longer
        // than even ones would be.
        assert!(gaps.max().unwrap() <= 3 * 600 / numbers.len() as u64, "{numbers:?}");
        for run in selection.runs {
            let [(_, part)] = run.parts[..] else { panic!("one piece a run") };
            let expected: Vec<u8> = (part[0].saturating_sub(2)..part[0]).collect();
            assert_eq!(run.lead.iter().map(|bytes| bytes[0]).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_smaller_selection_is_part_of_a_larger_one_and_has_two_pieces_at_least() {
        let sample = sample(600, &[200, 200]);
        let keys =
            |budget| -> Vec<Key> { sample.select(budget).runs.iter().map(|run| run.parts[0].0).collect() };
        assert!(keys(600).starts_with(&keys(150)));
        assert_eq!(keys(1).len(), 2);
    }

    #[test]
    fn a_layer_that_begins_again_leaves_nothing_of_its_first_beginning() {
        let mut sample = sample(1000, &[3, 2]);
        sample.begin_layer(1);
        sample.add(1, vec![7]);
        let selection = sample.select(1000);
        assert_eq!(selection.runs.iter().map(|run| run.parts.len()).collect::<Vec<_>>(), [3, 1]);
    }
}
