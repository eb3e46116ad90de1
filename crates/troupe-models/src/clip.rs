//! CLIP's text encoder (Radford et al. 2021, arXiv:2103.00020), as transformers' `CLIPTextModel`
//! and `CLIPTextModelWithProjection`.
//!
//! A transformer with a causal mask and the norms in front of the layers. What a diffusion model
//! listens to is the hidden state behind one of its layers, one row a token, padding included:
//! SD 1.x and 2.x to the last with the final norm, SDXL to the last but one without it
//! ([`ClipLayer`]). SDXL also hears the whole text as one row, the pooled output.

use candle_core::Tensor;
use serde::Deserialize;
use troupe_nn::{LayerNorm, Linear, Mask};

use crate::config::{ConfigError, TextFile};
use crate::encoder::{Activation, EncoderLayer, EncoderSettings, EncoderShape, TextEmbeddings};
use crate::error::ModelError;
use crate::weights::Weights;

/// The architecture, as `text_encoder/config.json` gives it.
///
/// Invariant: no size is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    vocabulary: usize,
    positions: usize,
    shape: EncoderShape,
    /// Says where a text ends.
    end: EndOfText,
    /// The width of the pooled output, in the form with a projection.
    projection: usize,
}

/// The token whose row is the pooled output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndOfText {
    /// The largest id, the first of them: what configurations mean that say 2, which is older than
    /// transformers 4.31 and wrong.
    LargestId,
    /// The first token with this id, or the first of all.
    Id(u32),
}

/// The layer that is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipLayer {
    /// How many layers at the end are passed over: diffusers' `clip_skip` of SD 1.x, 0 for none.
    /// AUTOMATIC1111's web UI calls that 1, and always counts one more.
    pub skipped: usize,
    /// Whether the final norm follows: it does in SD 1.x and 2.x, and doesn't in SDXL.
    pub normed: bool,
}

/// What an encoder says of a text.
#[derive(Clone, Debug)]
pub struct ClipOutput {
    /// Behind the layer that was asked for: `(tokens, width)`.
    pub hidden: Tensor,
    /// The projected row of the end of the text, `(projection,)`, of an encoder with a projection.
    pub pooled: Option<Tensor>,
}

/// A row of the token embedding that comes from elsewhere, a textual inversion's.
#[derive(Clone, Debug)]
pub struct LearnedToken {
    /// The place among the ids that it takes.
    pub position: usize,
    /// Shape `(width,)`.
    pub vector: Tensor,
}

impl ClipConfig {
    /// Reads a `config.json`; what it doesn't say is as in transformers' `CLIPTextConfig`.
    ///
    /// # Errors
    ///
    /// If it describes another kind of network, or one that can't be.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, ConfigError> {
        let said: TextSettings = file.parse("the configuration of a CLIP text encoder")?;
        let kind = said.model_type.as_deref().unwrap_or(KIND);
        file.require(kind == KIND, "model_type", KIND, kind)?;
        Self::of(file, &said)
    }

    /// What a file says of a text encoder.
    pub(crate) fn of(file: TextFile<'_>, said: &TextSettings) -> Result<Self, ConfigError> {
        let shape = EncoderShape::of(file, &said.encoder, DEFAULT)?;
        let vocabulary = said.vocab_size.unwrap_or(49_408);
        let positions = said.max_position_embeddings.unwrap_or(77);
        for (key, size) in [("vocab_size", vocabulary), ("max_position_embeddings", positions)] {
            file.require(0 < size, key, "1 or more", &size)?;
        }
        let end = match said.eos_token_id {
            Some(2) => EndOfText::LargestId,
            None => EndOfText::Id(49_407),
            Some(id) => EndOfText::Id(id),
        };
        let projection = said.projection_dim.unwrap_or(512);
        Ok(Self { vocabulary, positions, shape, end, projection })
    }

    /// The channels of the last hidden state: what the UNet's `cross_attention_dim` must be.
    pub fn width(&self) -> usize {
        self.shape.width
    }

    /// The channels of the pooled output, in the form with a projection.
    pub fn projection(&self) -> usize {
        self.projection
    }

    /// Checks that a layer can be listened to.
    ///
    /// # Errors
    ///
    /// If none would be left of those before it.
    pub fn check(&self, layer: ClipLayer) -> Result<(), ModelError> {
        if layer.skipped < self.shape.layers {
            return Ok(());
        }
        Err(ModelError::Input {
            what: "number of layers to skip",
            wanted: format!("0 to {}", self.shape.layers - 1),
            found: layer.skipped.to_string(),
        })
    }

    /// The most tokens of one text.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The id that ends a text, where the configuration names one; else the largest id does.
    pub(crate) fn end(&self) -> Option<u32> {
        match self.end {
            EndOfText::Id(id) => Some(id),
            EndOfText::LargestId => None,
        }
    }

    /// How many token ids there are.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

/// The text encoder with its weights.
#[derive(Debug)]
pub struct ClipTextEncoder {
    config: ClipConfig,
    embeddings: TextEmbeddings,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
}

impl ClipTextEncoder {
    /// Reads the weights; their names may begin with `text_model.`, as files from before
    /// transformers 5 have them, or not.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn new(config: ClipConfig, weights: &Weights) -> Result<Self, ModelError> {
        let prefixed = weights.contains("text_model.embeddings.token_embedding.weight");
        let weights = if prefixed { weights.at("text_model") } else { weights.clone() };
        let (vocabulary, positions) = (config.vocabulary, config.positions);
        let embeddings = weights.at("embeddings");
        let embeddings =
            TextEmbeddings::new(&embeddings, vocabulary, positions, config.shape.width)?;
        Ok(Self {
            embeddings,
            layers: config.shape.build(&weights.at("encoder").at("layers"))?,
            final_layer_norm: config.shape.norm(&weights.at("final_layer_norm"))?,
            text_projection: None,
            config,
        })
    }

    /// As [`ClipTextEncoder::new`], for the form with a projection: `CLIPTextModelWithProjection`.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn with_projection(config: ClipConfig, weights: &Weights) -> Result<Self, ModelError> {
        let shape = [config.projection, config.shape.width];
        let projection = Linear::new(weights.stored("text_projection.weight", &shape)?, None)?;
        Ok(Self { text_projection: Some(projection), ..Self::new(config, weights)? })
    }

    /// The architecture.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// What the encoder says of the tokens of one text; `learned` replace the embeddings of some.
    ///
    /// Shape `(tokens,)` → `(tokens, width)`, and the pooled row where there is a projection.
    ///
    /// # Errors
    ///
    /// If there is no token, more than the encoder has positions for, an unknown one, a learned
    /// one of another width, or there aren't so many layers to skip.
    pub fn encode(
        &self,
        ids: &[u32],
        learned: &[LearnedToken],
        layer: ClipLayer,
    ) -> Result<ClipOutput, ModelError> {
        self.config.check(layer)?;
        let kept = self.config.shape.layers - layer.skipped;
        let mut x = self.embed(ids, learned)?;
        for layer in &self.layers[..kept] {
            x = layer.forward(&x, Some(Mask::Causal))?;
        }
        let hidden = if layer.normed { self.final_layer_norm.forward(&x)? } else { x.clone() };
        let pooled = match &self.text_projection {
            None => None,
            Some(projection) => {
                for layer in &self.layers[kept..] {
                    x = layer.forward(&x, Some(Mask::Causal))?;
                }
                let last = self.final_layer_norm.forward(&x)?;
                let end = last.narrow(1, self.end_of(ids), 1)?;
                Some(projection.forward(&end)?.flatten_all()?)
            }
        };
        Ok(ClipOutput { hidden: hidden.squeeze(0)?, pooled })
    }

    /// The place of the token whose row is the pooled output.
    fn end_of(&self, ids: &[u32]) -> usize {
        let end = match self.config.end {
            EndOfText::Id(id) => id,
            EndOfText::LargestId => ids.iter().copied().max().unwrap_or(0),
        };
        ids.iter().position(|&id| id == end).unwrap_or(0)
    }

    /// Shape `(tokens,)` → `(1, tokens, width)`.
    fn embed(&self, ids: &[u32], learned: &[LearnedToken]) -> Result<Tensor, ModelError> {
        let mut tokens = self.embeddings.of(ids)?;
        for LearnedToken { position, vector } in learned {
            let width = self.config.shape.width;
            if vector.dims() != [width] || ids.len() <= *position {
                return Err(ModelError::Input {
                    what: "shape of a learned token",
                    wanted: format!("[{width}], at a place below {}", ids.len()),
                    found: format!("{:?} at {position}", vector.dims()),
                });
            }
            tokens = tokens.slice_scatter0(&vector.unsqueeze(0)?, *position)?;
        }
        self.embeddings.placed(&tokens)
    }
}

/// What `model_type` says of one.
const KIND: &str = "clip_text_model";

/// What `CLIPTextConfig` says where a file doesn't.
const DEFAULT: EncoderShape = EncoderShape {
    width: 512,
    intermediate: 2048,
    layers: 12,
    heads: 8,
    activation: Activation::QuickGelu,
    eps: 1e-5,
};

/// The keys of a text encoder's configuration that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TextSettings {
    pub(crate) model_type: Option<String>,
    pub(crate) vocab_size: Option<usize>,
    pub(crate) max_position_embeddings: Option<usize>,
    eos_token_id: Option<u32>,
    pub(crate) projection_dim: Option<usize>,
    pub(crate) projection_size: Option<usize>,
    #[serde(flatten)]
    pub(crate) encoder: EncoderSettings,
}

#[cfg(test)]
mod tests;
