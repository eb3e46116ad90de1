//! CLIP's text encoder (Radford et al. 2021, arXiv:2103.00020), as transformers' `CLIPTextModel`
//! and `CLIPTextModelWithProjection`.
//!
//! A transformer with a causal mask and the norms in front of the layers. What a diffusion model
//! listens to is the hidden state behind one of its layers, one row a token, padding included:
//! SD 1.x and 2.x to the last with the final norm, SDXL to the last but one without it
//! ([`ClipLayer`]). SDXL also hears the whole text as one row, the pooled output.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use troupe_nn::{LayerNorm, Linear, Mask, NnError, attention, gelu, quick_gelu};

use crate::config::{ConfigError, TextFile};
use crate::error::ModelError;
use crate::weights::Weights;

/// The architecture, as `text_encoder/config.json` gives it.
///
/// Invariants: no size is zero, the heads divide the width, `eps` is finite and not negative.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    vocabulary: usize,
    width: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    positions: usize,
    activation: ClipActivation,
    eps: f64,
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

/// What stands between the two layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClipActivation {
    /// `x · sigmoid(1.702 · x)`, as CLIP ViT-L of SD 1.x has it.
    QuickGelu,
    /// `x · Φ(x)`, as CLIP ViT-H of SD 2.x has it.
    Gelu,
}

impl ClipConfig {
    /// Reads a `config.json`; what it doesn't say is as in transformers' `CLIPTextConfig`.
    ///
    /// # Errors
    ///
    /// If it describes another kind of network, or one that can't be.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, ConfigError> {
        let parsed: ConfigFile = file.parse("the configuration of a CLIP text encoder")?;
        let kind = parsed.model_type.as_str();
        file.require(kind == "clip_text_model", "model_type", "clip_text_model", kind)?;
        let sizes = [
            ("vocab_size", parsed.vocab_size),
            ("hidden_size", parsed.hidden_size),
            ("intermediate_size", parsed.intermediate_size),
            ("num_hidden_layers", parsed.num_hidden_layers),
            ("num_attention_heads", parsed.num_attention_heads),
            ("max_position_embeddings", parsed.max_position_embeddings),
        ];
        for (key, size) in sizes {
            file.require(0 < size, key, "1 or more", &size)?;
        }
        let (width, heads) = (parsed.hidden_size, parsed.num_attention_heads);
        let divides = width.is_multiple_of(heads);
        file.require(divides, "num_attention_heads", format!("a divisor of {width}"), &heads)?;
        let eps = parsed.layer_norm_eps;
        let sound = eps.is_finite() && 0.0 <= eps;
        file.require(sound, "layer_norm_eps", "a number not below 0", &eps)?;
        let end = match parsed.eos_token_id {
            None | Some(2) => EndOfText::LargestId,
            Some(id) => EndOfText::Id(id),
        };
        Ok(Self {
            vocabulary: parsed.vocab_size,
            width,
            intermediate: parsed.intermediate_size,
            layers: parsed.num_hidden_layers,
            heads,
            positions: parsed.max_position_embeddings,
            activation: parsed.hidden_act,
            eps,
            end,
            projection: parsed.projection_dim.unwrap_or(parsed.hidden_size),
        })
    }

    /// The channels of the last hidden state: what the UNet's `cross_attention_dim` must be.
    pub fn width(&self) -> usize {
        self.width
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
        if layer.skipped < self.layers {
            return Ok(());
        }
        Err(ModelError::Input {
            what: "number of layers to skip",
            wanted: format!("0 to {}", self.layers - 1),
            found: layer.skipped.to_string(),
        })
    }

    /// The most tokens of one text.
    pub fn positions(&self) -> usize {
        self.positions
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
    token_embedding: Tensor,    // (vocabulary, width)
    position_embedding: Tensor, // (positions, width)
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
        let embeddings = weights.at("embeddings");
        let width = config.width;
        let layers = weights.at("encoder").at("layers");
        let layers = (0..config.layers).map(|layer| EncoderLayer::new(&config, &layers.at(layer)));
        Ok(Self {
            token_embedding: embeddings
                .stored("token_embedding.weight", &[config.vocabulary, width])?,
            position_embedding: embeddings
                .get("position_embedding.weight", &[config.positions, width])?,
            layers: layers.collect::<Result<_, _>>()?,
            final_layer_norm: layer_norm(&weights.at("final_layer_norm"), &config)?,
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
        let shape = [config.projection, config.width];
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
        let kept = self.config.layers - layer.skipped;
        let mut x = self.embed(ids, learned)?;
        for layer in &self.layers[..kept] {
            x = layer.forward(&x)?;
        }
        let hidden = if layer.normed { self.final_layer_norm.forward(&x)? } else { x.clone() };
        let pooled = match &self.text_projection {
            None => None,
            Some(projection) => {
                for layer in &self.layers[kept..] {
                    x = layer.forward(&x)?;
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
        let positions = self.config.positions;
        if ids.is_empty() || positions < ids.len() {
            return Err(ModelError::Input {
                what: "number of tokens",
                wanted: format!("1 to {positions}"),
                found: ids.len().to_string(),
            });
        }
        let known = |&&id: &&u32| usize::try_from(id).is_ok_and(|id| id < self.config.vocabulary);
        if let Some(id) = ids.iter().find(|id| !known(id)) {
            return Err(ModelError::Input {
                what: "token id",
                wanted: format!("one below {}", self.config.vocabulary),
                found: id.to_string(),
            });
        }
        let ids = Tensor::new(ids, &Device::Cpu)?;
        let mut tokens = self.token_embedding.index_select(&ids, 0)?.to_dtype(DType::F32)?;
        for LearnedToken { position, vector } in learned {
            let width = self.config.width;
            if vector.dims() != [width] || ids.elem_count() <= *position {
                return Err(ModelError::Input {
                    what: "shape of a learned token",
                    wanted: format!("[{width}], at a place below {}", ids.elem_count()),
                    found: format!("{:?} at {position}", vector.dims()),
                });
            }
            tokens = tokens.slice_scatter0(&vector.unsqueeze(0)?, *position)?;
        }
        let positions = self.position_embedding.narrow(0, 0, ids.elem_count())?;
        Ok((tokens + positions)?.unsqueeze(0)?)
    }
}

#[derive(Debug)]
struct EncoderLayer {
    heads: usize,
    activation: ClipActivation,
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl EncoderLayer {
    fn new(config: &ClipConfig, weights: &Weights) -> Result<Self, ModelError> {
        let (width, intermediate) = (config.width, config.intermediate);
        let self_attn = weights.at("self_attn");
        let mlp = weights.at("mlp");
        Ok(Self {
            heads: config.heads,
            activation: config.activation,
            layer_norm1: layer_norm(&weights.at("layer_norm1"), config)?,
            q_proj: linear(&self_attn.at("q_proj"), width, width)?,
            k_proj: linear(&self_attn.at("k_proj"), width, width)?,
            v_proj: linear(&self_attn.at("v_proj"), width, width)?,
            out_proj: linear(&self_attn.at("out_proj"), width, width)?,
            layer_norm2: layer_norm(&weights.at("layer_norm2"), config)?,
            fc1: linear(&mlp.at("fc1"), width, intermediate)?,
            fc2: linear(&mlp.at("fc2"), intermediate, width)?,
        })
    }

    /// Shape `(batch, tokens, width)` → the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let normed = self.layer_norm1.forward(x)?;
        let query = self.q_proj.forward(&normed)?;
        let key = self.k_proj.forward(&normed)?;
        let value = self.v_proj.forward(&normed)?;
        let attended = attention(&query, &key, &value, self.heads, Some(Mask::Causal))?;
        let x = (x + self.out_proj.forward(&attended)?)?;

        let hidden = self.fc1.forward(&self.layer_norm2.forward(&x)?)?; // (.., intermediate)
        let hidden = match self.activation {
            ClipActivation::QuickGelu => quick_gelu(&hidden)?,
            ClipActivation::Gelu => gelu(&hidden)?,
        };
        Ok((x + self.fc2.forward(&hidden)?)?)
    }
}

/// The keys that we read, with the defaults of transformers' `CLIPTextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct ConfigFile {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: ClipActivation,
    layer_norm_eps: f64,
    eos_token_id: Option<u32>,
    projection_dim: Option<usize>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            model_type: "clip_text_model".to_owned(),
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: ClipActivation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: Some(49_407),
            projection_dim: Some(512),
        }
    }
}

fn linear(weights: &Weights, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
    let bias = weights.get("bias", &[outputs])?;
    Ok(Linear::new(weights.stored("weight", &[outputs, inputs])?, Some(bias))?)
}

fn layer_norm(weights: &Weights, config: &ClipConfig) -> Result<LayerNorm, ModelError> {
    let shape = [config.width];
    Ok(LayerNorm::new(weights.get("weight", &shape)?, weights.get("bias", &shape)?, config.eps)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    fn config(json: &str) -> Result<ClipConfig, ConfigError> {
        ClipConfig::from_json(TextFile { name: "config.json", bytes: json.as_bytes() })
    }

    /// The last hidden state, as SD 1.x listens to it.
    const LAST: ClipLayer = ClipLayer { skipped: 0, normed: true };

    fn last_hidden_state(encoder: &ClipTextEncoder, ids: &[u32]) -> Result<Tensor, ModelError> {
        Ok(encoder.encode(ids, &[], LAST)?.hidden)
    }

    fn golden(name: &str) -> (ClipTextEncoder, Golden) {
        let path = golden_path(&format!("clip/{name}"));
        let json = fs::read_to_string(path.join("config.json")).unwrap();
        let bytes = Arc::new(fs::read(path.join("model.safetensors")).unwrap());
        let weights = Weights::new("model.safetensors", bytes).unwrap();
        let config = config(&json).unwrap();
        let encoder = if weights.contains("text_projection.weight") {
            ClipTextEncoder::with_projection(config, &weights).unwrap()
        } else {
            ClipTextEncoder::new(config, &weights).unwrap()
        };
        (encoder, Golden::read(path.join("expected.safetensors")))
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Golden: transformers in double precision. Each layer gets the reference's input, so that an
    /// error shows where it is made.
    #[track_caller]
    fn check(name: &str, sequences: usize) {
        let (encoder, expected) = golden(name);
        for sequence in 0..sequences {
            let state = |layer: usize| expected.tensor(&format!("{sequence}.hidden.{layer}"));
            let ids = values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0);
            assert_close(
                "embeddings",
                &values(&encoder.embed(&ids, &[]).unwrap()),
                &state(0),
                1e-6,
            );
            for (index, layer) in encoder.layers.iter().enumerate() {
                let (input, shape) = state(index);
                let input = Tensor::from_vec(input, (1, shape[0], shape[1]), &Device::Cpu).unwrap();
                let output = values(&layer.forward(&input).unwrap());
                assert_close(&format!("layer {index}"), &output, &state(index + 1), 1e-5);
            }
            let last = last_hidden_state(&encoder, &ids).unwrap();
            let wanted = expected.tensor(&format!("{sequence}.last_hidden_state"));
            assert_eq!(last.dims(), wanted.1);
            assert_close("last_hidden_state", &values(&last), &wanted, 1e-5);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small integers")]
    fn values_of_ids(ids: &[f32]) -> Vec<u32> {
        ids.iter().map(|&id| id as u32).collect()
    }

    #[test]
    fn quick_gelu_encoder_agrees_with_transformers() {
        check("quick_gelu", 3);
    }

    #[test]
    fn gelu_encoder_with_prefixed_names_agrees_with_transformers() {
        check("gelu", 2);
    }

    // Fails when the wrong layer is taken, a norm is added or left out, the pooled row is that of
    // another token, or the projection is transposed.
    #[test]
    fn every_layer_and_the_pooled_text_agree_with_transformers() {
        let (mut encoder, expected) = golden("projection");
        let third = |sequence| values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0)[2];
        for sequence in 0..2 {
            let ids = values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0);
            let wanted = |name: &str| expected.tensor(&format!("{sequence}.{name}"));
            encoder.config.end = EndOfText::LargestId;
            for skipped in 0..3 {
                for (normed, name) in [(false, "bare"), (true, "normed")] {
                    let output = encoder.encode(&ids, &[], ClipLayer { skipped, normed }).unwrap();
                    let name = format!("{name}.{skipped}");
                    assert_close(&name, &values(&output.hidden), &wanted(&name), 1e-5);
                    let pooled = output.pooled.unwrap();
                    assert_close("pooled", &values(&pooled), &wanted("text_embeds"), 1e-5);
                }
            }
            encoder.config.end = EndOfText::Id(third(sequence));
            let pooled = encoder.encode(&ids, &[], LAST).unwrap().pooled.unwrap();
            assert_close("pooled", &values(&pooled), &wanted("text_embeds_of_third"), 1e-5);
        }
        let too_many = ClipLayer { skipped: 3, normed: true };
        let error = encoder.encode(&[1], &[], too_many).unwrap_err().to_string();
        assert_eq!(error, "the number of layers to skip is 3, and 0 to 2 was wanted");
    }

    #[test]
    fn an_encoder_without_projection_has_no_pooled_text() {
        let (encoder, _) = golden("gelu");
        assert!(encoder.encode(&[5], &[], LAST).unwrap().pooled.is_none());
        let bytes = fs::read(golden_path("clip/gelu/model.safetensors")).unwrap();
        let weights = Weights::new("model.safetensors", Arc::new(bytes)).unwrap();
        let error = ClipTextEncoder::with_projection(encoder.config, &weights).unwrap_err();
        assert!(error.to_string().contains("no tensor `text_projection.weight`"), "{error}");
    }

    #[test]
    fn a_learned_token_takes_the_place_of_an_embedding() {
        let (encoder, _) = golden("gelu");
        let plain = last_hidden_state(&encoder, &[9, 7, 8]).unwrap();
        let vector = encoder.token_embedding.get(7).unwrap();
        let learned = |position| LearnedToken { position, vector: vector.clone() };
        let output = encoder.encode(&[9, 0, 8], &[learned(1)], LAST).unwrap();
        assert_eq!(values(&output.hidden), values(&plain));
        let error = encoder.encode(&[9, 0], &[learned(2)], LAST).unwrap_err().to_string();
        assert!(error.contains("[24], at a place below 2") && error.contains("[24] at 2"));
    }

    #[test]
    fn what_it_cannot_embed_is_refused() {
        let (encoder, _) = golden("gelu");
        let refusal = |ids: &[u32]| last_hidden_state(&encoder, ids).unwrap_err().to_string();
        assert_eq!(refusal(&[]), "the number of tokens is 0, and 1 to 77 was wanted");
        assert_eq!(refusal(&[0; 78]), "the number of tokens is 78, and 1 to 77 was wanted");
        assert_eq!(refusal(&[0, 664, 0]), "the token id is 664, and one below 664 was wanted");
        last_hidden_state(&encoder, &[663; 77]).unwrap();
    }

    #[test]
    fn what_a_configuration_does_not_say_is_that_of_transformers() {
        let default = config("{}").unwrap();
        assert_eq!((default.width(), default.positions()), (512, 77));
        assert_eq!(default.vocabulary(), 49_408);
    }

    #[test]
    fn networks_that_cannot_be_are_refused() {
        #[track_caller]
        fn check(json: &str, expected: &str) {
            assert_eq!(config(json).unwrap_err().to_string(), format!("`config.json` {expected}"));
        }
        let read = "can't be read as the configuration of a CLIP text encoder";
        check(r#"{"hidden_act": "relu"}"#, read);
        check(r#"{"hidden_size": -4}"#, read);
        check(r#"{"hidden_size": 1e99}"#, read);
        check("[", read);
        check(r#"{"hidden_size": 0}"#, "has hidden_size 0, and 1 or more was wanted");
        check(
            r#"{"hidden_size": 10, "num_attention_heads": 4}"#,
            "has num_attention_heads 4, and a divisor of 10 was wanted",
        );
        check(
            r#"{"layer_norm_eps": -1}"#,
            "has layer_norm_eps -1, and a number not below 0 was wanted",
        );
        check(r#"{"model_type": "t5"}"#, "has model_type t5, and clip_text_model was wanted");
    }

    #[test]
    fn sizes_that_the_file_lacks_are_refused_before_memory_is_taken() {
        let bytes = fs::read(golden_path("clip/gelu/model.safetensors")).unwrap();
        let weights = Weights::new("model.safetensors", Arc::new(bytes)).unwrap();
        let json = r#"{"vocab_size": 18446744073709551615, "hidden_size": 8, "num_hidden_layers": 18446744073709551615}"#;
        let error = ClipTextEncoder::new(config(json).unwrap(), &weights).unwrap_err();
        let key = "text_model.embeddings.token_embedding.weight";
        assert!(error.to_string().contains(key), "{error}");
    }
}
