//! The blocks of the encoder and the decoder.

use candle_core::Tensor;
use troupe_nn::{Conv2d, GroupNorm, Linear, NnError, Padding, attention, upsample_nearest_2x};

use super::VaeConfig;
use crate::error::ModelError;
use crate::weights::Weights;

/// What is added to a variance; a constant of diffusers' autoencoder, in no configuration.
const EPS: f64 = 1e-6;

/// Two residual blocks at the smallest size, with attention over all of it between them.
#[derive(Debug)]
pub(super) struct MidBlock {
    before: ResnetBlock,
    attention: Option<AttentionBlock>,
    after: ResnetBlock,
}

/// Residual blocks at one size, then twice the size unless it is the last.
#[derive(Debug)]
pub(super) struct UpBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl MidBlock {
    pub(super) fn new(
        config: &VaeConfig,
        weights: &Weights,
        channels: usize,
    ) -> Result<Self, ModelError> {
        let resnet =
            |index| ResnetBlock::new(config, &weights.at("resnets").at(index), channels, channels);
        let attention = weights.at("attentions").at(0);
        let attention =
            config.attention.then(|| AttentionBlock::new(config, &attention, channels)).transpose();
        Ok(Self { before: resnet(0)?, attention: attention?, after: resnet(1)? })
    }

    /// Shape `(batch, height, width, channels)` → the same.
    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, NnError> {
        let mut x = self.before.forward(x)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.after.forward(x)
    }
}

impl UpBlock {
    /// The `last` block keeps its size.
    pub(super) fn new(
        config: &VaeConfig,
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        last: bool,
    ) -> Result<Self, ModelError> {
        // The decoder has one layer more than the encoder, for which the setting is named.
        let resnets = (0..=config.layers_per_block).map(|index| {
            let inputs = if index == 0 { inputs } else { outputs };
            ResnetBlock::new(config, &weights.at("resnets").at(index), inputs, outputs)
        });
        let upsampler = weights.at("upsamplers").at(0).at("conv");
        let upsampler = (!last).then(|| conv2d(&upsampler, outputs, outputs, 3)).transpose();
        Ok(Self { resnets: resnets.collect::<Result<_, _>>()?, upsampler: upsampler? })
    }

    /// Shape `(batch, height, width, inputs)` → `(batch, 2 · height, 2 · width, outputs)`, or the
    /// size that it had.
    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, NnError> {
        let mut x = x;
        for resnet in &self.resnets {
            x = resnet.forward(x)?;
        }
        match &self.upsampler {
            Some(conv) => {
                x = upsample_nearest_2x(&x)?;
                conv.forward(&x)
            }
            None => Ok(x),
        }
    }
}

/// Residual blocks at one size, then half the size unless it is the last.
#[derive(Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResnetBlock>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    /// The `last` block keeps its size.
    pub(super) fn new(
        config: &VaeConfig,
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        last: bool,
    ) -> Result<Self, ModelError> {
        let resnets = (0..config.layers_per_block).map(|index| {
            let inputs = if index == 0 { inputs } else { outputs };
            ResnetBlock::new(config, &weights.at("resnets").at(index), inputs, outputs)
        });
        let resnets = resnets.collect::<Result<_, _>>()?;
        let downsampler = if last {
            None
        } else {
            let weights = weights.at("downsamplers").at(0).at("conv");
            let weight = weights.stored("weight", &[outputs, outputs, 3, 3])?;
            let bias = weights.get("bias", &[outputs])?;
            Some(Conv2d::new(weight, Some(bias), 2, Padding::RIGHT_AND_BOTTOM)?)
        };
        Ok(Self { resnets, downsampler })
    }

    /// Shape `(batch, height, width, inputs)` → `(batch, height / 2, width / 2, outputs)`, or the
    /// size that it had.
    pub(super) fn forward(&self, x: Tensor) -> Result<Tensor, NnError> {
        let mut x = x;
        for resnet in &self.resnets {
            x = resnet.forward(x)?;
        }
        match &self.downsampler {
            Some(conv) => conv.forward(&x),
            None => Ok(x),
        }
    }
}

/// A residual block (He et al. 2016, arXiv:1512.03385) with the norms in front.
#[derive(Debug)]
struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    fn new(
        config: &VaeConfig,
        weights: &Weights,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, ModelError> {
        let conv_shortcut = (inputs != outputs)
            .then(|| conv2d(&weights.at("conv_shortcut"), inputs, outputs, 1))
            .transpose()?;
        Ok(Self {
            norm1: group_norm(config, &weights.at("norm1"), inputs)?,
            conv1: conv2d(&weights.at("conv1"), inputs, outputs, 3)?,
            norm2: group_norm(config, &weights.at("norm2"), outputs)?,
            conv2: conv2d(&weights.at("conv2"), outputs, outputs, 3)?,
            conv_shortcut,
        })
    }

    /// Shape `(batch, height, width, inputs)` → `(batch, height, width, outputs)`.
    fn forward(&self, x: Tensor) -> Result<Tensor, NnError> {
        // Each step's input is dropped at once: at full size each has hundreds of megabytes.
        let hidden = self.norm1.forward_silu(&x)?;
        let hidden = self.conv1.forward(&hidden)?;
        let hidden = self.norm2.forward_silu(&hidden)?;
        let hidden = self.conv2.forward(&hidden)?;
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(&x)?,
            None => x,
        };
        Ok((shortcut + hidden)?)
    }
}

/// Attention with a single head over all pixels, added to its input.
#[derive(Debug)]
struct AttentionBlock {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl AttentionBlock {
    /// The names are those of diffusers since 0.18, or the older ones, which the files of SD 1.x
    /// have to this day.
    fn new(config: &VaeConfig, weights: &Weights, channels: usize) -> Result<Self, ModelError> {
        let names = if weights.contains("proj_attn.weight") {
            ["query", "key", "value", "proj_attn"]
        } else {
            ["to_q", "to_k", "to_v", "to_out.0"]
        };
        let [to_q, to_k, to_v, to_out] = names.map(|name| {
            let weights = weights.at(name);
            let bias = weights.get("bias", &[channels])?;
            Ok::<_, ModelError>(Linear::new(
                weights.stored("weight", &[channels, channels])?,
                Some(bias),
            )?)
        });
        Ok(Self {
            group_norm: group_norm(config, &weights.at("group_norm"), channels)?,
            to_q: to_q?,
            to_k: to_k?,
            to_v: to_v?,
            to_out: to_out?,
        })
    }

    /// Shape `(batch, height, width, channels)` → the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = x.reshape((batch, height * width, channels))?;
        let normed = self.group_norm.forward(&tokens)?;
        let query = self.to_q.forward(&normed)?;
        let key = self.to_k.forward(&normed)?;
        let value = self.to_v.forward(&normed)?;
        let attended = attention(&query, &key, &value, 1, None)?;
        let out = (tokens + self.to_out.forward(&attended)?)?;
        Ok(out.reshape((batch, height, width, channels))?)
    }
}

/// A convolution that keeps the size: padding is half of the kernel's side.
pub(super) fn conv2d(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
    kernel: usize,
) -> Result<Conv2d, ModelError> {
    let bias = weights.get("bias", &[outputs])?;
    let weight = weights.stored("weight", &[outputs, inputs, kernel, kernel])?;
    Ok(Conv2d::new(weight, Some(bias), 1, kernel >> 1)?)
}

pub(super) fn group_norm(
    config: &VaeConfig,
    weights: &Weights,
    channels: usize,
) -> Result<GroupNorm, ModelError> {
    let (weight, bias) = (weights.get("weight", &[channels])?, weights.get("bias", &[channels])?);
    Ok(GroupNorm::new(weight, bias, config.groups, EPS)?)
}
