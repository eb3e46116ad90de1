//! Down, middle and up blocks: residual blocks, transformers between them, and a change of size.

use candle_core::Tensor;
use troupe_nn::{Conv2d, Padding, upsample_nearest};

use super::{
    UNetError,
    bound::Bound,
    build,
    conditioning::{Isolation, PreparedContext},
    config::{Downsampling, UNetConfig},
    residual::ResidualBlock,
    transformer::{CrossAttention, Transformer},
};
use crate::weights::Weights;

/// `DownBlock2D` or `CrossAttnDownBlock2D`.
#[derive(Debug)]
pub(super) struct DownBlock {
    level: usize,
    layers: Vec<BlockLayer>,
    /// Halves the image; the last block doesn't.
    downsampler: Option<Bound<Conv2d>>,
}

/// `UNetMidBlock2DCrossAttn`.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: BlockLayer,
    last: ResidualBlock,
    level: usize,
}

/// `UpBlock2D` or `CrossAttnUpBlock2D`.
#[derive(Debug)]
pub(super) struct UpBlock {
    level: usize,
    layers: Vec<BlockLayer>,
    /// Follows the doubling of the image; the last block has none.
    upsampler: Option<Bound<Conv2d>>,
}

/// A residual block, and a transformer where the block attends to the prompt.
#[derive(Debug)]
struct BlockLayer {
    level: usize,
    residual: ResidualBlock,
    transformer: Option<Transformer>,
}

/// Where in a network a layer of a block is.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    /// Counted in the block.
    layer: usize,
    /// Whether the block attends to the prompt.
    attends: bool,
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
            let place = Place { level, layer, attends: of_level.down_attends };
            let sizes = [inputs, channels];
            layers.push(BlockLayer::new(config, sizes, place, attentions, weights)?);
            inputs = channels;
        }
        let downsampler = if level + 1 < config.levels.len() {
            let padding = match config.downsampling {
                Downsampling::AllSides => Padding::from(1),
                Downsampling::RightAndBottom => Padding::RIGHT_AND_BOTTOM,
            };
            let weights = weights.at("downsamplers").at(0).at("conv");
            Some(build::bound_conv2d(&weights, [channels, channels], 3, 2, padding)?)
        } else {
            None
        };
        Ok(Self { level, layers, downsampler })
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
            x = downsampler.forward(&x, context.masks(self.level + 1))?;
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
        let place = Place { level, layer: 0, attends: true };
        Ok(Self {
            first: BlockLayer::new(config, sizes, place, attentions, weights)?,
            last: ResidualBlock::new(config, sizes, &weights.at("resnets").at(1))?,
            level,
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
        self.last.forward(&x, embedding, context.masks(self.level))
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
            let place = Place { level, layer, attends: of_level.up_attends };
            let sizes = [hidden + skip, channels];
            layers.push(BlockLayer::new(config, sizes, place, attentions, weights)?);
        }
        let upsampler = if level == 0 {
            None
        } else {
            let weights = weights.at("upsamplers").at(0).at("conv");
            Some(build::bound_conv2d(&weights, [channels, channels], 3, 1, 1)?)
        };
        Ok(Self { level, layers, upsampler })
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
            let above = context.masks(self.level.saturating_sub(1));
            x = upsampler.forward(&upsample_nearest(&x, height, width)?, above)?;
        }
        Ok(x)
    }

    pub(super) fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        self.layers.iter().for_each(|layer| layer.cross_attentions(layers));
    }
}

impl BlockLayer {
    fn new(
        config: &UNetConfig,
        sizes: [usize; 2],
        Place { level, layer, attends }: Place,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let residual = ResidualBlock::new(config, sizes, &weights.at("resnets").at(layer))?;
        let transformer = if attends {
            let weights = weights.at("attentions").at(layer);
            Some(Transformer::new(config, level, attentions, &weights)?)
        } else {
            None
        };
        Ok(Self { level, residual, transformer })
    }

    /// Shape `(batch, height, width, in)` → `(batch, height, width, out)`.
    fn forward(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        let x = self.residual.forward(x, embedding, context.masks(self.level))?;
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
