//! The layers of CLIP's and SigLIP's encoders: a transformer with the norms in front of the layers.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use troupe_nn::{LayerNorm, Linear, Mask, NnError, attention, gelu, quick_gelu};

use crate::config::{ConfigError, TextFile};
use crate::error::ModelError;
use crate::weights::Weights;

/// The sizes of an encoder.
///
/// Invariants: none is zero, the heads divide the width, `eps` is finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EncoderShape {
    pub(crate) width: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) activation: Activation,
    pub(crate) eps: f64,
}

/// What stands between the two layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activation {
    /// `x · sigmoid(1.702 · x)`, as CLIP ViT-L has it.
    QuickGelu,
    /// `x · Φ(x)`, as CLIP ViT-H has it.
    Gelu,
    /// Its approximation by tanh, as SigLIP has it.
    GeluPytorchTanh,
}

/// The keys of a configuration that say them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EncoderSettings {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    hidden_act: Option<Activation>,
    layer_norm_eps: Option<f64>,
}

impl EncoderShape {
    /// What a file says, and what it leaves out from `default`.
    pub(crate) fn of(
        file: TextFile<'_>,
        said: &EncoderSettings,
        default: Self,
    ) -> Result<Self, ConfigError> {
        let it = Self {
            width: said.hidden_size.unwrap_or(default.width),
            intermediate: said.intermediate_size.unwrap_or(default.intermediate),
            layers: said.num_hidden_layers.unwrap_or(default.layers),
            heads: said.num_attention_heads.unwrap_or(default.heads),
            activation: said.hidden_act.unwrap_or(default.activation),
            eps: said.layer_norm_eps.unwrap_or(default.eps),
        };
        let sizes = [
            ("hidden_size", it.width),
            ("intermediate_size", it.intermediate),
            ("num_hidden_layers", it.layers),
            ("num_attention_heads", it.heads),
        ];
        for (key, size) in sizes {
            file.require(0 < size, key, "1 or more", &size)?;
        }
        let divides = it.width.is_multiple_of(it.heads);
        let wanted = format!("a divisor of {}", it.width);
        file.require(divides, "num_attention_heads", wanted, &it.heads)?;
        let sound = it.eps.is_finite() && 0.0 <= it.eps;
        file.require(sound, "layer_norm_eps", "a number not below 0", &it.eps)?;
        Ok(it)
    }

    /// The layers `0`, `1` and so on of an encoder.
    pub(crate) fn build(&self, weights: &Weights) -> Result<Vec<EncoderLayer>, ModelError> {
        (0..self.layers).map(|layer| EncoderLayer::new(self, &weights.at(layer))).collect()
    }

    /// A norm of the encoder's width.
    pub(crate) fn norm(&self, weights: &Weights) -> Result<LayerNorm, ModelError> {
        let shape = [self.width];
        let (weight, bias) = (weights.get("weight", &shape)?, weights.get("bias", &shape)?);
        Ok(LayerNorm::new(weight, bias, self.eps)?)
    }
}

/// What a text encoder begins with: a row for each token, and one for each place.
#[derive(Debug)]
pub(crate) struct TextEmbeddings {
    pub(crate) tokens: Tensor, // (vocabulary, width)
    positions: Tensor,         // (positions, width)
}

impl TextEmbeddings {
    pub(crate) fn new(
        weights: &Weights,
        vocabulary: usize,
        positions: usize,
        width: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            tokens: weights.stored("token_embedding.weight", &[vocabulary, width])?,
            positions: weights.get("position_embedding.weight", &[positions, width])?,
        })
    }

    /// The rows of tokens. Shape `(tokens,)` → `(tokens, width)`.
    pub(crate) fn of(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let (vocabulary, positions) = (self.tokens.dim(0)?, self.positions.dim(0)?);
        if ids.is_empty() || positions < ids.len() {
            return Err(ModelError::Input {
                what: "number of tokens",
                wanted: format!("1 to {positions}"),
                found: ids.len().to_string(),
            });
        }
        let known = |&&id: &&u32| usize::try_from(id).is_ok_and(|id| id < vocabulary);
        if let Some(id) = ids.iter().find(|id| !known(id)) {
            return Err(ModelError::Input {
                what: "token id",
                wanted: format!("one below {vocabulary}"),
                found: id.to_string(),
            });
        }
        let ids = Tensor::new(ids, &Device::Cpu)?;
        Ok(self.tokens.index_select(&ids, 0)?.to_dtype(DType::F32)?)
    }

    /// The same in their places. Shape `(tokens, width)` → `(1, tokens, width)`.
    pub(crate) fn placed(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        let positions = self.positions.narrow(0, 0, rows.dim(0)?)?;
        Ok((rows + positions)?.unsqueeze(0)?)
    }
}

/// Self-attention and a feed-forward block.
#[derive(Debug)]
pub(crate) struct EncoderLayer {
    heads: usize,
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    mlp: FeedForward,
}

impl EncoderLayer {
    fn new(shape: &EncoderShape, weights: &Weights) -> Result<Self, ModelError> {
        let projection = |name| linear(&weights.at("self_attn").at(name), shape.width, shape.width);
        Ok(Self {
            heads: shape.heads,
            layer_norm1: shape.norm(&weights.at("layer_norm1"))?,
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            layer_norm2: shape.norm(&weights.at("layer_norm2"))?,
            mlp: FeedForward::new(shape, &weights.at("mlp"))?,
        })
    }

    /// Shape `(batch, tokens, width)` → the same.
    pub(crate) fn forward(&self, x: &Tensor, mask: Option<Mask<'_>>) -> Result<Tensor, NnError> {
        let normed = self.layer_norm1.forward(x)?;
        let query = self.q_proj.forward(&normed)?;
        let key = self.k_proj.forward(&normed)?;
        let value = self.v_proj.forward(&normed)?;
        let attended = attention(&query, &key, &value, self.heads, mask)?;
        let x = (x + self.out_proj.forward(&attended)?)?;
        Ok((&x + self.mlp.forward(&self.layer_norm2.forward(&x)?)?)?)
    }
}

/// Two layers with an activation between them.
#[derive(Debug)]
pub(crate) struct FeedForward {
    activation: Activation,
    fc1: Linear,
    fc2: Linear,
}

impl FeedForward {
    pub(crate) fn new(shape: &EncoderShape, weights: &Weights) -> Result<Self, ModelError> {
        Ok(Self {
            activation: shape.activation,
            fc1: linear(&weights.at("fc1"), shape.width, shape.intermediate)?,
            fc2: linear(&weights.at("fc2"), shape.intermediate, shape.width)?,
        })
    }

    /// Shape `(.., width)` → the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let hidden = self.fc1.forward(x)?; // (.., intermediate)
        let hidden = match self.activation {
            Activation::QuickGelu => quick_gelu(&hidden)?,
            Activation::Gelu => gelu(&hidden)?,
            Activation::GeluPytorchTanh => hidden.gelu()?,
        };
        self.fc2.forward(&hidden)
    }
}

/// A layer with a bias.
pub(crate) fn linear(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, ModelError> {
    let bias = weights.get("bias", &[outputs])?;
    Ok(Linear::new(weights.stored("weight", &[outputs, inputs])?, Some(bias))?)
}
