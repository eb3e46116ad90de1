//! Layers from weights by their names in a checkpoint; what weights remember of them is taken as it is.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_nn::{Conv2d, GroupNorm, LayerNorm, Linear, Padding};

use super::UNetError;
use super::bound::{Bound, Change, Kind};
use crate::weights::{BoundUpdate, Weights};

/// A matrix `weight` and a `bias`.
pub(super) fn linear(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
) -> Result<Arc<Linear>, UNetError> {
    weights.made(|| {
        let weight = weights.stored("weight", &[outputs, inputs])?;
        Ok(Linear::new(weight, Some(weights.get("bias", &[outputs])?))?)
    })
}

/// A square kernel `weight` and a `bias`.
pub(super) fn conv2d(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<Arc<Conv2d>, UNetError> {
    weights.made(|| {
        let weight = weights.stored("weight", &[outputs, inputs, kernel, kernel])?;
        Ok(Conv2d::new(weight, Some(weights.get("bias", &[outputs])?), stride, padding)?)
    })
}

/// A matrix `weight` and a `bias`, with what bound LoRAs do to it.
pub(super) fn bound_linear(
    weights: &Weights,
    sizes: [usize; 2],
) -> Result<Bound<Linear>, UNetError> {
    let bias = weights.get("bias", &[sizes[1]])?;
    matrix(weights, sizes, Some(&bias), &[])
}

/// A matrix `weight`, with what bound LoRAs do to it.
pub(super) fn bound_linear_without_bias(
    weights: &Weights,
    sizes: [usize; 2],
) -> Result<Bound<Linear>, UNetError> {
    matrix(weights, sizes, None, &[])
}

/// A convolution of one pixel as a matrix, with what bound LoRAs do to it.
pub(super) fn bound_pointwise(
    weights: &Weights,
    sizes: [usize; 2],
) -> Result<Bound<Linear>, UNetError> {
    let bias = weights.get("bias", &[sizes[1]])?;
    matrix(weights, sizes, Some(&bias), &[1, 1])
}

/// `kernel` is how the file has it beyond the matrix.
fn matrix(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
    bias: Option<&Tensor>,
    kernel: &[usize],
) -> Result<Bound<Linear>, UNetError> {
    let shape = [&[outputs, inputs], kernel].concat();
    let matrix = |weight: &Tensor| weight.reshape((weight.dims()[0], inputs));
    let layer = weights.made(|| {
        let weight = matrix(&weights.stored("weight", &shape)?)?;
        Ok::<_, UNetError>(Linear::new(weight, bias.cloned())?)
    })?;
    let mut changes = Vec::new();
    for (lora, update) in weights.bound("weight", &shape)? {
        let kind = match update {
            BoundUpdate::LowRank { down, up } => Kind::LowRank {
                down: Linear::new(matrix(&down)?, None)?,
                up: Linear::new(up, None)?,
            },
            BoundUpdate::Merged(weight) => {
                Kind::Merged(Linear::new(matrix(&weight)?, bias.cloned())?)
            }
        };
        changes.push(Change { lora, kind });
    }
    Ok(Bound::new(layer, changes))
}

/// A square kernel `weight` and a `bias`, with what bound LoRAs do to it.
pub(super) fn bound_conv2d(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<Bound<Conv2d>, UNetError> {
    let padding = padding.into();
    let layer = conv2d(weights, [inputs, outputs], kernel, stride, padding)?;
    let mut changes = Vec::new();
    for (lora, update) in weights.bound("weight", &[outputs, inputs, kernel, kernel])? {
        let kind = match update {
            BoundUpdate::LowRank { down, up } => {
                let rank = up.dims()[1];
                let up = up.reshape((outputs, rank, 1, 1))?;
                Kind::LowRank {
                    down: Conv2d::new(down, None, stride, padding)?,
                    up: Conv2d::new(up, None, 1, 0)?,
                }
            }
            BoundUpdate::Merged(weight) => {
                let bias = weights.get("bias", &[outputs])?;
                Kind::Merged(Conv2d::new(weight, Some(bias), stride, padding)?)
            }
        };
        changes.push(Change { lora, kind });
    }
    Ok(Bound::new(layer, changes))
}

/// A group norm with `weight` and `bias`.
pub(super) fn group_norm(
    weights: &Weights,
    channels: usize,
    groups: usize,
    eps: f64,
) -> Result<Arc<GroupNorm>, UNetError> {
    weights.made(|| {
        let weight = weights.get("weight", &[channels])?;
        Ok(GroupNorm::new(weight, weights.get("bias", &[channels])?, groups, eps)?)
    })
}

/// A layer norm with `weight` and `bias`.
pub(super) fn layer_norm(weights: &Weights, channels: usize) -> Result<Arc<LayerNorm>, UNetError> {
    weights.made(|| {
        let weight = weights.get("weight", &[channels])?;
        // 1e-5 is the default of PyTorch, which diffusers leaves as it is.
        Ok(LayerNorm::new(weight, weights.get("bias", &[channels])?, 1e-5)?)
    })
}
