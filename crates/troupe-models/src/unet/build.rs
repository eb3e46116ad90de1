//! Layers from weights by their names in a checkpoint.

use troupe_nn::{Conv2d, GroupNorm, LayerNorm, Linear, Padding};

use super::UNetError;
use crate::weights::Weights;

/// A matrix `weight` and a `bias`.
pub(super) fn linear(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
) -> Result<Linear, UNetError> {
    let weight = weights.get("weight", &[outputs, inputs])?;
    Ok(Linear::new(weight, Some(weights.get("bias", &[outputs])?))?)
}

/// A matrix `weight`.
pub(super) fn linear_without_bias(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
) -> Result<Linear, UNetError> {
    Ok(Linear::new(weights.get("weight", &[outputs, inputs])?, None)?)
}

/// A square kernel `weight` and a `bias`.
pub(super) fn conv2d(
    weights: &Weights,
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<Conv2d, UNetError> {
    let weight = weights.get("weight", &[outputs, inputs, kernel, kernel])?;
    Ok(Conv2d::new(weight, Some(weights.get("bias", &[outputs])?), stride, padding)?)
}

/// A group norm with `weight` and `bias`.
pub(super) fn group_norm(
    weights: &Weights,
    channels: usize,
    groups: usize,
    eps: f64,
) -> Result<GroupNorm, UNetError> {
    let weight = weights.get("weight", &[channels])?;
    Ok(GroupNorm::new(weight, weights.get("bias", &[channels])?, groups, eps)?)
}

/// A layer norm with `weight` and `bias`.
pub(super) fn layer_norm(weights: &Weights, channels: usize) -> Result<LayerNorm, UNetError> {
    let weight = weights.get("weight", &[channels])?;
    // 1e-5 is the default of PyTorch, which diffusers leaves as it is.
    Ok(LayerNorm::new(weight, weights.get("bias", &[channels])?, 1e-5)?)
}
