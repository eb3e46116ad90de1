//! Functions of single elements, compiled for several instruction sets.

use rayon::prelude::*;

use super::vectorised::vectorised;

/// Elements that one task works on.
const BLOCK: usize = 32 * 1024;

/// `eˣ` to about one unit in the last place; 0 below −87.3, where single precision ends.
///
/// `2ⁿ · eʳ` with `n` the nearest integer to `x / ln 2`, and the Taylor series of `eʳ` to the
/// seventh power for `|r| ≤ ln 2 / 2`, where the eighth is below 6e-9.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to an integer, and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: the first has few bits, so that its multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let inside = if x < -87.3 { -87.3 } else { x };
    let inside = if 88.3 < inside { 88.3 } else { inside };
    let rounded = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, inside));
    let series = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let series = series.mul_add(r, 1.0 / 120.0);
    let series = series.mul_add(r, 1.0 / 24.0);
    let series = series.mul_add(r, 1.0 / 6.0);
    let series = series.mul_add(r, 0.5);
    let series = series.mul_add(r, 1.0);
    let series = series.mul_add(r, 1.0);
    let power = rounded.to_bits().wrapping_shl(23).wrapping_add(1.0_f32.to_bits());
    let y = series * f32::from_bits(power);
    if x < -87.3 { 0.0 } else { y }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x · Φ(x)`; erf by formula 7.1.26 of Abramowitz and Stegun, whose error is below 1.5e-7.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
fn gelu_of(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let series = t.mul_add(1.061_405_4, -1.453_152_1);
    let series = series.mul_add(t, 1.421_413_8);
    let series = series.mul_add(t, -0.284_496_72);
    let series = series.mul_add(t, 0.254_829_6);
    let tail = 0.5 * series * t * exp(-z * z); // 1 − Φ(|x|)
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// `out = x · sigmoid(x)`.
pub(crate) fn silu(x: &[f32], out: &mut [f32]) {
    map(
        x,
        out,
        #[inline(always)]
        |x| x * sigmoid(x),
    );
}

/// `out = x · Φ(x)`.
pub(crate) fn gelu(x: &[f32], out: &mut [f32]) {
    map(x, out, gelu_of);
}

/// `out = x · sigmoid(1.702 · x)`.
pub(crate) fn quick_gelu(x: &[f32], out: &mut [f32]) {
    map(
        x,
        out,
        #[inline(always)]
        |x| x * sigmoid(1.702 * x),
    );
}

/// `out = x + y`.
pub(crate) fn add(x: &[f32], y: &[f32], out: &mut [f32]) {
    let blocks = out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).zip(y.par_chunks(BLOCK));
    blocks.for_each(|((out, x), y)| {
        for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = x + y;
        }
    });
}

/// The first half of each row of `x` times the gelu of the second; rows of `out` have `channels`.
pub(crate) fn geglu(x: &[f32], channels: usize, out: &mut [f32]) {
    if channels == 0 {
        return;
    }
    let rows = BLOCK.checked_div(channels).unwrap_or(1).max(1);
    out.par_chunks_mut(rows * channels).zip(x.par_chunks(2 * rows * channels)).for_each(
        |(out, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(2 * channels))
                    {
                        let (hidden, gate) = x.split_at(channels);
                        for ((out, hidden), gate) in out.iter_mut().zip(hidden).zip(gate) {
                            *out = hidden * gelu_of(*gate);
                        }
                    }
                },
            );
        },
    );
}

fn map(x: &[f32], out: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = function(x);
                }
            },
        );
    });
}
