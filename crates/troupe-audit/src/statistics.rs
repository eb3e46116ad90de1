//! How far what was found is from the shares that were wanted.
//!
//! Each takes pairs of a share, which add up to one, and a count; it is `None` where nothing was counted or wanted.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Half of the sum of all differences between the counts' shares and those wanted, 0 to 1.
pub(crate) fn total_variation(cells: &[(f64, u64)]) -> Option<f64> {
    let all = total(cells)?;
    Some(cells.iter().map(|&(share, count)| (real(count) / all - share).abs()).sum::<f64>() / 2.0)
}

/// Kullback's and Leibler's divergence of the counts' shares from those wanted, in nats. `None` also where
/// something was found of which nothing was wanted: then it is infinite.
pub(crate) fn kullback_leibler(cells: &[(f64, u64)]) -> Option<f64> {
    let all = total(cells)?;
    let mut sum = 0.0;
    for &(share, count) in cells.iter().filter(|(_, count)| 0 < *count) {
        let found = real(count) / all;
        sum += found * (found / share).ln();
    }
    sum.is_finite().then_some(sum.max(0.0))
}

/// How probable counts at least as far from the shares would be if each person were drawn by them on their own: Pearson's
/// χ² test. Quotas are nearer than dice, so that a plan's own counts have values near 1. `None` also of fewer than two shares.
pub(crate) fn chi_squared(cells: &[(f64, u64)]) -> Option<f64> {
    let all = total(cells)?;
    if cells.iter().any(|&(share, count)| share <= 0.0 && 0 < count) {
        return Some(0.0);
    }
    let wanted = || cells.iter().filter(|(share, _)| 0.0 < *share);
    let freedom = u64::try_from(wanted().count()).ok()?.checked_sub(1)?;
    let distance = |&(share, count): &(f64, u64)| {
        let expected = share * all;
        (real(count) - expected).powi(2) / expected
    };
    let statistic = wanted().map(distance).sum();
    ChiSquared::new(real(freedom)).ok().map(|it| it.sf(statistic))
}

fn total(cells: &[(f64, u64)]) -> Option<f64> {
    if !cells.iter().any(|(share, _)| 0.0 < *share) {
        return None;
    }
    let all: u64 = cells.iter().map(|(_, count)| count).sum();
    (0 < all).then(|| real(all))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of people are far below 2^52")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: Option<f64>, wanted: f64) {
        let found = found.unwrap();
        assert!((found - wanted).abs() < 1e-6, "{found}, and {wanted} was wanted");
    }

    // By hand, and by scipy 1.17: `entropy([.5, .3, .2], [.4, .4, .2])`, `chisquare([50, 30, 20], [40, 40, 20]).pvalue`.
    #[test]
    fn distances_are_those_of_the_books() {
        let cells = [(0.4, 50), (0.4, 30), (0.2, 20)];
        near(total_variation(&cells), 0.1);
        near(kullback_leibler(&cells), 0.025_267_154_0);
        near(chi_squared(&cells), 0.082_084_998_6);
        let same = [(0.5, 7), (0.5, 7)];
        near(total_variation(&same), 0.0);
        near(kullback_leibler(&same), 0.0);
        near(chi_squared(&same), 1.0);
    }

    #[test]
    fn what_nobody_wanted_is_infinitely_far() {
        let cells = [(1.0, 9), (0.0, 1)];
        near(total_variation(&cells), 0.1);
        assert_eq!(kullback_leibler(&cells), None);
        assert_eq!(chi_squared(&cells), Some(0.0));
        assert_eq!(chi_squared(&[(1.0, 9)]), None);
        for measure in [total_variation, kullback_leibler, chi_squared] {
            assert_eq!(measure(&[(0.5, 0), (0.5, 0)]), None);
            assert_eq!(measure(&[(0.0, 3), (0.0, 0)]), None);
        }
    }
}
