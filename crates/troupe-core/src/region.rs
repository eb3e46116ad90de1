//! Boxes, and how much each subject's prompt may speak to each token of an attention layer.
//!
//! A UNet block flattens a `(height, width)` feature map to `height · width` tokens in row-major
//! order, and each level of the UNet halves the sides. The measure is the area of overlap, so
//! every level agrees with every other: the mean of a box's coverage is its area, on a 64 × 64
//! grid as on a 6 × 12 one. Where boxes overlap, the subject in front owns the pixels.

mod feather;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// An axis-aligned box in the unit square; `(0, 0)` is the top left corner of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Edges", into = "Edges")]
pub struct BoundingBox(
    /// Invariant: `0 ≤ left < right ≤ 1` and `0 ≤ top < bottom ≤ 1`.
    Edges,
);

/// The four edges of a box as they stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edges {
    /// Share of the width from the left edge of the picture to that of the box.
    pub left: f64,
    /// Share of the height from the top edge of the picture to that of the box.
    pub top: f64,
    /// Share of the width to the right edge of the box.
    pub right: f64,
    /// Share of the height to the bottom edge of the box.
    pub bottom: f64,
}

/// Edges that make no box.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "a box needs 0 <= left < right <= 1 and 0 <= top < bottom <= 1, and has left {}, top {}, right {}, bottom {}",
    .0.left, .0.top, .0.right, .0.bottom
)]
pub struct NotABox(pub Edges);

/// The tokens of one attention layer: `height` rows of `width`, in row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenGrid {
    /// Rows of the feature map.
    pub height: usize,
    /// Columns of the feature map.
    pub width: usize,
}

/// The regions of one picture: boxes from back to front, and the base prompt's share in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Regions {
    placed: Vec<Placed>,
    /// Invariant: in `[0, 1]`.
    base_ratio: f64,
    /// Invariant: as many as `placed`, each in `[0, 1]`.
    strengths: Vec<f64>,
    /// Invariant: in `[0, 1]`.
    feather: f64,
}

/// What a token's part must exceed to be a subject's: a half, and not what rounding makes of one.
const HALF: f64 = 0.5 + 1e-9;

/// One subject's box, and how far in front it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// Where the subject stands.
    pub bounds: BoundingBox,
    /// The higher one owns an overlap; of equals, the later one.
    pub depth: u32,
}

/// What [`Regions`] say on one grid. All lists are as long as the grid has tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionMap {
    /// The weight of the base prompt.
    pub base: Vec<f32>,
    /// The weight of each subject's prompt, in the order in which the subjects were given.
    pub regions: Vec<Vec<f32>>,
    /// The subject that a token belongs to when subjects are isolated; `None` is background.
    pub owner: Vec<Option<usize>>,
}

impl TryFrom<Edges> for BoundingBox {
    type Error = NotABox;

    fn try_from(edges: Edges) -> Result<Self, NotABox> {
        let ordered = |from: f64, to: f64| 0.0 <= from && from < to && to <= 1.0;
        if ordered(edges.left, edges.right) && ordered(edges.top, edges.bottom) {
            Ok(Self(edges))
        } else {
            Err(NotABox(edges))
        }
    }
}

impl From<BoundingBox> for Edges {
    fn from(bounds: BoundingBox) -> Self {
        bounds.0
    }
}

impl BoundingBox {
    /// Takes edges as shares of the picture's sides.
    ///
    /// # Errors
    ///
    /// If the edges are out of order, outside the unit square or not numbers.
    pub fn new(left: f64, top: f64, right: f64, bottom: f64) -> Result<Self, NotABox> {
        Self::try_from(Edges { left, top, right, bottom })
    }

    /// The four edges.
    pub fn edges(&self) -> Edges {
        self.0
    }

    /// Share of the picture's width, in `(0, 1]`.
    pub fn width(&self) -> f64 {
        self.0.right - self.0.left
    }

    /// Share of the picture's height, in `(0, 1]`.
    pub fn height(&self) -> f64 {
        self.0.bottom - self.0.top
    }

    /// Share of the picture's area, in `(0, 1]`.
    pub fn area(&self) -> f64 {
        self.width() * self.height()
    }
}

impl TokenGrid {
    /// How many tokens the grid has.
    pub fn tokens(self) -> usize {
        self.height * self.width
    }
}

impl Regions {
    /// Takes the subjects' boxes in the order of their prompts. `base_ratio` is the weight that the
    /// base prompt keeps inside a box; it is clamped to `[0, 1]`.
    pub fn new(placed: Vec<Placed>, base_ratio: f64) -> Self {
        let strengths = vec![1.0; placed.len()];
        Self { placed, base_ratio: base_ratio.clamp(0.0, 1.0), strengths, feather: 0.0 }
    }

    /// With edges that lead over into one another, `feather` wide as a share of the picture's shorter side; it is clamped to
    /// `[0, 1]`. Whom a token belongs to stays as it is.
    #[must_use]
    pub fn with_feather(mut self, feather: f64) -> Self {
        self.feather = feather.clamp(0.0, 1.0);
        self
    }

    /// With what each subject's weights are multiplied by, in their order, clamped to `[0, 1]`; the base has the rest.
    /// Subjects beyond the list keep what they had.
    #[must_use]
    pub fn with_strengths(mut self, strengths: &[f64]) -> Self {
        for (own, strength) in self.strengths.iter_mut().zip(strengths) {
            *own = strength.clamp(0.0, 1.0);
        }
        self
    }

    /// How many subjects there are.
    pub fn len(&self) -> usize {
        self.placed.len()
    }

    /// Whether there is no subject at all.
    pub fn is_empty(&self) -> bool {
        self.placed.is_empty()
    }

    /// The weights on a grid.
    ///
    /// With `w` from [`visible`], feathered, region i's weight is `(1 − base_ratio) · strengthᵢ · wᵢ` and the base's is what
    /// is left to one; a token belongs to the subject with `0.5 < wᵢ` before any feather.
    #[expect(clippy::cast_possible_truncation, reason = "weights multiply f32 activations")]
    pub fn map(&self, grid: TokenGrid) -> RegionMap {
        let visible = visible(&self.placed, grid);
        let owner =
            (0..grid.tokens()).map(|token| visible.iter().position(|w| HALF < w[token])).collect();
        let seen = if 0.0 < self.feather {
            feather::feathered(&self.placed, grid, self.feather)
        } else {
            visible
        };
        let factors = self.strengths.iter().map(|strength| (1.0 - self.base_ratio) * strength);
        let parts: Vec<(f64, Vec<f64>)> = factors.zip(seen).collect();
        let base = (0..grid.tokens())
            .map(|token| 1.0 - parts.iter().map(|(factor, w)| factor * w[token]).sum::<f64>())
            .map(|weight| weight.max(0.0) as f32)
            .collect();
        let regions = parts
            .into_iter()
            .map(|(factor, w)| w.into_iter().map(|part| (factor * part) as f32).collect())
            .collect();
        RegionMap { base, regions, owner }
    }
}

/// The part of each cell that a box covers and no box in front of it does; one list for each box.
///
/// Exact: the cell is cut along all edges that cross it, and each piece goes to the front-most box
/// over it.
pub fn visible(placed: &[Placed], grid: TokenGrid) -> Vec<Vec<f64>> {
    let mut parts = vec![vec![0.0; grid.tokens()]; placed.len()];
    let mut order: Vec<usize> = (0..placed.len()).collect();
    order.sort_by_key(|&subject| (placed[subject].depth, subject));
    order.reverse(); // Front-most first.

    let edges: Vec<Edges> = placed.iter().map(|it| it.bounds.edges()).collect();
    let columns = cuts(edges.iter().flat_map(|it| [it.left, it.right]), grid.width);
    let rows = cuts(edges.iter().flat_map(|it| [it.top, it.bottom]), grid.height);
    for row in rows.windows(2) {
        for column in columns.windows(2) {
            let (y, x) = (f64::midpoint(row[0], row[1]), f64::midpoint(column[0], column[1]));
            let front = order.iter().find(|&&subject| {
                let it = edges[subject];
                it.left < x && x < it.right && it.top < y && y < it.bottom
            });
            if let Some(&subject) = front {
                let cell = cell(y, grid.height) * grid.width + cell(x, grid.width);
                let height = (row[1] - row[0]) * whole(grid.height);
                let width = (column[1] - column[0]) * whole(grid.width);
                parts[subject][cell] += height * width;
            }
        }
    }
    for part in parts.iter_mut().flatten() {
        // Sums of pieces that make a whole cell are a whole cell.
        if (*part - 1.0).abs() < 1e-9 {
            *part = 1.0;
        }
    }
    parts
}

/// The front-most box over the middle of each cell; `None` is background. Of a grid of pixels it says whose
/// each one is.
pub fn front_most(placed: &[Placed], grid: TokenGrid) -> Vec<Option<usize>> {
    let mut owners = vec![None; grid.tokens()];
    let mut order: Vec<usize> = (0..placed.len()).collect();
    order.sort_by_key(|&subject| (placed[subject].depth, subject));
    for subject in order {
        let edges = placed[subject].bounds.edges();
        let inside = |low: f64, high: f64, cells: usize| {
            (0..cells).filter(move |&cell| {
                let middle = (whole(cell) + 0.5) / whole(cells);
                low < middle && middle < high
            })
        };
        for row in inside(edges.top, edges.bottom, grid.height) {
            for column in inside(edges.left, edges.right, grid.width) {
                owners[row * grid.width + column] = Some(subject);
            }
        }
    }
    owners
}

/// All positions in `[0, 1]` at which a cell or one of the `edges` begins or ends, in order.
fn cuts(edges: impl Iterator<Item = f64>, cells: usize) -> Vec<f64> {
    let mut cuts: Vec<f64> = (0..=cells).map(|cell| whole(cell) / whole(cells)).collect();
    cuts.extend(edges);
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

/// A count of cells as a number.
#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn whole(cells: usize) -> f64 {
    cells as f64
}

/// The cell in which a position in `(0, 1)` lies.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..cells")]
fn cell(position: f64, cells: usize) -> usize {
    ((position * whole(cells)) as usize).min(cells - 1)
}
