//! Jackknife: the confidence interval of an estimate from a sample. The jackknife leaves out one piece at a
//! time and measures how much the estimate changes.

/// Half the width of the 95 % confidence interval. `without` has the estimates that leave out one piece each;
/// `pieces` is the number of pieces behind the estimate. `None` for fewer than two pieces.
pub(super) fn jackknife_margin(
    estimate: f64,
    without: impl IntoIterator<Item = Option<f64>>,
    pieces: usize,
) -> Option<f64> {
    let mut sum = 0.0;
    for other in without {
        sum += (other? - estimate).powi(2);
    }
    Some(sum.sqrt() * quantile(pieces.checked_sub(1)?)?)
}

/// Student's t at 97.5 %, by the expansion in `1/freedom` (Abramowitz and Stegun, 26.7.5).
fn quantile(freedom: usize) -> Option<f64> {
    const COEFFICIENTS: [f64; 5] = [1.960, 2.372, 2.823, 2.556, 1.587];
    let freedom = match freedom {
        0 => return None,
        freedom => 1.0 / f64::from(u32::try_from(freedom).unwrap_or(u32::MAX)),
    };
    Some(COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * freedom + coefficient))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_published_tables() {
        assert_eq!(quantile(0), None);
        for (freedom, expected) in [(2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)] {
            let found = quantile(freedom).unwrap();
            assert!((found / expected - 1.0).abs() < 0.01, "{freedom}: {found}");
        }
    }

    #[test]
    fn margin_of_a_mean_follows_its_standard_error() {
        let values: [f64; 5] = [3.0, 5.0, 4.0, 8.0, 5.0];
        let sum: f64 = values.iter().sum();
        let without = values.iter().map(|left_out| Some((sum - left_out) / 4.0));
        // The variance of the five values is 3.5, and that of their mean 3.5 / 5. The jackknife here has no
        // correction for the small sample, which makes the mean's variance 5 / 4 times as large.
        let expected = (3.5_f64 / 4.0).sqrt() * 2.776;
        let found = jackknife_margin(sum / 5.0, without, 5).unwrap();
        assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
    }

    #[test]
    fn single_piece_has_no_margin() {
        assert_eq!(jackknife_margin(1.0, [None], 1), None);
        assert_eq!(jackknife_margin(1.0, [Some(1.0)], 1), None);
    }
}
