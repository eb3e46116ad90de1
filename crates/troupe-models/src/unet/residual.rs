//! The residual block that is told the timestep: `ResnetBlock2D` in diffusers.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_nn::{Conv2d, GroupNorm, Linear, add};

use super::{
    UNetError,
    bound::{Bound, Masks},
    build,
    config::UNetConfig,
};
use crate::weights::Weights;

/// Two convolutions, and what goes around them (He et al. 2016, arXiv:1603.05027).
#[derive(Debug)]
pub(super) struct ResidualBlock {
    norm1: Arc<GroupNorm>,
    conv1: Bound<Conv2d>,
    time_emb_proj: Bound<Linear>,
    norm2: Arc<GroupNorm>,
    conv2: Bound<Conv2d>,
    /// Where the channels change.
    conv_shortcut: Option<Bound<Conv2d>>,
}

impl ResidualBlock {
    pub(super) fn new(
        config: &UNetConfig,
        [inputs, outputs]: [usize; 2],
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        let time = config.time_embedding_dim();
        let conv_shortcut = if inputs == outputs {
            None
        } else {
            Some(build::bound_conv2d(&weights.at("conv_shortcut"), [inputs, outputs], 1, 1, 0)?)
        };
        Ok(Self {
            norm1: build::group_norm(&weights.at("norm1"), inputs, groups, eps)?,
            conv1: build::bound_conv2d(&weights.at("conv1"), [inputs, outputs], 3, 1, 1)?,
            time_emb_proj: build::bound_linear(&weights.at("time_emb_proj"), [time, outputs])?,
            norm2: build::group_norm(&weights.at("norm2"), outputs, groups, eps)?,
            conv2: build::bound_conv2d(&weights.at("conv2"), [outputs, outputs], 3, 1, 1)?,
            conv_shortcut,
        })
    }

    /// `embedding` is that of the timestep, after silu: `(1, time_embedding_dim)`, or a row for each of the batch.
    ///
    /// Shape `(batch, height, width, in)` → `(batch, height, width, out)`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        masks: Masks<'_>,
    ) -> Result<Tensor, UNetError> {
        let shifts = self.time_emb_proj.spread(embedding, masks)?;
        let normed = self.norm1.forward_silu(x)?;
        let hidden = self.conv1.forward_spread(&normed, &shifts, masks)?;
        let hidden = self.conv2.forward(&self.norm2.forward_silu(&hidden)?, masks)?;
        match &self.conv_shortcut {
            Some(conv_shortcut) => Ok(add(&conv_shortcut.forward(x, masks)?, &hidden)?),
            None => Ok(add(x, &hidden)?),
        }
    }
}
