//! Layers of a text encoder from weights by their names; what weights remember of them is taken as it is.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_nn::{LayerNorm, Linear};

use super::ClipConfig;
use crate::error::ModelError;
use crate::weights::{Weights, WeightsError};

/// The rows of an embedding.
pub(super) fn table(weights: &Weights, shape: [usize; 2]) -> Result<Tensor, WeightsError> {
    Ok(Tensor::clone(&*weights.made(|| weights.stored("weight", &shape))?))
}

/// A matrix `weight` and a `bias`.
pub(super) fn linear(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
) -> Result<Arc<Linear>, ModelError> {
    weights.made(|| {
        let bias = weights.get("bias", &[outputs])?;
        Ok(Linear::new(weights.stored("weight", &[outputs, inputs])?, Some(bias))?)
    })
}

/// A layer norm with `weight` and `bias`.
pub(super) fn layer_norm(
    weights: &Weights,
    config: &ClipConfig,
) -> Result<Arc<LayerNorm>, ModelError> {
    let shape = [config.width];
    weights.made(|| {
        let weight = weights.get("weight", &shape)?;
        Ok(LayerNorm::new(weight, weights.get("bias", &shape)?, config.eps)?)
    })
}
