//! Convolution and linear layers: blocks of rows, or of columns where rows are few.
//!
//! A block of output pixels is gathered into a small matrix of windows (im2col) that stays in
//! the second-level cache while it's multiplied with the weights, a tile of them at a time: those
//! of sixteen bits are widened for it.

use std::borrow::Cow;

use rayon::prelude::*;

use super::product::{Before, View, multiply};
use crate::kernels::Convolution;
use crate::matrix::Matrix;

/// Elements of a block of windows: 512 KiB.
const BLOCK: usize = 128 * 1024;

/// Fewer rows than this aren't worth a block of their own: the weights are read once a block.
const MIN_ROWS: usize = 64;

/// More rows than this gain nothing.
const MAX_ROWS: usize = 512;

/// Columns of a block where the columns are cut.
const COLUMNS: usize = 48;

/// Weights of a tile, if its columns aren't too few: 1 MiB.
const TILE: usize = 256 * 1024;

/// `out = x · weightᵀ + bias`.
pub(super) fn linear(x: &[f32], weight: &Matrix, bias: Option<&[f32]>, out: &mut [f32]) {
    let rows = out.len().checked_div(weight.outputs()).unwrap_or(0);
    let inputs = weight.inputs();
    in_blocks(rows, weight, bias, out, |from, to| Cow::Borrowed(&x[from * inputs..to * inputs]));
}

/// A convolution; see [`Kernels::conv2d`](crate::Kernels::conv2d).
pub(super) fn conv2d(
    x: &[f32],
    shape: &Convolution,
    weight: &Matrix,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let pointwise = shape.kernel == (1, 1) && shape.stride == 1 && shape.padding == 0.into();
    if pointwise {
        linear(x, weight, bias, out);
    } else {
        let rows = shape.batch * shape.out_height * shape.out_width;
        in_blocks(rows, weight, bias, out, |from, to| Cow::Owned(windows(x, shape, from, to)));
    }
}

/// `out = left · weightᵀ + bias`, where `left(from, to)` gives these rows of the left matrix.
fn in_blocks<'a>(
    rows: usize,
    weight: &Matrix,
    bias: Option<&[f32]>,
    out: &mut [f32],
    left: impl Fn(usize, usize) -> Cow<'a, [f32]> + Sync,
) {
    let (inputs, columns) = (weight.inputs(), weight.outputs());
    if rows == 0 || columns == 0 {
        return;
    }
    if rows < 2 * MIN_ROWS && COLUMNS < columns {
        let left = left(0, rows);
        let blocks: Vec<Vec<f32>> = (0..columns.div_ceil(COLUMNS))
            .into_par_iter()
            .map(|block| {
                let from = block * COLUMNS;
                let to = columns.min(from + COLUMNS);
                let mut part = vec![0.0; rows * (to - from)];
                let before = start(&mut part, bias.map(|bias| &bias[from..to]));
                let left = View::rows(&left, rows, inputs, inputs);
                let mut scratch = Vec::new();
                let right =
                    View::rows(weight.rows(from..to, &mut scratch), to - from, inputs, inputs);
                multiply(left, right.transposed(), &mut part, to - from, before);
                part
            })
            .collect();
        for (block, part) in blocks.iter().enumerate() {
            let from = block * COLUMNS;
            let to = columns.min(from + COLUMNS);
            for (row, part) in out.chunks_exact_mut(columns).zip(part.chunks_exact(to - from)) {
                row[from..to].copy_from_slice(part);
            }
        }
        return;
    }
    let of_block = rows_of_block(rows, inputs);
    let tile = columns_of_tile(inputs);
    out.par_chunks_mut(of_block * columns).enumerate().for_each(|(block, out)| {
        let from = block * of_block;
        let to = rows.min(from + of_block);
        let left = left(from, to);
        let before = start(out, bias);
        let left = View::rows(&left, to - from, inputs, inputs);
        let mut scratch = Vec::new();
        for from in (0..columns).step_by(tile) {
            let to = columns.min(from + tile);
            let right = View::rows(weight.rows(from..to, &mut scratch), to - from, inputs, inputs);
            multiply(left, right.transposed(), &mut out[from..], columns, before);
        }
    });
}

/// How many rows a block has: blocks of the same size, an even number of them if there are many.
fn rows_of_block(rows: usize, inputs: usize) -> usize {
    let wanted = BLOCK.checked_div(inputs).unwrap_or(MAX_ROWS).clamp(MIN_ROWS, MAX_ROWS);
    let blocks = rows.div_ceil(wanted);
    let blocks = if MIN_ROWS * 2 <= rows { blocks.next_multiple_of(2) } else { blocks };
    rows.div_ceil(blocks)
}

/// How many columns a tile has: a multiple of what vector registers hold.
fn columns_of_tile(inputs: usize) -> usize {
    TILE.checked_div(inputs).unwrap_or(TILE).max(COLUMNS).next_multiple_of(COLUMNS)
}

/// Puts the bias into every row of `out`, and says what the product does with it.
fn start(out: &mut [f32], bias: Option<&[f32]>) -> Before {
    let Some(bias) = bias else { return Before::Overwrite };
    for row in out.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
    Before::Add
}

/// The windows of the output pixels `from..to`, one a row; what lies outside the image is zero.
///
/// Shape `(to - from, kernel height · kernel width · channels)`.
#[expect(clippy::integer_division, reason = "a pixel's index is cut into row and column")]
fn windows(x: &[f32], shape: &Convolution, from: usize, to: usize) -> Vec<f32> {
    let &Convolution { height, width, channels, kernel, stride, padding, .. } = shape;
    let mut windows = Vec::with_capacity((to - from) * kernel.0 * kernel.1 * channels);
    for pixel in from..to {
        let column = pixel % shape.out_width * stride;
        let row = pixel / shape.out_width % shape.out_height * stride;
        let image = pixel / shape.out_width / shape.out_height;
        // Columns of the padded image; those of the image itself are `padding.left..`.
        let first = column.max(padding.left);
        let last = (column + kernel.1).min(padding.left + width).max(first);
        for row in row..row + kernel.0 {
            let end = windows.len() + kernel.1 * channels;
            if padding.top <= row && row < padding.top + height && first < last {
                let start = (image * height + row - padding.top) * width;
                let start = (start + first - padding.left) * channels;
                windows.resize(windows.len() + (first - column) * channels, 0.0);
                windows.extend_from_slice(&x[start..start + (last - first) * channels]);
            }
            windows.resize(end, 0.0);
        }
    }
    windows
}
