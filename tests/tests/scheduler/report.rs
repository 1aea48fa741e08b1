//! Table of the decisions: rewritten images, images that could have been, and the reasons.

use std::collections::BTreeMap;
use std::fmt;

use crate::judge::{Effect, Verdict};

/// Counts of one reason.
#[derive(Default)]
struct Row {
    images: usize,
    bound: usize,
    landed_well: usize,
    could_be_rewritten: usize,
}

/// Counts by reason.
#[derive(Default)]
pub(crate) struct Report {
    rows: BTreeMap<String, Row>,
    pub(crate) rewritten: usize,
    pub(crate) violations: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, verdict: Verdict) {
        let Verdict { reason, is_rewritten, bound, could_be_rewritten, violations } = verdict;
        let row = self.rows.entry(reason).or_default();
        row.images += 1;
        row.bound += usize::from(bound.is_some());
        row.landed_well += usize::from(bound == Some(Effect::StartsZstd));
        row.could_be_rewritten += usize::from(could_be_rewritten);
        self.rewritten += usize::from(is_rewritten);
        self.violations.extend(violations);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.rows.values().map(|row| row.images).sum();
        let could: usize = self.rows.values().map(|row| row.could_be_rewritten).sum();
        writeln!(
            formatter,
            "{} of {total} images were rewritten, of {could} that every possible node could start as zstd or \
             unchanged",
            self.rewritten
        )?;
        writeln!(
            formatter,
            "{:<20} {:>7} {:>7} {:>22} {:>22}",
            "reason", "images", "bound", "landed on a zstd node", "every node is suitable"
        )?;
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.images));
        for (reason, Row { images, bound, landed_well, could_be_rewritten }) in rows {
            writeln!(
                formatter,
                "{reason:<20} {images:>7} {bound:>7} {landed_well:>22} {could_be_rewritten:>22}"
            )?;
        }
        Ok(())
    }
}
