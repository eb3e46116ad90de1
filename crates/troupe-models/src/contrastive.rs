//! CLIP and SigLIP whole: pictures and texts become vectors, and those point the same way that say the same.
//!
//! CLIP (Radford et al. 2021, arXiv:2103.00020) as transformers' `CLIPModel`, SigLIP (Zhai et al. 2023,
//! arXiv:2303.15343) as `SiglipModel`. They are built of our own layers: the CLIP of
//! candle-transformers 0.11 knows `quick_gelu` only, which none of LAION's checkpoints have, and draws a class embedding at
//! random where a file lacks it.

mod config;
mod vision;

use candle_core::{D, Tensor};
use troupe_nn::{LayerNorm, Linear};

use self::config::SigLipText;
pub use self::config::{ContrastiveConfig, Family};
use self::vision::VisionTower;
use crate::clip::{ClipLayer, ClipTextEncoder};
use crate::encoder::{EncoderLayer, TextEmbeddings, linear};
use crate::error::ModelError;
use crate::weights::Weights;

/// Both towers with their weights.
#[derive(Debug)]
pub struct Contrastive {
    config: ContrastiveConfig,
    text: TextTower,
    vision: VisionTower,
    scale: f32,
}

#[derive(Debug)]
enum TextTower {
    Clip(ClipTextEncoder),
    SigLip(SigLipTextEncoder),
}

/// SigLIP's text encoder: no mask, and the last place speaks for the text.
#[derive(Debug)]
struct SigLipTextEncoder {
    config: SigLipText,
    embeddings: TextEmbeddings,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    head: Linear,
}

impl Contrastive {
    /// Reads the weights of `model.safetensors`.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn new(config: ContrastiveConfig, weights: &Weights) -> Result<Self, ModelError> {
        let text = match &config.text {
            config::Text::Clip(text) => {
                TextTower::Clip(ClipTextEncoder::with_projection(text.clone(), weights)?)
            }
            config::Text::SigLip(text) => {
                TextTower::SigLip(SigLipTextEncoder::new(*text, &weights.at("text_model"))?)
            }
        };
        let vision = VisionTower::new(&config.vision, config.family(), weights)?;
        // CLIP's has no dimension, SigLIP's has one.
        let shape: &[usize] = if config.family() == Family::Clip { &[] } else { &[1] };
        let scale = weights.get("logit_scale", shape)?.flatten_all()?.to_vec1::<f32>()?;
        let scale = scale.first().copied().unwrap_or_default().exp();
        Ok(Self { config, text, vision, scale })
    }

    /// The architecture.
    pub fn config(&self) -> &ContrastiveConfig {
        &self.config
    }

    /// By what the cosine of a picture and a text is multiplied to be a logit.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The direction of each text. Each has as many ids as [`ContrastiveConfig::positions`] says.
    ///
    /// Shape → `(texts, projection)`, each of length one.
    ///
    /// # Errors
    ///
    /// If there is no text, one has another number of ids, or one that is unknown.
    pub fn texts(&self, texts: &[Vec<u32>]) -> Result<Tensor, ModelError> {
        let mut rows = Vec::with_capacity(texts.len());
        for ids in texts {
            let positions = self.config.positions();
            if ids.len() != positions {
                return Err(ModelError::Input {
                    what: "number of tokens",
                    wanted: positions.to_string(),
                    found: ids.len().to_string(),
                });
            }
            rows.push(match &self.text {
                TextTower::Clip(encoder) => {
                    let last = ClipLayer { skipped: 0, normed: true };
                    let output = encoder.encode(ids, &[], last)?;
                    output.pooled.unwrap_or(output.hidden)
                }
                TextTower::SigLip(encoder) => encoder.encode(ids)?,
            });
        }
        of_length_one(&Tensor::stack(&rows, 0)?)
    }

    /// The direction of each picture, whose colours are normalised as the model wants them.
    ///
    /// Shape `(pictures, side, side, 3)` → `(pictures, projection)`, each of length one.
    ///
    /// # Errors
    ///
    /// If the pictures have another side.
    pub fn pictures(&self, pictures: &Tensor) -> Result<Tensor, ModelError> {
        of_length_one(&self.vision.forward(pictures)?)
    }
}

impl SigLipTextEncoder {
    fn new(config: SigLipText, weights: &Weights) -> Result<Self, ModelError> {
        let width = config.shape.width;
        let embeddings = weights.at("embeddings");
        let (vocabulary, positions) = (config.vocabulary, config.positions);
        Ok(Self {
            embeddings: TextEmbeddings::new(&embeddings, vocabulary, positions, width)?,
            layers: config.shape.build(&weights.at("encoder").at("layers"))?,
            final_layer_norm: config.shape.norm(&weights.at("final_layer_norm"))?,
            head: linear(&weights.at("head"), width, config.projection)?,
            config,
        })
    }

    /// Shape `(positions,)` → `(projection,)`.
    fn encode(&self, ids: &[u32]) -> Result<Tensor, ModelError> {
        let mut x = self.embeddings.placed(&self.embeddings.of(ids)?)?;
        for layer in &self.layers {
            x = layer.forward(&x, None)?;
        }
        let last = x.narrow(1, self.config.positions - 1, 1)?.contiguous()?;
        Ok(self.head.forward(&self.final_layer_norm.forward(&last)?)?.flatten_all()?)
    }
}

/// Rows divided by their lengths.
fn of_length_one(rows: &Tensor) -> Result<Tensor, ModelError> {
    let lengths = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    Ok(rows.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests;
