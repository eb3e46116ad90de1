//! Group and layer normalisation.
//!
//! Means come before variances, in a pass of their own: activations of a trained network have
//! means far from zero, where the mean square minus the squared mean loses its digits.

use rayon::prelude::*;

use super::{elementwise::sigmoid, vectorised::vectorised};
use crate::kernels::{Activation, GroupNormShape};

/// Tokens that are summed in single precision before the sum goes into a double.
const TOKENS: usize = 64;

/// Lanes of a sum.
const LANES: usize = 16;

/// Group normalisation; see [`Kernels::group_norm`](crate::Kernels::group_norm).
pub(super) fn group_norm(
    x: &[f32],
    shape: GroupNormShape,
    [weight, bias]: [&[f32]; 2],
    activation: Activation,
    out: &mut [f32],
) {
    let GroupNormShape { tokens, channels, groups, eps, .. } = shape;
    let image = tokens * channels;
    if image == 0 {
        return;
    }
    let of_group = channels.checked_div(groups).unwrap_or(channels);
    let count = to_f64(of_group * tokens);
    let of_groups = |sums: &[f64]| -> Vec<f32> {
        let means = sums.chunks_exact(of_group).map(|sums| sums.iter().sum::<f64>() / count);
        means.flat_map(|mean| std::iter::repeat_n(to_f32(mean), of_group)).collect()
    };
    for (x, out) in x.chunks_exact(image).zip(out.chunks_exact_mut(image)) {
        let zeros = vec![0.0; channels];
        // Means of the groups, one a channel, then variances.
        let mean = of_groups(&channel_sums(x, &zeros, Power::First));
        let variance = of_groups(&channel_sums(x, &mean, Power::Second));
        let scale: Vec<f32> = weight
            .iter()
            .zip(variance)
            .map(|(weight, variance)| {
                to_f32(f64::from(*weight) / (f64::from(variance) + eps).sqrt())
            })
            .collect();
        out.par_chunks_mut(TOKENS * channels).zip(x.par_chunks(TOKENS * channels)).for_each(
            |(out, x)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels))
                        {
                            let parameters = mean.iter().zip(&scale).zip(bias);
                            let normalised = x.iter().zip(parameters);
                            match activation {
                                Activation::Identity => {
                                    for (out, (x, ((mean, scale), bias))) in
                                        out.iter_mut().zip(normalised)
                                    {
                                        *out = (x - mean).mul_add(*scale, *bias);
                                    }
                                }
                                Activation::Silu => {
                                    for (out, (x, ((mean, scale), bias))) in
                                        out.iter_mut().zip(normalised)
                                    {
                                        let y = (x - mean).mul_add(*scale, *bias);
                                        *out = y * sigmoid(y);
                                    }
                                }
                            }
                        }
                    },
                );
            },
        );
    }
}

#[derive(Clone, Copy)]
enum Power {
    First,
    Second,
}

/// The sum over the tokens of `x − shift`, or of its square, for each channel.
fn channel_sums(x: &[f32], shift: &[f32], power: Power) -> Vec<f64> {
    let channels = shift.len();
    let partial: Vec<Vec<f32>> = x
        .par_chunks(TOKENS * channels)
        .map(|x| {
            let mut sums = vec![0.0; channels];
            vectorised(
                #[inline(always)]
                || {
                    for token in x.chunks_exact(channels) {
                        for ((sum, x), shift) in sums.iter_mut().zip(token).zip(shift) {
                            let centred = x - shift;
                            *sum += match power {
                                Power::First => centred,
                                Power::Second => centred * centred,
                            };
                        }
                    }
                },
            );
            sums
        })
        .collect();
    let mut sums = vec![0.0; channels];
    for partial in partial {
        for (sum, partial) in sums.iter_mut().zip(partial) {
            *sum += f64::from(partial);
        }
    }
    sums
}

/// Layer normalisation of rows as long as `weight`.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, out: &mut [f32]) {
    let channels = weight.len();
    if channels == 0 {
        return;
    }
    let count = to_f32(to_f64(channels));
    let eps = to_f32(eps);
    out.par_chunks_mut(TOKENS * channels).zip(x.par_chunks(TOKENS * channels)).for_each(
        |(out, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                        let mean = sum(
                            x,
                            #[inline(always)]
                            |x| x,
                        ) / count;
                        let variance = sum(
                            x,
                            #[inline(always)]
                            |x| (x - mean) * (x - mean),
                        ) / count;
                        let scale = 1.0 / (variance + eps).sqrt();
                        let parameters = weight.iter().zip(bias);
                        for ((out, x), (weight, bias)) in out.iter_mut().zip(x).zip(parameters) {
                            *out = ((x - mean) * scale).mul_add(*weight, *bias);
                        }
                    }
                },
            );
        },
    );
}

/// The sum of a function of each element, in lanes that vector registers can hold.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for its caller's instruction set")]
pub(super) fn sum(x: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += function(x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| function(x)).sum::<f32>()
}

#[expect(clippy::cast_possible_truncation, reason = "the precision of the layers")]
fn to_f32(x: f64) -> f32 {
    x as f32
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2⁵³")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
