//! Boxes refined to people's outlines: which tokens of a box are of the person, by what self-attention knows them by.
//!
//! As Bounded Attention (Dahary et al. 2024, arXiv:2403.16990) refines its masks by clustering self-attention; here by the
//! layers' keys, in two clusters a box: one begins in its middle, the other with the picture's background.

use candle_core::Tensor;
use troupe_core::region::{RegionMap, Regions, TokenGrid};

use crate::RenderError;

/// How often the clusters are found anew.
const ROUNDS: usize = 5;
/// An outline of a smaller part of its box is none: the box stays.
const LEAST: f64 = 0.2;

/// What each person has of the tokens of a grid.
pub(crate) struct Outlines {
    grid: TokenGrid,
    parts: Vec<Vec<f64>>,
}

impl Outlines {
    /// Clusters the tokens of each box on the finest level that has keys, `(level, (tokens, channels))`; `None` without any.
    pub(crate) fn new(
        keys: &[(usize, Tensor)],
        levels: &[TokenGrid],
        regions: &Regions,
    ) -> Result<Option<Self>, RenderError> {
        let Some(finest) = keys.iter().map(|(level, _)| *level).min() else { return Ok(None) };
        let Some(&grid) = levels.get(finest) else { return Ok(None) };
        let mut tokens: Vec<Vec<f32>> = vec![Vec::new(); grid.tokens()];
        for (_, keys) in keys.iter().filter(|(level, _)| *level == finest) {
            for (token, key) in tokens.iter_mut().zip(keys.to_vec2::<f32>()?) {
                // Each layer counts as much.
                let length = key.iter().map(|it| it * it).sum::<f32>().sqrt().max(1e-12);
                token.extend(key.into_iter().map(|it| it / length));
            }
        }
        let owner = regions.map(grid).owner;
        let parts = (0..regions.len()).map(|subject| outline(&tokens, &owner, subject, grid));
        Ok(Some(Self { grid, parts: parts.collect() }))
    }

    /// The weights on a level.
    pub(crate) fn map(&self, regions: &Regions, grid: TokenGrid) -> RegionMap {
        let parts: Vec<Vec<f64>> =
            self.parts.iter().map(|part| resized(part, self.grid, grid)).collect();
        regions.map_of_parts(&parts, grid)
    }
}

/// 1 where a token of a box is of its person, else 0.
fn outline(
    tokens: &[Vec<f32>],
    owner: &[Option<usize>],
    subject: usize,
    grid: TokenGrid,
) -> Vec<f64> {
    let own: Vec<usize> = (0..owner.len()).filter(|&it| owner[it] == Some(subject)).collect();
    let mut part = vec![0.0; owner.len()];
    for &token in &own {
        part[token] = 1.0;
    }
    let nobodys: Vec<usize> = (0..owner.len()).filter(|&it| owner[it].is_none()).collect();
    if own.is_empty() || nobodys.is_empty() {
        return part;
    }
    let mut person = middle(&own, grid);
    let mut around = Vec::new();
    for _ in 0..ROUNDS {
        let theirs = mean(tokens, person.iter().copied());
        let others = mean(tokens, nobodys.iter().chain(&around).copied());
        let nearer = |&&token: &&usize| {
            distance(&tokens[token], &theirs) < distance(&tokens[token], &others)
        };
        let (inside, outside): (Vec<usize>, Vec<usize>) = own.iter().partition(nearer);
        // What is as far from its own cluster as the clusters are from one another is one thing.
        let spread = spread(tokens, &inside, &theirs) + spread(tokens, &nobodys, &others);
        if real(inside.len()) < LEAST * real(own.len()) || distance(&theirs, &others) < spread {
            return part;
        }
        (person, around) = (inside, outside);
    }
    for token in around {
        part[token] = 0.0;
    }
    part
}

/// The tokens in the inner half of a box, in both directions; all of one that has none.
fn middle(own: &[usize], grid: TokenGrid) -> Vec<usize> {
    let column = |token: usize| token.rem_euclid(grid.width);
    let row = |token: usize| token.div_euclid(grid.width);
    let inner = |of: &dyn Fn(usize) -> usize| {
        let least = own.iter().map(|&it| of(it)).min().unwrap_or(0);
        let most = own.iter().map(|&it| of(it)).max().unwrap_or(0);
        let quarter = (most - least).div_euclid(4);
        least + quarter..=most - quarter
    };
    let (columns, rows) = (inner(&column), inner(&row));
    let inside = |&&token: &&usize| columns.contains(&column(token)) && rows.contains(&row(token));
    let found: Vec<usize> = own.iter().filter(inside).copied().collect();
    if found.is_empty() { own.to_vec() } else { found }
}

fn mean(tokens: &[Vec<f32>], of: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut sum = vec![0.0; tokens.first().map_or(0, Vec::len)];
    let mut count = 0.0;
    for token in of {
        sum.iter_mut().zip(&tokens[token]).for_each(|(sum, it)| *sum += it);
        count += 1.0;
    }
    sum.into_iter().map(|it| it / f32::max(count, 1.0)).collect()
}

/// The mean squared distance from a cluster's middle.
fn spread(tokens: &[Vec<f32>], of: &[usize], middle: &[f32]) -> f32 {
    let sum: f32 = of.iter().map(|&token| distance(&tokens[token], middle)).sum();
    let count: f32 = of.iter().map(|_| 1.0).sum();
    sum / count.max(1.0)
}

/// Squared.
fn distance(one: &[f32], two: &[f32]) -> f32 {
    one.iter().zip(two).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The mean of the cells whose middles lie in each cell of another grid; where none does, the one over its middle.
fn resized(part: &[f64], from: TokenGrid, to: TokenGrid) -> Vec<f64> {
    let place = |at: usize, cells: usize, of: usize| ((2 * at + 1) * of).div_euclid(2 * cells);
    let mut sums = vec![(0.0, 0_usize); to.tokens()];
    for (token, value) in part.iter().enumerate() {
        let y = place(token.div_euclid(from.width), from.height, to.height);
        let x = place(token.rem_euclid(from.width), from.width, to.width);
        let (sum, count) = &mut sums[y * to.width + x];
        (*sum, *count) = (*sum + value, *count + 1);
    }
    let cell = |(token, (sum, count)): (usize, (f64, usize))| {
        if 0 < count {
            return sum / real(count);
        }
        let y = place(token.div_euclid(to.width), to.height, from.height);
        let x = place(token.rem_euclid(to.width), to.width, from.width);
        part[y * from.width + x]
    };
    sums.into_iter().enumerate().map(cell).collect()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tokens")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use troupe_core::region::{BoundingBox, Placed};

    use super::*;

    const GRID: TokenGrid = TokenGrid { height: 8, width: 12 };

    /// Keys of a person who fills part of a box, before a background that changes from side to side.
    fn keys(person: impl Fn(usize, usize) -> bool) -> Vec<(usize, Tensor)> {
        let token = |at: usize| {
            let (y, x) = (at.div_euclid(GRID.width), at.rem_euclid(GRID.width));
            let side = f32::from(u8::try_from(x).unwrap()) / 40.0;
            if person(y, x) { [1.0, 0.1, side] } else { [0.1, 1.0, side] }
        };
        let values: Vec<f32> = (0..GRID.tokens()).flat_map(token).collect();
        vec![(0, Tensor::from_vec(values, (GRID.tokens(), 3), &Device::Cpu).unwrap())]
    }

    fn regions() -> Regions {
        let bounds = BoundingBox::new(0.25, 0.0, 0.75, 1.0).unwrap(); // Columns 3 to 8.
        Regions::new(vec![Placed { bounds, depth: 0 }], 0.25)
    }

    #[test]
    fn a_box_becomes_the_outline_of_whom_it_holds() {
        let person = |y: usize, x: usize| (4..8).contains(&x) && 2 <= y;
        let outlines = Outlines::new(&keys(person), &[GRID], &regions()).unwrap().unwrap();
        let map = outlines.map(&regions(), GRID);
        for token in 0..GRID.tokens() {
            let (y, x) = (token.div_euclid(GRID.width), token.rem_euclid(GRID.width));
            let wanted = if person(y, x) { (0.75, Some(0)) } else { (0.0, None) };
            assert_eq!((map.regions[0][token], map.owner[token]), wanted, "{y}, {x}");
            assert!((map.base[token] + map.regions[0][token] - 1.0).abs() < 1e-6);
        }
        // On a coarser level a token has its part.
        let half = outlines.map(&regions(), TokenGrid { height: 4, width: 6 });
        assert_eq!((half.regions[0][6 + 2], half.regions[0][2]), (0.75, 0.0));
        // And on a finer one.
        let fine = outlines.map(&regions(), TokenGrid { height: 16, width: 24 });
        assert_eq!((fine.regions[0][5 * 24 + 9], fine.regions[0][5 * 24 + 7]), (0.75, 0.0));
    }

    #[test]
    fn a_box_that_holds_nobody_stays_a_box() {
        for keys in [keys(|_, _| false), keys(|y, x| (y, x) == (4, 5))] {
            let outlines = Outlines::new(&keys, &[GRID], &regions()).unwrap().unwrap();
            assert_eq!(outlines.map(&regions(), GRID), regions().map(GRID));
        }
        assert!(Outlines::new(&[], &[GRID], &regions()).unwrap().is_none());
    }
}
