//! Attention in blocks of queries: no more than a block's scores are ever in memory.

use rayon::prelude::*;

use super::{
    elementwise::exp,
    norm::sum,
    product::{Before, View, multiply},
    vectorised::vectorised,
};
use crate::kernels::{AttentionShape, Mask};

/// Scores of a block, if rows allow: 512 KiB.
const SCORES: usize = 128 * 1024;

/// A block has at least this many queries.
const MIN_QUERIES: usize = 16;

/// A block has at most this many queries.
const MAX_QUERIES: usize = 128;

/// Lanes of a maximum.
const LANES: usize = 16;

/// Attention; see [`Kernels::attention`](crate::Kernels::attention).
pub(super) fn attention(
    [query, key, value]: [&[f32]; 3],
    shape: AttentionShape,
    mask: Option<Mask<'_>>,
    out: &mut [f32],
    logarithms: Option<&mut [f32]>,
) {
    let AttentionShape { queries, keys, heads, dim, .. } = shape;
    let channels = heads * dim;
    if queries == 0 || keys == 0 || channels == 0 {
        return;
    }
    // 0 for a token without a group.
    let groups: Vec<usize> = match mask {
        Some(Mask::Groups(groups)) => {
            groups.iter().map(|g| g.map_or(0, |g| g.saturating_add(1))).collect()
        }
        Some(Mask::Causal) | None => Vec::new(),
    };
    let wanted = SCORES.checked_div(keys).unwrap_or(MAX_QUERIES).clamp(MIN_QUERIES, MAX_QUERIES);
    // An even number of blocks, so that two threads have the same work.
    let of_block = queries.div_ceil(queries.div_ceil(wanted).next_multiple_of(2));
    let scale = 1.0 / to_f32(dim).sqrt();

    // Where nobody wants them they are kept all the same: one number a query and head.
    let mut nobodys = Vec::new();
    let logarithms = logarithms.unwrap_or_else(|| {
        nobodys.resize(shape.batch * queries * heads, 0.0);
        &mut nobodys
    });
    let images = out.par_chunks_mut(queries * channels);
    let images = images.zip(logarithms.par_chunks_mut(queries * heads)).enumerate();
    images.for_each(|(image, (out, logarithms))| {
        let query = &query[image * queries * channels..][..queries * channels];
        let key = &key[image * keys * channels..][..keys * channels];
        let value = &value[image * keys * channels..][..keys * channels];
        let blocks = out.par_chunks_mut(of_block * channels);
        let blocks = blocks.zip(logarithms.par_chunks_mut(of_block * heads)).enumerate();
        blocks.for_each(|(block, (out, logarithms))| {
            let from = block * of_block;
            let rows = of_block.min(queries - from);
            let mut scores = vec![0.0; rows * keys];
            let mut sums = vec![0.0; rows];
            for head in (0..channels).step_by(dim) {
                let query = &query[from * channels + head..];
                let query = View::rows(query, rows, dim, channels);
                let key = View::rows(&key[head..], keys, dim, channels);
                multiply(query, key.transposed(), &mut scores, keys, Before::Overwrite);
                vectorised(
                    #[inline(always)]
                    || {
                        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                            let query = from + row;
                            let seen = match mask {
                                Some(Mask::Causal) => query + 1,
                                Some(Mask::Groups(_)) => {
                                    hide_other_groups(scores, groups[query], &groups);
                                    keys
                                }
                                None => keys,
                            };
                            let (scores, later) = scores.split_at_mut(seen);
                            let (sum, maximum) = exponentials(scores, scale);
                            sums[row] = sum;
                            let number = head.checked_div(dim).unwrap_or(0);
                            logarithms[row * heads + number] = scale * maximum + sum.ln();
                            later.fill(0.0);
                        }
                    },
                );
                let value = View::rows(&value[head..], keys, dim, channels);
                let scores = View::rows(&scores, rows, keys, keys);
                multiply(scores, value, &mut out[head..], channels, Before::Overwrite);
                for (row, sum) in out.chunks_exact_mut(channels).zip(&sums) {
                    for x in &mut row[head..head + dim] {
                        *x /= sum;
                    }
                }
            }
        });
    });
}

/// `-∞` where a token of `group` meets one of another group.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
fn hide_other_groups(scores: &mut [f32], group: usize, groups: &[usize]) {
    if group == 0 {
        return;
    }
    for (score, &other) in scores.iter_mut().zip(groups) {
        let hidden = other != 0 && other != group;
        *score = if hidden { f32::NEG_INFINITY } else { *score };
    }
}

/// Replaces each score by `exp(scale · (score − maximum))`; returns their sum, and the maximum.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
fn exponentials(scores: &mut [f32], scale: f32) -> (f32, f32) {
    let larger = |a: f32, b: f32| if a < b { b } else { a };
    let (blocks, rest) = scores.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for (lane, &score) in lanes.iter_mut().zip(block) {
            *lane = larger(*lane, score);
        }
    }
    let maximum = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| larger(max, x));
    for score in scores.iter_mut() {
        *score = exp((*score - maximum) * scale);
    }
    (sum(scores, |x| x), maximum)
}

#[expect(clippy::cast_precision_loss, reason = "channels stay far below 2²⁴")]
fn to_f32(channels: usize) -> f32 {
    channels as f32
}
