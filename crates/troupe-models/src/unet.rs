//! The denoising network of Stable Diffusion 1.x, 2.x and XL: `UNet2DConditionModel` in diffusers.
//!
//! A UNet (Ronneberger et al. 2015, arXiv:1505.04597) of residual blocks that are told the
//! timestep, and transformers that are told the prompt (Rombach et al. 2022, arXiv:2112.10752).
//! Level `i` works on feature maps of a `2ⁱ`-th of the latents' sides.
//!
//! Prompts go in through [`UNet::prepare`], which computes what depends on them and not on the
//! step: the keys and values of every cross-attention, and the weights of the regions on every
//! level. [`UNet::forward`] then runs one step for all rows of a batch in one pass.

mod block;
mod bound;
mod build;
mod conditioning;
mod config;
mod placement;
mod probe;
mod residual;
mod time;
mod transformer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::Tensor;
use troupe_core::region::TokenGrid;
use troupe_nn::{Conv2d, GroupNorm, NnError, silu};

use self::block::{DownBlock, MidBlock, UpBlock};
use self::bound::Bound;
pub use self::conditioning::{Added, Conditioning, Isolation, PreparedContext};
pub use self::config::{Addition, Downsampling, Level, UNetConfig, UNetConfigError};
pub use self::placement::Mixing;
pub use self::probe::{Listened, Probe, Shares, Wanted};
use self::time::{AddedEmbedding, TimeEmbedding};
use crate::weights::{Weights, WeightsError};

/// A UNet with its weights.
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    conv_in: Bound<Conv2d>,
    time_embedding: TimeEmbedding,
    added_embedding: Option<AddedEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: Arc<GroupNorm>,
    conv_out: Bound<Conv2d>,
}

/// Where in a UNet a feature map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Behind the first convolution.
    ConvIn,
    /// Behind a down block, counted from the largest level.
    Down(usize),
    /// Behind the middle block.
    Mid,
    /// Behind an up block, counted from the smallest level.
    Up(usize),
}

/// Why a UNet can't be built or run.
#[derive(Debug, thiserror::Error)]
pub enum UNetError {
    /// A tensor is missing, or isn't what the configuration says.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer refused its weights or its input.
    #[error(transparent)]
    Layer(#[from] NnError),
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The latents don't have the shape that the network and the prepared context want.
    #[error("the latents have shape {found:?}, and {wanted:?} was wanted")]
    Latents {
        /// The wanted shape: batch, height, width, channels.
        wanted: Vec<usize>,
        /// The shape that was there.
        found: Vec<usize>,
    },
    /// An encoded prompt has the wrong shape.
    #[error("an encoded prompt has shape {found:?}, and (tokens, {width}) was wanted")]
    Prompt {
        /// The width that the network wants.
        width: usize,
        /// The shape that was there.
        found: Vec<usize>,
    },
    /// A pooled text has the wrong shape.
    #[error("a pooled text has shape {found:?}, and ({width},) was wanted")]
    Pooled {
        /// The width that the network wants.
        width: usize,
        /// The shape that was there.
        found: Vec<usize>,
    },
    /// The network is told something beside the timestep and wasn't, or the other way round.
    #[error("{found} pooled texts were given, and this UNet wants {wanted}")]
    Added {
        /// How many the network wants.
        wanted: usize,
        /// How many there were.
        found: usize,
    },
    /// The prompts of regions don't match the boxes.
    #[error("{prompts} prompts were given for {boxes} regions")]
    Regions {
        /// How many prompts there were.
        prompts: usize,
        /// How many boxes there were.
        boxes: usize,
    },
    /// The latents are too small for the deepest level.
    #[error("latents of {height} x {width} are too small to be halved {halvings} times")]
    TooSmall {
        /// Rows of the latents.
        height: usize,
        /// Columns of the latents.
        width: usize,
        /// How often the network halves them.
        halvings: usize,
    },
    /// Weights of regions are of other levels or tokens than the latents'.
    #[error("the weights of the regions are of other levels or tokens than the latents' are")]
    Maps,
    /// The context was prepared by another network.
    #[error("the context was prepared for a UNet with other cross-attention layers")]
    ForeignContext,
}

impl UNet {
    /// Builds the network of `config`; the weights have the names of diffusers.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn new(config: UNetConfig, weights: &Weights) -> Result<Self, UNetError> {
        let first = config.levels.first().map_or(0, |level| level.channels);
        let count = config.levels.len();
        let mut attentions = 0;
        let mut down_blocks = Vec::with_capacity(count);
        for level in 0..count {
            let weights = weights.at("down_blocks").at(level);
            down_blocks.push(DownBlock::new(&config, level, &mut attentions, &weights)?);
        }
        let mid_block = MidBlock::new(&config, &mut attentions, &weights.at("mid_block"))?;
        let mut up_blocks = Vec::with_capacity(count);
        for block in 0..count {
            let weights = weights.at("up_blocks").at(block);
            let level = count - 1 - block;
            up_blocks.push(UpBlock::new(&config, level, &mut attentions, &weights)?);
        }
        Ok(Self {
            conv_in: build::bound_conv2d(
                &weights.at("conv_in"),
                [config.in_channels, first],
                3,
                1,
                1,
            )?,
            time_embedding: TimeEmbedding::new(&config, weights)?,
            added_embedding: AddedEmbedding::new(&config, weights)?,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: build::group_norm(
                &weights.at("conv_norm_out"),
                first,
                config.norm_num_groups,
                config.norm_eps,
            )?,
            conv_out: build::bound_conv2d(
                &weights.at("conv_out"),
                [first, config.out_channels],
                3,
                1,
                1,
            )?,
            config,
        })
    }

    /// The architecture.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The model's output for one step: noise, velocity or sample, whatever it was trained for.
    ///
    /// `timestep` counts from 0, the least noise, to the number of training steps.
    /// Shape `(batch, height, width, in_channels)` → `(batch, height, width, out_channels)`.
    ///
    /// # Errors
    ///
    /// If the latents aren't those that `context` was prepared for.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        self.forward_observed(latents, timestep, context, isolation, &mut |_, _| {})
    }

    /// [`forward`](Self::forward), and shows each block's output to `observe`.
    ///
    /// Shape `(batch, height, width, in_channels)` → `(batch, height, width, out_channels)`.
    ///
    /// # Errors
    ///
    /// If the latents aren't those that `context` was prepared for.
    pub fn forward_observed(
        &self,
        latents: &Tensor,
        timestep: f64,
        context: &PreparedContext,
        isolation: Isolation,
        observe: &mut dyn FnMut(Stage, &Tensor),
    ) -> Result<Tensor, UNetError> {
        let TokenGrid { height, width } = context.latents();
        let wanted = vec![context.rows(), height, width, self.config.in_channels];
        if latents.dims() != wanted {
            return Err(UNetError::Latents { wanted, found: latents.dims().to_vec() });
        }
        // Every residual block begins its part with silu; the embedding is the same for all.
        let embedding = silu(&context.add_to(self.time_embedding.forward(timestep)?)?)?;

        let mut x = self.conv_in.forward(latents, context.masks(0))?;
        observe(Stage::ConvIn, &x);
        let mut skips = vec![x.clone()];
        for (index, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(&x, &embedding, context, isolation, &mut skips)?;
            observe(Stage::Down(index), &x);
        }
        x = self.mid_block.forward(&x, &embedding, context, isolation)?;
        observe(Stage::Mid, &x);
        for (index, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x, &embedding, context, isolation, &mut skips)?;
            observe(Stage::Up(index), &x);
        }
        let x = self.conv_norm_out.forward_silu(&x)?;
        self.conv_out.forward(&x, context.masks(0))
    }

    /// Computes what depends on the prompts only, for latents of `height` rows and `width` columns.
    ///
    /// `rows` are the rows of the batch, for instance the negative prompt and the prompt.
    /// `regions` are the boxes of those that are [`Conditioning::Regional`], and say which tokens
    /// are isolated from one another, in all rows. `added` is one for each row where the network
    /// has an [`Addition`], and empty where it has none. `bound` are for each region the LoRAs of its
    /// subject, by their numbers in [`Weights::with_bound`]; empty if there are none.
    ///
    /// # Errors
    ///
    /// If a prompt isn't `(tokens, cross_attention_dim)`, a row hasn't as many region prompts as
    /// there are boxes, what is added doesn't fit, or the latents are too small.
    pub fn prepare(
        &self,
        rows: &[Conditioning],
        added: &[Added],
        regions: Option<&troupe_core::region::Regions>,
        bound: &[Vec<usize>],
        latents: TokenGrid,
    ) -> Result<PreparedContext, UNetError> {
        let mut layers = Vec::new();
        for block in &self.down_blocks {
            block.cross_attentions(&mut layers);
        }
        self.mid_block.cross_attentions(&mut layers);
        for block in &self.up_blocks {
            block.cross_attentions(&mut layers);
        }
        let wanted = if self.added_embedding.is_some() { rows.len() } else { 0 };
        if added.len() != wanted {
            return Err(UNetError::Added { wanted, found: added.len() });
        }
        let added =
            self.added_embedding.as_ref().map(|layers| layers.forward(added)).transpose()?;
        PreparedContext::new(&self.config, &layers, rows, regions, bound, latents, added)
    }
}
