//! Rounds the quotas of one picture to whole people: systematic sampling.
//!
//! The quotas are laid end to end in a seeded order, and a comb whose teeth are one person apart is laid over them at a
//! seeded start; a value gets the teeth that fall on it. So each count is its quota rounded down or up, the counts add
//! up to the people, and over seeds the mean of a count is its quota exactly (Madow 1949; for the rounding of tables
//! Cox 1987).

use troupe_core::seed::Stream;

/// Rounds quotas, in units of which `grid` make one person and which add up to whole people.
pub(crate) fn round(quota: &[u64], grid: u64, stream: &mut Stream) -> Vec<u32> {
    let mut order: Vec<usize> = (0..quota.len()).collect();
    stream.shuffle(&mut order);
    let start = u128::from(stream.below(grid));
    let mut counts = vec![0; quota.len()];
    let mut end = start;
    for value in order {
        let teeth_before = end.checked_div(u128::from(grid)).unwrap_or(0);
        end += u128::from(quota[value]);
        let teeth_after = end.checked_div(u128::from(grid)).unwrap_or(0);
        counts[value] = u32::try_from(teeth_after - teeth_before).unwrap_or(u32::MAX);
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use troupe_core::seed::Seed;

    use super::*;
    use crate::quota::Shares;

    proptest! {
        #[test]
        fn counts_are_quotas_rounded(
            shares in prop::collection::vec(0..=40_u64, 2..=10), people in 1..=12_u32, seed: u64,
        ) {
            prop_assume!(shares.iter().any(|&it| 0 < it));
            let list = Shares::new(&shares).unwrap();
            let quota = list.quotas(people, &vec![0; shares.len()], false).quota;
            let counts = round(&quota, list.grid, &mut Seed(seed).stream("t"));
            prop_assert_eq!(counts.iter().sum::<u32>(), people);
            for (&count, &due) in counts.iter().zip(&quota) {
                let error = (u64::from(count) * list.grid).abs_diff(due);
                prop_assert!(error < list.grid, "{count} for {due}");
            }
        }
    }

    /// Over 2,000 seeds the mean of each count is its quota, within 4 standard errors.
    #[track_caller]
    fn check_unbiased(shares: &[u64], people: u32) -> Vec<u32> {
        const SEEDS: u32 = 2000;
        let list = Shares::new(shares).unwrap();
        let quota = list.quotas(people, &vec![0; shares.len()], false).quota;
        let mut sums = vec![0; shares.len()];
        for seed in 0..SEEDS {
            let counts = round(&quota, list.grid, &mut Seed(u64::from(seed)).stream("t"));
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        for (value, &sum) in sums.iter().enumerate() {
            let due = f64::from(people) * list.share(value);
            let fraction = due.fract();
            let error = 4.0 * (f64::from(SEEDS) * fraction * (1.0 - fraction)).sqrt();
            let expected = f64::from(SEEDS) * due;
            assert!(
                (f64::from(sum) - expected).abs() <= error + 1e-6,
                "{value}: {sum}, {expected}"
            );
        }
        sums
    }

    #[test]
    fn rounding_is_unbiased_over_seeds() {
        for people in 1..=12 {
            check_unbiased(&[25, 25, 25, 25], people);
            check_unbiased(&[1, 1, 1], people);
            check_unbiased(&[70, 17, 8, 5], people);
            check_unbiased(&[33_333_333, 66_666_667, 0], people);
        }
    }

    #[test]
    fn five_percent_turn_up_in_groups_of_five_one_time_in_four() {
        let sums = check_unbiased(&[5, 95], 5);
        assert!((420..580).contains(&sums[0]), "{sums:?}");
    }

    #[test]
    fn any_two_values_can_share_a_picture() {
        // Four values of half a person each: in a fixed order only the first and third would meet, or the others.
        let list = Shares::new(&[1; 4]).unwrap();
        let quota = list.quotas(2, &[0; 4], false).quota;
        let mut pairs: Vec<Vec<u32>> =
            (0..200).map(|seed| round(&quota, list.grid, &mut Seed(seed).stream("t"))).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), 6, "{pairs:?}");
    }
}
