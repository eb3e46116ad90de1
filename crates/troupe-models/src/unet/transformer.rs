//! The transformer that is told the prompt: `Transformer2DModel` in diffusers.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_nn::{GroupNorm, LayerNorm, Linear, Mask, add, attention, geglu};

use super::{
    UNetError,
    bound::{Bound, Masks},
    build,
    conditioning::{Isolation, PreparedContext},
    config::{Level, UNetConfig},
    probe::Probe,
};
use crate::weights::Weights;

/// Transformer blocks over the tokens of a feature map, with a residual around them.
#[derive(Debug)]
pub(super) struct Transformer {
    level: usize,
    norm: Arc<GroupNorm>,
    proj_in: Bound<Linear>,
    blocks: Vec<TransformerBlock>,
    proj_out: Bound<Linear>,
}

/// Self-attention, cross-attention and a feed-forward network: `BasicTransformerBlock`.
#[derive(Debug)]
struct TransformerBlock {
    norm1: Arc<LayerNorm>,
    self_attention: SelfAttention,
    norm2: Arc<LayerNorm>,
    cross_attention: CrossAttention,
    norm3: Arc<LayerNorm>,
    feed_forward_in: Bound<Linear>,
    feed_forward_out: Bound<Linear>,
}

/// Attention of the tokens to one another: `attn1`.
#[derive(Debug)]
struct SelfAttention {
    heads: usize,
    to_q: Bound<Linear>,
    to_k: Bound<Linear>,
    to_v: Bound<Linear>,
    to_out: Bound<Linear>,
}

/// Attention of the tokens to prompts: `attn2`.
#[derive(Debug)]
pub(super) struct CrossAttention {
    /// The number of this attention in the network, by which a prepared context knows it.
    index: usize,
    heads: usize,
    to_q: Bound<Linear>,
    to_k: Bound<Linear>,
    to_v: Bound<Linear>,
    to_out: Bound<Linear>,
}

impl Transformer {
    /// `attentions` counts the cross-attentions of the network.
    pub(super) fn new(
        config: &UNetConfig,
        level: usize,
        attentions: &mut usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let of_level = config.levels[level];
        let channels = of_level.channels;
        let projection = |name: &str| {
            let weights = weights.at(name);
            if config.use_linear_projection {
                build::bound_linear(&weights, [channels, channels])
            } else {
                build::bound_pointwise(&weights, [channels, channels])
            }
        };
        let mut blocks = Vec::new();
        for block in 0..of_level.transformer_layers {
            let weights = weights.at("transformer_blocks").at(block);
            blocks.push(TransformerBlock::new(config, of_level, *attentions, &weights)?);
            *attentions += 1;
        }
        let groups = config.norm_num_groups;
        Ok(Self {
            level,
            // 1e-6 whatever the configuration says, as in diffusers.
            norm: build::group_norm(&weights.at("norm"), channels, groups, 1e-6)?,
            proj_in: projection("proj_in")?,
            blocks,
            proj_out: projection("proj_out")?,
        })
    }

    /// Shape `(batch, height, width, channels)` → the same.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        let masks = context.masks(self.level);
        let (batch, height, width, channels) = x.dims4()?;
        let tokens = self.norm.forward(x)?.reshape((batch, height * width, channels))?;
        let mut tokens = self.proj_in.forward(&tokens, masks)?;
        for block in &self.blocks {
            tokens = block.forward(&tokens, self.level, context, isolation)?;
        }
        let tokens = self.proj_out.forward(&tokens, masks)?;
        Ok(add(&tokens.reshape(x.shape())?, x)?)
    }

    pub(super) fn cross_attentions<'a>(&'a self, layers: &mut Vec<&'a CrossAttention>) {
        layers.extend(self.blocks.iter().map(|block| &block.cross_attention));
    }
}

impl TransformerBlock {
    fn new(
        config: &UNetConfig,
        level: Level,
        index: usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let channels = level.channels;
        let feed_forward = weights.at("ff").at("net");
        // GEGLU's halves of four times the channels each.
        let (inner, doubled) = (4 * channels, 8 * channels);
        Ok(Self {
            norm1: build::layer_norm(&weights.at("norm1"), channels)?,
            self_attention: SelfAttention::new(level, &weights.at("attn1"))?,
            norm2: build::layer_norm(&weights.at("norm2"), channels)?,
            cross_attention: CrossAttention::new(config, level, index, &weights.at("attn2"))?,
            norm3: build::layer_norm(&weights.at("norm3"), channels)?,
            feed_forward_in: build::bound_linear(
                &feed_forward.at(0).at("proj"),
                [channels, doubled],
            )?,
            feed_forward_out: build::bound_linear(&feed_forward.at(2), [inner, channels])?,
        })
    }

    /// Shape `(batch, tokens, channels)` → the same.
    fn forward(
        &self,
        x: &Tensor,
        level: usize,
        context: &PreparedContext,
        isolation: Isolation,
    ) -> Result<Tensor, UNetError> {
        let owners = context.owners(level);
        let hidden = match isolation {
            Isolation::Isolated { from_level } if from_level <= level => owners,
            Isolation::Isolated { .. } | Isolation::Free => None,
        };
        let probe = context.probe().zip(owners);
        let masks = context.masks(level);
        let normed = self.norm1.forward(x)?;
        let probe = probe.map(|(probe, owners)| (probe, level, owners));
        let x = add(&self.self_attention.forward(&normed, hidden, masks, probe)?, x)?;
        let mixed = self.cross_attention.forward(&self.norm2.forward(&x)?, level, context)?;
        let x = add(&mixed, &x)?;
        let hidden = geglu(&self.feed_forward_in.forward(&self.norm3.forward(&x)?, masks)?)?;
        Ok(add(&self.feed_forward_out.forward(&hidden, masks)?, &x)?)
    }
}

impl SelfAttention {
    fn new(level: Level, weights: &Weights) -> Result<Self, UNetError> {
        let square = [level.channels; 2];
        Ok(Self {
            heads: level.heads,
            to_q: build::bound_linear_without_bias(&weights.at("to_q"), square)?,
            to_k: build::bound_linear_without_bias(&weights.at("to_k"), square)?,
            to_v: build::bound_linear_without_bias(&weights.at("to_v"), square)?,
            to_out: build::bound_linear(&weights.at("to_out").at(0), square)?,
        })
    }

    /// Tokens of different `hidden` owners don't see one another. A probe is told the level and everybody's tokens.
    ///
    /// Shape `(batch, tokens, channels)` → the same.
    fn forward(
        &self,
        x: &Tensor,
        hidden: Option<&[Option<usize>]>,
        masks: Masks<'_>,
        probe: Option<(&Probe, usize, &[Option<usize>])>,
    ) -> Result<Tensor, UNetError> {
        let query = self.to_q.forward(x, masks)?;
        let (key, value) = (self.to_k.forward(x, masks)?, self.to_v.forward(x, masks)?);
        if let Some((probe, level, owners)) = probe {
            probe.look((&query, &key), self.heads, level, (owners, hidden.is_some()))?;
        }
        let mixed = attention(&query, &key, &value, self.heads, hidden.map(Mask::Groups))?;
        self.to_out.forward(&mixed, masks)
    }
}

impl CrossAttention {
    fn new(
        config: &UNetConfig,
        level: Level,
        index: usize,
        weights: &Weights,
    ) -> Result<Self, UNetError> {
        let square = [level.channels; 2];
        let from_text = [config.cross_attention_dim, level.channels];
        Ok(Self {
            index,
            heads: level.heads,
            to_q: build::bound_linear_without_bias(&weights.at("to_q"), square)?,
            to_k: build::bound_linear_without_bias(&weights.at("to_k"), from_text)?,
            to_v: build::bound_linear_without_bias(&weights.at("to_v"), from_text)?,
            to_out: build::bound_linear(&weights.at("to_out").at(0), square)?,
        })
    }

    /// The key and the value of an encoded prompt, with the LoRAs of the subject whose prompt it is.
    ///
    /// Shape `(1, tokens, cross_attention_dim)` → twice `(1, tokens, channels)`.
    pub(super) fn key_value(
        &self,
        prompt: &Tensor,
        loras: &[usize],
    ) -> Result<[Tensor; 2], UNetError> {
        Ok([self.to_k.forward_with(prompt, loras)?, self.to_v.forward_with(prompt, loras)?])
    }

    /// Shape `(batch, tokens, channels)` → the same.
    fn forward(
        &self,
        x: &Tensor,
        level: usize,
        context: &PreparedContext,
    ) -> Result<Tensor, UNetError> {
        let masks = context.masks(level);
        let query = self.to_q.forward(x, masks)?;
        let mixed = context.attend(&query, self.index, level, self.heads)?;
        self.to_out.forward(&mixed, masks)
    }
}
