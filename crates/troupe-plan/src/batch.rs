//! Rounds the quotas of a whole batch to whole people, so that every running total is rounded too.
//!
//! Pictures and values with their running totals are a network: a picture's people flow along its *entries*, one for
//! each value, into that value's *chain*, whose arc after picture j carries the sum of the entries up to j. Quotas are a
//! flow on it whose nodes all balance to whole numbers. Arcs that carry a fraction then never end in a node: each node
//! has none of them or at least two, so a walk along such arcs closes a cycle. Around it the flow can go up by `up`
//! until an arc is whole, or down by `down`; it goes up with probability `down / (up + down)`, else down. Every arc's
//! mean stays what it was, no arc leaves the two whole numbers about its quota, and each cycle makes at least one arc
//! whole (dependent rounding: Gandhi, Khuller, Parthasarathy and Srinivasan 2006; Cox 1987 for tables). What remains are
//! entries and running totals that all are their quotas rounded down or up, and unbiased.
//!
//! Only fractions are kept. An entry that has become whole is taken out of its chain, since the arcs before and after it
//! have the same fraction then and move as one. Walks go to earlier pictures first, so cycles stay short, and the work
//! grows with the number of entries.

use std::ops::Range;

use troupe_core::seed::Stream;

/// No entry.
const NONE: usize = usize::MAX;

/// Rounds the quotas of pictures (outer) and values (inner), in units of which `grid` make one person; those of a picture
/// add up to whole people.
pub(crate) fn round<Q: AsRef<[u64]>>(
    quotas: &[Q],
    grid: u64,
    stream: &mut Stream,
) -> Vec<Vec<u32>> {
    let values = quotas.first().map_or(0, |quota| quota.as_ref().len());
    // Which arcs a walk tries first must not follow the order of declaration.
    let mut order: Vec<usize> = (0..values).collect();
    stream.shuffle(&mut order);
    let mut network = Network::new(quotas, grid, &order);
    network.solve(stream);
    network.counts(quotas, &order)
}

/// The arcs that carry a fraction.
struct Network {
    grid: u64,
    entries: Vec<Entry>,
    /// The entries of each picture.
    pictures: Vec<Range<usize>>,
    /// The last entry in each value's chain, or [`NONE`].
    last: Vec<usize>,
}

/// What one picture owes to one value beyond whole people, and the arc of the chain that follows.
struct Entry {
    picture: usize,
    value: usize,
    /// Between 0 and the grid; one of them once it is whole.
    fraction: u64,
    /// The fraction of the value's running total after this entry; whole likewise.
    chain: u64,
    /// The neighbours in the value's chain, or [`NONE`].
    before: usize,
    after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Picture(usize),
    /// Where this entry joins the chain of its value.
    Join(usize),
    /// Where all chains end.
    Sink,
}

/// An arc of a walk, and whether it is walked in the direction of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    arc: Arc,
    along: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arc {
    /// From the picture to the join.
    Entry(usize),
    /// From the join of this entry to the next one's, or to the sink.
    Chain(usize),
}

impl Network {
    fn new<Q: AsRef<[u64]>>(quotas: &[Q], grid: u64, order: &[usize]) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut last = vec![NONE; order.len()];
        let mut running = vec![0_u64; order.len()];
        let mut pictures = Vec::with_capacity(quotas.len());
        for (picture, quota) in quotas.iter().enumerate() {
            let first = entries.len();
            for &value in order {
                let fraction = quota.as_ref()[value] % grid;
                if fraction == 0 {
                    continue;
                }
                running[value] = (running[value] + fraction) % grid;
                let (before, this) = (last[value], entries.len());
                if let Some(before) = entries.get_mut(before) {
                    before.after = this;
                }
                last[value] = this;
                entries.push(Entry {
                    picture,
                    value,
                    fraction,
                    chain: running[value],
                    before,
                    after: NONE,
                });
            }
            pictures.push(first..entries.len());
        }
        Self { grid, entries, pictures, last }
    }

    fn counts<Q: AsRef<[u64]>>(&self, quotas: &[Q], order: &[usize]) -> Vec<Vec<u32>> {
        let whole = |units: u64| {
            u32::try_from(units.checked_div(self.grid).unwrap_or(0)).unwrap_or(u32::MAX)
        };
        let mut counts: Vec<Vec<u32>> = quotas
            .iter()
            .map(|quota| quota.as_ref().iter().copied().map(whole).collect())
            .collect();
        debug_assert!(order.len() == self.last.len(), "one chain a value");
        for entry in &self.entries {
            counts[entry.picture][entry.value] += whole(entry.fraction);
        }
        counts
    }

    /// Walks from each picture, the first one first, until nothing in it carries a fraction.
    fn solve(&mut self, stream: &mut Stream) {
        let mut visits = Visits::new(self.pictures.len(), self.entries.len());
        for picture in 0..self.pictures.len() {
            let start = Node::Picture(picture);
            let mut path: Vec<(Node, Step)> = Vec::new();
            let mut here = start;
            while let Some(step) = self.leave(here, path.last().map(|&(_, step)| step.arc)) {
                visits.set(here, path.len());
                path.push((here, step));
                here = self.end(step);
                let Some(closed) = visits.get(here) else { continue };
                let cycle: Vec<Step> = path[closed..].iter().map(|&(_, step)| step).collect();
                for (node, _) in path.drain(closed..) {
                    visits.clear(node);
                }
                self.push(&cycle, stream);
                // A join whose entry became whole is gone; go back to the node before it.
                if let Node::Join(entry) = here
                    && self.whole(self.entries[entry].fraction)
                    && let Some((node, _)) = path.pop()
                {
                    visits.clear(node);
                    here = node;
                }
            }
            for (node, _) in path.drain(..) {
                visits.clear(node);
            }
        }
    }

    fn whole(&self, fraction: u64) -> bool {
        fraction == 0 || fraction == self.grid
    }

    /// An arc with a fraction by which to leave a node, other than the one by which it was entered.
    fn leave(&self, node: Node, entered: Option<Arc>) -> Option<Step> {
        let usable = |step: &Step| {
            Some(step.arc) != entered
                && match step.arc {
                    Arc::Entry(entry) => !self.whole(self.entries[entry].fraction),
                    Arc::Chain(entry) => {
                        self.entries.get(entry).is_some_and(|it| !self.whole(it.chain))
                    }
                }
        };
        match node {
            Node::Picture(picture) => self.pictures[picture]
                .clone()
                .map(|entry| Step { arc: Arc::Entry(entry), along: true })
                .find(usable),
            Node::Join(entry) => [
                Step { arc: Arc::Chain(self.entries[entry].before), along: false },
                Step { arc: Arc::Entry(entry), along: false },
                Step { arc: Arc::Chain(entry), along: true },
            ]
            .into_iter()
            .find(usable),
            Node::Sink => self
                .last
                .iter()
                .map(|&entry| Step { arc: Arc::Chain(entry), along: false })
                .find(usable),
        }
    }

    /// Where a step ends.
    fn end(&self, step: Step) -> Node {
        match (step.arc, step.along) {
            (Arc::Entry(entry), true) | (Arc::Chain(entry), false) => Node::Join(entry),
            (Arc::Entry(entry), false) => Node::Picture(self.entries[entry].picture),
            (Arc::Chain(entry), true) => match self.entries[entry].after {
                NONE => Node::Sink,
                after => Node::Join(after),
            },
        }
    }

    fn fraction(&mut self, arc: Arc) -> &mut u64 {
        match arc {
            Arc::Entry(entry) => &mut self.entries[entry].fraction,
            Arc::Chain(entry) => &mut self.entries[entry].chain,
        }
    }

    /// Sends flow around a cycle until an arc of it is whole, up or down.
    fn push(&mut self, cycle: &[Step], stream: &mut Stream) {
        let (mut up, mut down) = (self.grid, self.grid);
        for step in cycle {
            let fraction = *self.fraction(step.arc);
            let (more, less) = (self.grid - fraction, fraction);
            let (ahead, back) = if step.along { (more, less) } else { (less, more) };
            up = up.min(ahead);
            down = down.min(back);
        }
        let rises = stream.below(up + down) < down;
        let amount = if rises { up } else { down };
        for step in cycle {
            let fraction = self.fraction(step.arc);
            if step.along == rises {
                *fraction += amount;
            } else {
                *fraction -= amount;
            }
        }
        for step in cycle {
            if let Arc::Entry(entry) = step.arc
                && self.whole(self.entries[entry].fraction)
            {
                self.unlink(entry);
            }
        }
    }

    /// Takes a whole entry out of its chain; the arc before it goes on to the next join.
    fn unlink(&mut self, entry: usize) {
        let Entry { value, before, after, .. } = self.entries[entry];
        if let Some(before) = self.entries.get_mut(before) {
            before.after = after;
        }
        match self.entries.get_mut(after) {
            Some(after) => after.before = before,
            None => self.last[value] = before,
        }
    }
}

/// Where a walk has passed each node.
struct Visits {
    pictures: Vec<usize>,
    joins: Vec<usize>,
    sink: usize,
}

impl Visits {
    fn new(pictures: usize, joins: usize) -> Self {
        Self { pictures: vec![NONE; pictures], joins: vec![NONE; joins], sink: NONE }
    }

    fn at(&mut self, node: Node) -> &mut usize {
        match node {
            Node::Picture(picture) => &mut self.pictures[picture],
            Node::Join(entry) => &mut self.joins[entry],
            Node::Sink => &mut self.sink,
        }
    }

    fn set(&mut self, node: Node, position: usize) {
        *self.at(node) = position;
    }

    fn clear(&mut self, node: Node) {
        self.set(node, NONE);
    }

    fn get(&mut self, node: Node) -> Option<usize> {
        let position = *self.at(node);
        (position != NONE).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use troupe_core::seed::Seed;

    use super::*;
    use crate::quota::Shares;

    /// Each entry and each running total is its quota rounded down or up, and every picture has all its people.
    #[track_caller]
    fn check_bounds(quotas: &[Vec<u64>], grid: u64, counts: &[Vec<u32>]) {
        assert_eq!(quotas.len(), counts.len());
        let rounded = |count: u64, due: u128| {
            (u128::from(count) * u128::from(grid)).abs_diff(due) < u128::from(grid)
        };
        let values = quotas.first().map_or(0, Vec::len);
        let (mut due, mut dealt) = (vec![0_u128; values], vec![0_u64; values]);
        for (picture, (quota, count)) in quotas.iter().zip(counts).enumerate() {
            let people = quota.iter().map(|&it| u128::from(it)).sum::<u128>();
            assert_eq!(
                count.iter().map(|&it| u128::from(it)).sum::<u128>() * u128::from(grid),
                people
            );
            for value in 0..values {
                assert!(
                    rounded(u64::from(count[value]), u128::from(quota[value])),
                    "entry {picture}, {value}"
                );
                due[value] += u128::from(quota[value]);
                dealt[value] += u64::from(count[value]);
                assert!(rounded(dealt[value], due[value]), "total {picture}, {value}");
            }
        }
    }

    fn quotas(list: &Shares, sizes: &[u32], stated: &[(usize, u32)]) -> Vec<Vec<u64>> {
        let values = list.len();
        let of = |(at, &people): (usize, &u32)| {
            let mut fixed = vec![0; values];
            if let Some(&(value, count)) = stated.get(at) {
                fixed[value % values] = count.min(people);
            }
            list.quotas(people, &fixed, at % 3 == 0).quota
        };
        sizes.iter().enumerate().map(of).collect()
    }

    proptest! {
        #[test]
        fn entries_and_running_totals_are_quotas_rounded(
            shares in prop_oneof![
                (2..=10_usize).prop_map(|count| vec![1; count]),
                prop::collection::vec(0..=20_u64, 2..=10),
                prop::collection::vec(0..=1_000_000_000_u64, 2..=10),
            ],
            sizes in prop::collection::vec(1..=12_u32, 0..60),
            stated in prop::collection::vec((0..10_usize, 0..=12_u32), 0..30),
            seed: u64,
        ) {
            prop_assume!(shares.iter().any(|&it| 0 < it));
            let list = Shares::new(&shares).unwrap();
            let quotas = quotas(&list, &sizes, &stated);
            let counts = round(&quotas, list.grid, &mut Seed(seed).stream("t"));
            check_bounds(&quotas, list.grid, &counts);
        }
    }

    #[test]
    fn fifty_thousand_pictures_take_seconds() {
        let mut stream = Seed(11).stream("sizes");
        let sizes: Vec<u32> =
            (0..50_000).map(|_| u32::try_from(stream.below(12)).unwrap() + 1).collect();
        let stated: Vec<(usize, u32)> = (0..25_000)
            .map(|_| {
                (
                    usize::try_from(stream.below(10)).unwrap(),
                    u32::try_from(stream.below(4)).unwrap(),
                )
            })
            .collect();
        for shares in
            [vec![1; 10], vec![317, 291, 13, 97, 1, 55, 402, 8, 90, 5], vec![5, 95], vec![1, 1]]
        {
            let list = Shares::new(&shares).unwrap();
            let quotas = quotas(&list, &sizes, &stated);
            let begun = std::time::Instant::now();
            let counts = round(&quotas, list.grid, &mut Seed(3).stream("t"));
            let taken = begun.elapsed();
            check_bounds(&quotas, list.grid, &counts);
            assert!(taken.as_secs() < 5, "{} values: {taken:?}", shares.len());
        }
    }

    #[test]
    fn every_picture_is_unbiased_over_seeds() {
        const SEEDS: u32 = 4000;
        let list = Shares::new(&[50, 30, 15, 5]).unwrap();
        let sizes = [5, 3, 1, 7, 4, 5];
        let quotas = quotas(&list, &sizes, &[(0, 0), (3, 1), (0, 1)]);
        let mut sums = vec![vec![0_u32; 4]; sizes.len()];
        for seed in 0..SEEDS {
            let counts = round(&quotas, list.grid, &mut Seed(u64::from(seed)).stream("t"));
            for (sums, counts) in sums.iter_mut().flatten().zip(counts.iter().flatten()) {
                *sums += counts;
            }
        }
        for (&sum, &due) in sums.iter().flatten().zip(quotas.iter().flatten()) {
            let due = crate::proof::people(u128::from(due), list.grid);
            let error = 4.0 * (f64::from(SEEDS) * due.fract() * (1.0 - due.fract())).sqrt();
            assert!((f64::from(sum) - f64::from(SEEDS) * due).abs() <= error + 0.1, "{sum}, {due}");
        }
    }
}
