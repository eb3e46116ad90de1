//! What each value is due, in whole numbers.
//!
//! A quota is a whole number of units, of which a list of shares has `grid` to a person. The grid is the total of the
//! shares times a power of two. Without a surplus a quota is `people · share / total`, which lies on the grid exactly.
//! With a surplus its denominator is some other number, and it is rounded to the grid: a person has at least 2⁵⁹ units
//! then, the sum stays exact, and quotas that are whole numbers of people stay so.

/// The shares of one list of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Invariant: without a common divisor, not all zero, each at most 10¹².
    numerators: Vec<u64>,
    /// Their sum.
    total: u64,
    /// Units that make one person: at least 2⁵⁹ and less than 2⁶⁰, so that 12 people fit 64 bits.
    pub(crate) grid: u64,
}

/// What the values of one list are due in one picture, in units of the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// `share · people`.
    pub(crate) target: Vec<u64>,
    /// Those stated, and the part of the free seats.
    pub(crate) quota: Vec<u64>,
    /// Whether variety was asked for and can't be had.
    pub(crate) monotone: bool,
}

impl Shares {
    /// Shares in millionths; `None` if all are zero.
    pub(crate) fn new(millionths: &[u64]) -> Option<Self> {
        let divisor = millionths.iter().fold(0, |a, &b| greatest_common_divisor(a, b));
        if divisor == 0 {
            return None;
        }
        let numerators: Vec<u64> =
            millionths.iter().map(|share| share.checked_div(divisor)).collect::<Option<_>>()?;
        let total: u64 = numerators.iter().sum();
        // At most 64 · 10¹² < 2⁴⁶, so the shift is not negative.
        let grid = total << total.leading_zeros().saturating_sub(4);
        Some(Self { numerators, total, grid })
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.numerators.len()
    }

    /// The share of a value in the whole, in `[0, 1]`.
    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    pub(crate) fn share(&self, value: usize) -> f64 {
        self.numerators[value] as f64 / self.total as f64
    }

    /// Divides `people` seats, of which `stated` are taken already: at most `people` in all.
    ///
    /// `mixed` asks for at least two values.
    pub(crate) fn quotas(&self, people: u32, stated: &[u32], mixed: bool) -> Quotas {
        let unit = self.grid.checked_div(self.total).unwrap_or(1);
        let seats = |count: u32| u64::from(count) * self.grid;
        let target: Vec<u64> =
            self.numerators.iter().map(|share| u64::from(people) * share * unit).collect();
        let lack: Vec<u64> =
            target.iter().zip(stated).map(|(&due, &has)| due.saturating_sub(seats(has))).collect();
        let free = seats(people - stated.iter().sum::<u32>());
        let mut quota: Vec<u64> =
            divide(free, &lack).iter().zip(stated).map(|(due, &has)| due + seats(has)).collect();

        let mut monotone = false;
        if mixed && 2 <= people {
            let most = seats(people - 1);
            if let Some(value) = (0..quota.len()).find(|&value| most < quota[value]) {
                let freed = quota[value] - most;
                let others = |weights: &[u64]| -> Vec<u64> {
                    let but_this =
                        |(at, &weight): (usize, &u64)| if at == value { 0 } else { weight };
                    weights.iter().enumerate().map(but_this).collect()
                };
                // The others by what they lack; where stated people have filled that, by their shares.
                let weights = [others(&lack), others(&self.numerators)];
                let weights = weights.iter().find(|them| them.iter().any(|&it| 0 < it));
                match weights {
                    Some(weights) if seats(stated[value]) <= most => {
                        quota[value] = most;
                        for (due, more) in quota.iter_mut().zip(divide(freed, weights)) {
                            *due += more;
                        }
                    }
                    Some(_) | None => monotone = true,
                }
            }
        }
        Quotas { target, quota, monotone }
    }
}

/// Divides an amount in proportion to the weights, to whole units; the parts add up to the amount.
///
/// A part that is a whole number stays so. The units that remain go to the largest remainders; a unit is less than
/// 2⁻⁵⁹ of a person, so which value gets it matters to nobody.
fn divide(amount: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let product = |weight: u64| u128::from(amount) * u128::from(weight);
    let whole = |weight: u64| product(weight).checked_div(total).unwrap_or(0);
    let mut parts: Vec<u64> =
        weights.iter().map(|&weight| u64::try_from(whole(weight)).unwrap_or(amount)).collect();
    let rest = amount - parts.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&at| std::cmp::Reverse(product(weights[at]) % total));
    for (at, _) in by_remainder.into_iter().zip(0..rest) {
        parts[at] += 1;
    }
    parts
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quotas as people; the shares are plain numbers.
    #[track_caller]
    fn check<const N: usize>(
        shares: [u64; N],
        people: u32,
        stated: [u32; N],
        mixed: bool,
        expected: [f64; N],
    ) {
        let shares = Shares::new(&shares).unwrap();
        let quotas = shares.quotas(people, &stated, mixed);
        let found =
            quotas.quota.iter().map(|&it| crate::proof::people(u128::from(it), shares.grid));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn quotas_are_targets_where_nothing_is_stated() {
        check([1, 1, 2], 5, [0, 0, 0], false, [1.25, 1.25, 2.5]);
        check([0, 1], 3, [0, 0], false, [0.0, 3.0]);
    }

    #[test]
    fn stated_people_fill_their_own_target_first() {
        check([1, 1], 5, [2, 0], false, [2.5, 2.5]);
    }

    #[test]
    fn a_surplus_leaves_the_rest_by_what_they_lack() {
        check([1, 1, 2], 4, [3, 0, 0], false, [3.0, 0.333_333, 0.666_667]);
        check([1, 1, 2], 4, [3, 1, 0], false, [3.0, 1.0, 0.0]);
        check([1, 0], 3, [0, 2], false, [1.0, 2.0]);
    }

    #[test]
    fn variety_caps_a_quota_one_below_the_people() {
        check([9, 1], 4, [0, 0], true, [3.0, 1.0]);
        check([9, 1], 1, [0, 0], true, [0.9, 0.1]);
        check([98, 1, 1], 2, [0, 0, 0], true, [1.0, 0.5, 0.5]);
        let impossible = Shares::new(&[1, 1]).unwrap().quotas(3, &[3, 0], true);
        assert!(impossible.monotone);
        assert!(Shares::new(&[1, 0]).unwrap().quotas(3, &[0, 0], true).monotone);
    }

    #[test]
    fn zeros_divide_nothing() {
        assert_eq!(Shares::new(&[0, 0]), None);
        assert_eq!(Shares::new(&[]), None);
    }

    proptest! {
        #[test]
        fn quotas_add_up_and_hold_what_is_stated(
            shares in prop::collection::vec(prop_oneof![Just(0), 1..=3_u64, 0..=1_000_000_000_000_u64], 2..=64),
            people in 1..=12_u32, taken in prop::collection::vec(0..64_usize, 0..=12), mixed: bool,
        ) {
            prop_assume!(shares.iter().any(|&it| 0 < it));
            let mut stated = vec![0; shares.len()];
            for &value in taken.iter().take(people as usize) {
                stated[value % shares.len()] += 1;
            }
            let list = Shares::new(&shares).unwrap();
            let quotas = list.quotas(people, &stated, mixed);
            prop_assert!((1 << 59..1 << 60).contains(&list.grid));
            prop_assert_eq!(quotas.quota.iter().sum::<u64>(), u64::from(people) * list.grid);
            prop_assert_eq!(quotas.target.iter().sum::<u64>(), u64::from(people) * list.grid);
            for value in 0..shares.len() {
                prop_assert!(u64::from(stated[value]) * list.grid <= quotas.quota[value]);
                prop_assert!(0 < shares[value] || quotas.quota[value] == u64::from(stated[value]) * list.grid);
                if mixed && 2 <= people && !quotas.monotone {
                    prop_assert!(quotas.quota[value] <= u64::from(people - 1) * list.grid);
                }
            }
            // Nothing stated: the quota is the target, on the grid without a remainder.
            if stated.iter().all(|&it| it == 0) && !mixed {
                prop_assert_eq!(quotas.quota, quotas.target);
            }
        }
    }
}
