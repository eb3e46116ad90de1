//! Boxes refined to people's outlines: which tokens of a box are of the person, by what self-attention knows them by.
//!
//! As Bounded Attention (Dahary et al. 2024, arXiv:2403.16990) refines its masks by clustering self-attention; here by the
//! layers' keys, in two clusters a box: one begins in its middle, the other with the picture's background.

use candle_core::Tensor;
use troupe_core::region::{RegionMap, Regions, TokenGrid};

use crate::RenderError;
use crate::denoiser::single;

/// How often the clusters are found anew.
const ROUNDS: usize = 5;
/// An outline of a smaller part of its box is none: the box stays.
const LEAST: f64 = 0.2;

/// Which tokens of each box are of its person.
pub(crate) struct Outlines {
    grid: TokenGrid,
    /// For each person; `None` where the box stays as it is.
    outlines: Vec<Option<Outline>>,
}

/// What a person has of each token of a grid: of the box, and of that what is inside of the outline.
struct Outline {
    boxed: Vec<f64>,
    inside: Vec<f64>,
}

impl Outlines {
    /// Clusters the tokens of each box on the finest level that has keys, `(level, (tokens, channels))`; `None` without any.
    ///
    /// `boxes` are those of the people, each its person's alone.
    pub(crate) fn new(
        keys: &[(usize, Tensor)],
        levels: &[TokenGrid],
        boxes: &Regions,
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
        let RegionMap { regions, owner, .. } = boxes.map(grid);
        let outlines = regions.into_iter().enumerate().map(|(subject, part)| {
            let boxed: Vec<f64> = part.into_iter().map(f64::from).collect();
            let [theirs, others] = clusters(&tokens, &owner, subject, grid)?;
            let kept = boxed.iter().zip(&tokens).map(|(part, token)| {
                if distance(token, &theirs) < distance(token, &others) { *part } else { 0.0 }
            });
            let inside = kept.collect();
            Some(Outline { boxed, inside })
        });
        Ok(Some(Self { grid, outlines: outlines.collect() }))
    }

    /// The weights of a level with less of each box, and more of the base in its place.
    pub(crate) fn refined(&self, mut map: RegionMap, grid: TokenGrid) -> RegionMap {
        for (subject, outline) in self.outlines.iter().enumerate() {
            let Some((outline, weights)) = outline.as_ref().zip(map.regions.get_mut(subject))
            else {
                continue;
            };
            let kept = outline.kept(self.grid, grid);
            let tokens = weights.iter_mut().zip(&mut map.base).zip(&mut map.owner).zip(kept);
            for (((weight, base), owner), kept) in tokens {
                let less = *weight * single(1.0 - kept);
                *weight -= less;
                *base += less;
                if kept <= 0.5 && *owner == Some(subject) {
                    *owner = None;
                }
            }
        }
        map
    }
}

impl Outline {
    /// Which part of the box is inside, for each token of another grid; all of it where there is nothing of the box.
    fn kept(&self, from: TokenGrid, to: TokenGrid) -> impl Iterator<Item = f64> {
        let parts = resized(&self.inside, from, to).into_iter().zip(resized(&self.boxed, from, to));
        parts.map(|(inside, boxed)| if 0.0 < boxed { inside / boxed } else { 1.0 })
    }
}

/// The middles of the two clusters of a box, the person's and the other; `None` where it is one thing, or there is nothing
/// to tell it from.
fn clusters(
    tokens: &[Vec<f32>],
    owner: &[Option<usize>],
    subject: usize,
    grid: TokenGrid,
) -> Option<[Vec<f32>; 2]> {
    let own: Vec<usize> = (0..owner.len()).filter(|&it| owner[it] == Some(subject)).collect();
    let nobodys: Vec<usize> = (0..owner.len()).filter(|&it| owner[it].is_none()).collect();
    if own.is_empty() || nobodys.is_empty() {
        return None;
    }
    let (mut inside, mut around) = (middle(&own, grid), Vec::new());
    let mut middles = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let theirs = mean(tokens, inside.iter().copied());
        let others = mean(tokens, nobodys.iter().chain(&around).copied());
        let nearer = |&&token: &&usize| {
            distance(&tokens[token], &theirs) < distance(&tokens[token], &others)
        };
        (inside, around) = own.iter().partition(nearer);
        // What is as far from its own cluster as the clusters are from one another is one thing.
        let spread = spread(tokens, &inside, &theirs) + spread(tokens, &nobodys, &others);
        if real(inside.len()) < LEAST * real(own.len()) || distance(&theirs, &others) < spread {
            return None;
        }
        middles = [theirs, others];
    }
    Some(middles)
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

    /// Columns 3 to 8.
    const BOX: [f64; 4] = [0.25, 0.0, 0.75, 1.0];

    fn boxes(base_ratio: f64, boxes: &[[f64; 4]]) -> Regions {
        let placed = boxes.iter().map(|&[left, top, right, bottom]| Placed {
            bounds: BoundingBox::new(left, top, right, bottom).unwrap(),
            depth: 0,
        });
        Regions::new(placed.collect(), base_ratio)
    }

    /// What becomes of regions with a base ratio of a quarter, on a grid of its own.
    fn refined(
        keys: &[(usize, Tensor)],
        of: &[[f64; 4]],
        feather: f64,
        grid: TokenGrid,
    ) -> RegionMap {
        let own = boxes(0.0, of).with_feather(feather);
        let outlines = Outlines::new(keys, &[GRID], &own).unwrap().unwrap();
        outlines.refined(boxes(0.25, of).with_feather(feather).map(grid), grid)
    }

    fn runner(y: usize, x: usize) -> bool {
        (4..8).contains(&x) && 2 <= y
    }

    #[test]
    fn a_box_becomes_the_outline_of_whom_it_holds() {
        let map = refined(&keys(runner), &[BOX], 0.0, GRID);
        for token in 0..GRID.tokens() {
            let (y, x) = (token.div_euclid(GRID.width), token.rem_euclid(GRID.width));
            let wanted = if runner(y, x) { (0.75, Some(0)) } else { (0.0, None) };
            assert_eq!((map.regions[0][token], map.owner[token]), wanted, "{y}, {x}");
            assert!((map.base[token] + map.regions[0][token] - 1.0).abs() < 1e-6);
        }
        // On a coarser level a token has its part: of the second column a half is the box's, and none of that the runner's.
        let half = refined(&keys(runner), &[BOX], 0.0, TokenGrid { height: 4, width: 6 });
        let row = &half.regions[0][6..12];
        assert_eq!(row.to_vec(), vec![0.0, 0.0, 0.75, 0.75, 0.0, 0.0]);
        assert_eq!((half.regions[0][2], half.owner[2]), (0.0, None));
        // And on a finer one.
        let fine = refined(&keys(runner), &[BOX], 0.0, TokenGrid { height: 16, width: 24 });
        assert_eq!((fine.regions[0][5 * 24 + 9], fine.regions[0][5 * 24 + 7]), (0.75, 0.0));
    }

    #[test]
    fn a_box_that_holds_nobody_stays_as_it_is_to_the_bit() {
        // With edges that cut cells and lead over, beside one that is narrower than a cell.
        let of = [[0.22, 0.05, 0.71, 0.9], [0.8, 0.1, 0.83, 0.8]];
        for keys in [keys(|_, _| false), keys(|y, x| (y, x) == (4, 5))] {
            for (feather, grid) in
                [(0.0, GRID), (0.2, GRID), (0.2, TokenGrid { height: 4, width: 6 })]
            {
                let before = boxes(0.25, &of).with_feather(feather).map(grid);
                assert_eq!(refined(&keys, &of, feather, grid), before);
            }
        }
        assert!(Outlines::new(&[], &[GRID], &boxes(0.0, &of)).unwrap().is_none());
    }

    #[test]
    fn who_is_narrower_than_a_cell_stays_beside_one_who_is_refined() {
        let of = [BOX, [0.8, 0.1, 0.83, 0.8]];
        let before = boxes(0.25, &of).map(GRID);
        let map = refined(&keys(runner), &of, 0.0, GRID);
        assert_eq!(map.regions[1], before.regions[1]);
        assert_ne!(map.regions[0], before.regions[0]);
        // Of a cell that an edge of the box cuts, too, nothing is left where the runner isn't.
        let cut = [[0.22, 0.0, 0.75, 1.0]];
        let map = refined(&keys(runner), &cut, 0.0, GRID);
        assert_eq!((map.regions[0][3 * 12 + 2], map.regions[0][3 * 12 + 4]), (0.0, 0.75));
    }
}
