//! The towers that look: a vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929).

use candle_core::Tensor;
use troupe_nn::{LayerNorm, Linear, attention};

use super::Family;
use super::config::Vision;
use crate::encoder::{EncoderLayer, EncoderShape, FeedForward, linear};
use crate::error::ModelError;
use crate::weights::Weights;

/// Pictures to vectors.
#[derive(Debug)]
pub(super) struct VisionTower {
    config: Vision,
    patches: Linear,
    positions: Tensor, // (tokens, width)
    layers: Vec<EncoderLayer>,
    last_norm: LayerNorm,
    pool: Pool,
}

/// How the tokens become one vector.
#[derive(Debug)]
enum Pool {
    /// A token of its own goes in front, and is projected.
    Class { token: Tensor, first_norm: LayerNorm, projection: Linear },
    /// A learned question is asked of all tokens.
    Probe(Box<Probe>),
}

/// Attention with one question, and a feed-forward block.
#[derive(Debug)]
struct Probe {
    heads: usize,
    query: Tensor, // (1, 1, width)
    key: Linear,
    value: Linear,
    out: Linear,
    norm: LayerNorm,
    mlp: FeedForward,
}

impl VisionTower {
    pub(super) fn new(
        config: &Vision,
        family: Family,
        weights: &Weights,
    ) -> Result<Self, ModelError> {
        let (shape, patch) = (config.shape, config.patch);
        let tower = weights.at("vision_model");
        let embeddings = tower.at("embeddings");
        // A convolution whose stride is its size is a product: (width, 3, patch, patch) → (width, patch · patch · 3).
        let kernel = embeddings.get("patch_embedding.weight", &[shape.width, 3, patch, patch])?;
        let kernel = kernel.permute((0, 2, 3, 1))?.flatten_from(1)?.contiguous()?;
        let (pool, bias) = match family {
            Family::Clip => {
                let wanted = [config.projection, shape.width];
                let projection = weights.stored("visual_projection.weight", &wanted)?;
                let pool = Pool::Class {
                    token: embeddings.get("class_embedding", &[shape.width])?,
                    // The name is misspelt in all files.
                    first_norm: shape.norm(&tower.at("pre_layrnorm"))?,
                    projection: Linear::new(projection, None)?,
                };
                (pool, None)
            }
            Family::SigLip => {
                let bias = embeddings.get("patch_embedding.bias", &[shape.width])?;
                (Pool::Probe(Box::new(Probe::new(&shape, &tower.at("head"))?)), Some(bias))
            }
        };
        let tokens = config.grid().pow(2) + usize::from(family == Family::Clip);
        Ok(Self {
            config: *config,
            patches: Linear::new(kernel, bias)?,
            positions: embeddings.get("position_embedding.weight", &[tokens, shape.width])?,
            layers: shape.build(&tower.at("encoder").at("layers"))?,
            last_norm: shape.norm(&tower.at("post_layernorm"))?,
            pool,
        })
    }

    /// Shape `(pictures, side, side, 3)` → `(pictures, projection)`.
    pub(super) fn forward(&self, pictures: &Tensor) -> Result<Tensor, ModelError> {
        let (side, patch, grid) = (self.config.side, self.config.patch, self.config.grid());
        let &[count, _, _, _] = pictures.dims() else {
            return Err(self.refusal(pictures));
        };
        if pictures.dims() != [count, side, side, 3] || count == 0 {
            return Err(self.refusal(pictures));
        }
        // What is left of a row of patches isn't seen, as by a convolution.
        let seen = pictures.narrow(1, 0, grid * patch)?.narrow(2, 0, grid * patch)?;
        let patches = seen.reshape((count * grid, patch, grid, patch * 3))?.transpose(1, 2)?;
        let patches = patches.contiguous()?.reshape((count, grid * grid, patch * patch * 3))?;
        let mut x = self.patches.forward(&patches)?;
        if let Pool::Class { token, .. } = &self.pool {
            let token = token.expand((count, 1, self.config.shape.width))?;
            x = Tensor::cat(&[&token, &x], 1)?;
        }
        x = x.broadcast_add(&self.positions)?;
        if let Pool::Class { first_norm, .. } = &self.pool {
            x = first_norm.forward(&x)?;
        }
        for layer in &self.layers {
            x = layer.forward(&x, None)?;
        }
        Ok(match &self.pool {
            Pool::Class { projection, .. } => {
                let first = x.narrow(1, 0, 1)?.contiguous()?;
                projection.forward(&self.last_norm.forward(&first)?)?.squeeze(1)?
            }
            Pool::Probe(probe) => probe.forward(&self.last_norm.forward(&x)?)?,
        })
    }

    fn refusal(&self, pictures: &Tensor) -> ModelError {
        let side = self.config.side;
        ModelError::Input {
            what: "shape of the pictures",
            wanted: format!("(1 or more, {side}, {side}, 3)"),
            found: format!("{:?}", pictures.dims()),
        }
    }
}

impl Vision {
    /// Rows and columns of patches.
    #[expect(clippy::integer_division, reason = "what is left of a picture isn't seen")]
    fn grid(&self) -> usize {
        self.side / self.patch
    }
}

impl Probe {
    fn new(shape: &EncoderShape, weights: &Weights) -> Result<Self, ModelError> {
        let width = shape.width;
        let attention = weights.at("attention");
        let weight = attention.get("in_proj_weight", &[3 * width, width])?;
        let bias = attention.get("in_proj_bias", &[3 * width])?;
        let part = |at: usize| -> Result<Linear, ModelError> {
            let weight = weight.narrow(0, at * width, width)?.contiguous()?;
            let bias = bias.narrow(0, at * width, width)?.contiguous()?;
            Ok(Linear::new(weight, Some(bias))?)
        };
        let probe = weights.get("probe", &[1, 1, width])?;
        Ok(Self {
            heads: shape.heads,
            query: part(0)?.forward(&probe)?,
            key: part(1)?,
            value: part(2)?,
            out: linear(&attention.at("out_proj"), width, width)?,
            norm: shape.norm(&weights.at("layernorm"))?,
            mlp: FeedForward::new(shape, &weights.at("mlp"))?,
        })
    }

    /// Shape `(pictures, tokens, width)` → `(pictures, width)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let query = self.query.expand((x.dim(0)?, 1, x.dim(2)?))?.contiguous()?;
        let (key, value) = (self.key.forward(x)?, self.value.forward(x)?);
        let asked = self.out.forward(&attention(&query, &key, &value, self.heads, None)?)?;
        Ok((&asked + self.mlp.forward(&self.norm.forward(&asked)?)?)?.squeeze(1)?)
    }
}
