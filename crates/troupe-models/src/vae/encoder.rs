//! The encoder of the autoencoder: a picture to latents of the UNet's space.

use candle_core::Tensor;
use troupe_nn::{Conv2d, GroupNorm};

use super::blocks::{DownBlock, MidBlock, conv2d, group_norm};
use super::tiles::{Tiles, in_tiles};
use super::{COLOURS, VaeConfig};
use crate::error::ModelError;
use crate::weights::Weights;

/// The encoder with its weights.
#[derive(Debug)]
pub struct VaeEncoder {
    config: VaeConfig,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    quant_conv: Option<Conv2d>,
}

impl VaeEncoder {
    /// Reads the weights of the encoder, and passes over those of the decoder.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn new(config: VaeConfig, weights: &Weights) -> Result<Self, ModelError> {
        // Mean and logarithm of the variance of each latent.
        let moments = 2 * config.latent_channels;
        let encoder = weights.at("encoder");
        let first = config.block_channels.first().copied().unwrap_or(0);
        let mut down_blocks = Vec::with_capacity(config.block_channels.len());
        let mut inputs = first;
        for (index, &outputs) in config.block_channels.iter().enumerate() {
            let last = index + 1 == config.block_channels.len();
            let weights = encoder.at("down_blocks").at(index);
            down_blocks.push(DownBlock::new(&config, &weights, inputs, outputs, last)?);
            inputs = outputs;
        }
        let quant_conv = config
            .quant_conv
            .then(|| conv2d(&weights.at("quant_conv"), moments, moments, 1))
            .transpose()?;
        Ok(Self {
            conv_in: conv2d(&encoder.at("conv_in"), COLOURS, first, 3)?,
            down_blocks,
            mid_block: MidBlock::new(&config, &encoder.at("mid_block"), inputs)?,
            conv_norm_out: group_norm(&config, &encoder.at("conv_norm_out"), inputs)?,
            conv_out: conv2d(&encoder.at("conv_out"), inputs, moments, 3)?,
            quant_conv,
            config,
        })
    }

    /// Encodes a picture, whose values lie in `[-1, 1]`, to the most likely latents of the UNet's
    /// space: the mean of the distribution, diffusers' `latent_dist.mode()`.
    ///
    /// Shape `(batch, height, width, 3)` → `(batch, height / pixels, width / pixels, latent
    /// channels)` with [`VaeConfig::pixels_per_latent`], by which both sides must be divisible.
    ///
    /// # Errors
    ///
    /// If the picture has another shape or is empty.
    pub fn encode(&self, picture: &Tensor) -> Result<Tensor, ModelError> {
        self.checked(picture)?;
        self.to_unet(&self.means(picture)?)
    }

    /// As [`encode`](Self::encode), a tile at a time, which bounds the memory: diffusers' `tiled_encode`.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_tiled(&self, picture: &Tensor, tiles: Tiles) -> Result<Tensor, ModelError> {
        self.checked(picture)?;
        let pixels = self.config.pixels_per_latent();
        let (side, fine) = (tiles.latents() * pixels, tiles.latents());
        let means = in_tiles(picture, side, fine, |tile| self.means(tile))?;
        self.to_unet(&means)
    }

    fn checked(&self, picture: &Tensor) -> Result<(), ModelError> {
        let pixels = self.config.pixels_per_latent();
        let sound = match *picture.dims() {
            [_, height, width, COLOURS] => {
                height.is_multiple_of(pixels) && width.is_multiple_of(pixels)
            }
            _ => false,
        };
        if !sound || picture.elem_count() == 0 {
            return Err(ModelError::Input {
                what: "shape of the picture",
                wanted: format!("(batch, height, width, {COLOURS}) with multiples of {pixels}"),
                found: format!("{:?}", picture.dims()),
            });
        }
        Ok(())
    }

    /// Shape `(batch, height, width, 3)` → `(batch, height / pixels, width / pixels, latent channels)`.
    fn means(&self, picture: &Tensor) -> Result<Tensor, ModelError> {
        let mut x = self.conv_in.forward(picture)?;
        for block in &self.down_blocks {
            x = block.forward(x)?;
        }
        x = self.mid_block.forward(x)?;
        x = self.conv_out.forward(&self.conv_norm_out.forward_silu(&x)?)?;
        if let Some(conv) = &self.quant_conv {
            x = conv.forward(&x)?;
        }
        Ok(x.narrow(3, 0, self.config.latent_channels)?.contiguous()?)
    }

    fn to_unet(&self, means: &Tensor) -> Result<Tensor, ModelError> {
        let (scale, shift) = (self.config.scaling_factor, self.config.shift_factor);
        Ok(means.affine(scale, -shift * scale)?)
    }
}
