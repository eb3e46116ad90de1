//! Down, middle and up blocks: residual blocks, transformers between them, and a change of size.

use candle_core::Tensor;
use troupe_nn::{Conv2d, Padding, upsample_nearest};

use super::{
    UNetError, build,
    conditioning::{Isolation, PreparedContext},
    config::{Downsampling, UNetConfig},
    residual::ResidualBlock,
    transformer::{CrossAttention, Transformer},
};
use crate::weights::Weights;

/// `DownBlock2D` or `CrossAttnDownBlock2D`.
#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<BlockLayer>,
    /// Halves the image; the last block doesn't.
    downsampler: Option<Conv2d>,
}

/// `UNetMidBlock2DCrossAttn`.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: BlockLayer,
    last: ResidualBlock,
}

/// `UpBlock2D` or `CrossAttnUpBlock2D`.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<BlockLayer>,
    /// Follows the doubling of the image; the last block has none.
    upsampler: Option<Conv2d>,
}

/// A residual block, and a transformer where the block attends to the prompt.
#[derive(Debug)]
struct BlockLayer {
    residual: ResidualBlock,
    transformer: Option<Transformer>,
}

impl DownBlock {
    pub(super) fn new(
        config: &UNetConfig,
        level: usize,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let of_level = config.levels[level];
        let channels = of_level.channels;
        let mut inputs = config.levels[level.saturating_sub(1)].channels;
        let mut layers = Vec::new();
        for layer in 0..of_level.layers {
            let attends = of_level.down_attends.then_some(level);
            let sizes = [inputs, channels];
            layers.push(BlockLayer::new(config, sizes, layer, attends, attentions, weights)?);
            inputs = channels;
        }
        let downsampler = if level + 1 < config.levels.len() {
            let padding = match config.downsampling {
                Downsampling::AllSides => Padding::from(1),
                Downsampling::RightAndBottom => Padding::RIGHT_AND_BOTTOM,
            };
            let weights = weights.at("downsamplers").at(0).at("conv");
            Some(build::conv2d(&weights, [channels, channels], 3, 2, padding)?)
        } else {
            None
        };
        Ok(Self { layers, downsampler })
    }

    /// Leaves what the up block on the same level needs on `skips`.
    ///
    /// Shape `(batch, height, width, in)` → `(batch, height / 2, width / 2, out)`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor, UNetError> {
        let mut x = x.clone();
        for layer in &self.layers {
            x = layer.forward(&x, embedding, context, isolation)?;
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }

    pub(super) fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        self.layers.iter().for_each(|layer| layer.cross_attentions(layers));
    }
}

impl MidBlock {
    pub(super) fn new(
        config: &UNetConfig,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let level = config.levels.len() - 1;
        let sizes = [config.levels[level].channels; 2];
        Ok(Self {
            first: BlockLayer::new(config, sizes, 0, Some(level), attentions, weights)?,
            last: ResidualBlock::new(config, sizes, &weights.at("resnets").at(1))?,
        })
    }

    /// Shape `(batch, height, width, channels)` → the same.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        let x = self.first.forward(x, embedding, context, isolation)?;
        self.last.forward(&x, embedding)
    }

    pub(super) fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        self.first.cross_attentions(layers);
    }
}

impl UpBlock {
    pub(super) fn new(
        config: &UNetConfig,
        level: usize,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let of_level = config.levels[level];
        let channels = of_level.channels;
        // Below is the block that came before, above the down block whose output was this one's
        // input on the way down.
        let below = config.levels.get(level + 1).map_or(channels, |level| level.channels);
        let above = config.levels[level.saturating_sub(1)].channels;
        let mut layers = Vec::new();
        for layer in 0..=of_level.layers {
            let hidden = if layer == 0 { below } else { channels };
            let skip = if layer == of_level.layers { above } else { channels };
            let attends = of_level.up_attends.then_some(level);
            let sizes = [hidden + skip, channels];
            layers.push(BlockLayer::new(config, sizes, layer, attends, attentions, weights)?);
        }
        let upsampler = if level == 0 {
            None
        } else {
            let weights = weights.at("upsamplers").at(0).at("conv");
            Some(build::conv2d(&weights, [channels, channels], 3, 1, 1)?)
        };
        Ok(Self { layers, upsampler })
    }

    /// Takes what the down blocks left on `skips`, the last first.
    ///
    /// Shape `(batch, height, width, in)` → `(batch, 2 · height, 2 · width, out)`, or one less
    /// where the skip connections of the next level have odd sides.
    pub(super) fn forward(
        &self,
        mut x: Tensor,
        embedding: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor, UNetError> {
        for layer in &self.layers {
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(&[x, skip], 3)?;
            }
            x = layer.forward(&x, embedding, context, isolation)?;
        }
        if let (Some(upsampler), Some(skip)) = (&self.upsampler, skips.last()) {
            let (_, height, width, _) = skip.dims4()?;
            x = upsampler.forward(&upsample_nearest(&x, height, width)?)?;
        }
        Ok(x)
    }

    pub(super) fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        self.layers.iter().for_each(|layer| layer.cross_attentions(layers));
    }
}

impl BlockLayer {
    /// `attends` is the level of the transformer, if the block has them.
    fn new(
        config: &UNetConfig,
        sizes: [usize; 2],
        layer: usize,
        attends: Option<usize>,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let residual = ResidualBlock::new(config, sizes, &weights.at("resnets").at(layer))?;
        let transformer = attends
            .map(|level| {
                Transformer::new(config, level, attentions, &weights.at("attentions").at(layer))
            })
            .transpose()?;
        Ok(Self { residual, transformer })
    }

    /// Shape `(batch, height, width, in)` → `(batch, height, width, out)`.
    fn forward(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        let x = self.residual.forward(x, embedding)?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&x, context, isolation),
            None => Ok(x),
        }
    }

    fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        if let Some(transformer) = &self.transformer {
            transformer.cross_attentions(layers);
        }
    }
}
