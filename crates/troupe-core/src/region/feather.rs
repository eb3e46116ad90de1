//! Regions whose edges lead over into one another.
//!
//! What is seen of each box, at [`FINE`] times the resolution, is averaged over a window around each place. The window is
//! cut off at the picture's edge, and the mean is that of what is left; it is the same for all boxes, so what was a whole
//! cell, of boxes and background together, stays one.

use super::{Placed, TokenGrid, visible, whole};

/// How much finer than the grid the edges are drawn.
const FINE: usize = 4;

/// As [`visible`], with edges `width` wide, as a share of the picture's shorter side.
pub(super) fn feathered(placed: &[Placed], grid: TokenGrid, width: f64) -> Vec<Vec<f64>> {
    let fine = TokenGrid { height: FINE * grid.height, width: FINE * grid.width };
    let half = 0.5 * width * whole(fine.height.min(fine.width));
    let parts = visible(placed, fine).into_iter().map(|part| {
        let across: Vec<f64> =
            part.chunks_exact(fine.width).flat_map(|row| averaged(row, half)).collect();
        let across = transposed(&across, fine.width); // Rows of columns.
        let down: Vec<f64> =
            across.chunks_exact(fine.height).flat_map(|row| averaged(row, half)).collect();
        coarse(&transposed(&down, fine.height), grid)
    });
    parts.collect()
}

/// The mean of what lies at most `half` from the middle of each cell.
fn averaged(cells: &[f64], half: f64) -> Vec<f64> {
    let mut sums = vec![0.0];
    sums.extend(cells.iter().scan(0.0, |sum, cell| {
        *sum += cell;
        Some(*sum)
    }));
    let end = whole(cells.len());
    // The integral up to a position between cells.
    let until = |position: f64| {
        let cell = super::cell(position / end, cells.len());
        sums[cell] + (position - whole(cell)) * cells[cell]
    };
    let mean = |cell: usize| {
        let middle = whole(cell) + 0.5;
        // Narrower than a cell is the cell itself.
        let half = half.max(0.5);
        let (from, to) = ((middle - half).max(0.0), (middle + half).min(end));
        (until(to) - until(from)) / (to - from)
    };
    (0..cells.len()).map(mean).collect()
}

fn transposed(cells: &[f64], width: usize) -> Vec<f64> {
    let columns = (0..width).flat_map(|x| cells.iter().skip(x).step_by(width));
    columns.copied().collect()
}

/// The mean of the fine cells of each cell.
fn coarse(fine: &[f64], grid: TokenGrid) -> Vec<f64> {
    let mut cells = vec![0.0; grid.tokens()];
    for (y, row) in fine.chunks_exact(FINE * grid.width).enumerate() {
        for (x, part) in row.chunks_exact(FINE).enumerate() {
            cells[y.div_euclid(FINE) * grid.width + x] += part.iter().sum::<f64>();
        }
    }
    cells.into_iter().map(|cell| cell / whole(FINE * FINE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::BoundingBox;

    #[test]
    fn an_edge_is_as_wide_as_wanted_and_its_middle_stays_where_it_was() {
        let bounds = BoundingBox::new(0.0, 0.0, 0.5, 1.0).unwrap();
        let grid = TokenGrid { height: 8, width: 16 };
        // A quarter of eight rows are two cells: one on each side of the edge.
        let part = &feathered(&[Placed { bounds, depth: 0 }], grid, 0.25)[0];
        for row in part.chunks_exact(16) {
            assert!(row[..7].iter().all(|&cell| (cell - 1.0).abs() < 1e-12), "{row:?}");
            assert!(row[9..].iter().all(|&cell| cell.abs() < 1e-12), "{row:?}");
            assert!((row[7] - 0.75).abs() < 1e-12 && (row[8] - 0.25).abs() < 1e-12, "{row:?}");
        }
    }
}
