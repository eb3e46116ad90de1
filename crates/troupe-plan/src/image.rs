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
