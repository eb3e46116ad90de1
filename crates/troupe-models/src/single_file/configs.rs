//! The configurations of a single file's networks, read off the shapes of their tensors.
//!
//! A single file has no configuration. Numbers of channels, layers and transformer blocks show in
//! the tensors; what doesn't is a constant of the family, with its source here. The result is the
//! text of the `config.json` that a diffusers folder of the same model has, so that both ways
//! are checked by the same reader.

use serde_json::{Value, json};

use super::{Family, SingleFileError};
use crate::weights::Weights;

/// Groups of the norms of all networks of the three families, as far as channels are divisible.
const GROUPS: usize = 32;
/// Channels of a head where configurations say `num_head_channels` (`v2-inference.yaml`,
/// `sd_xl_base.yaml`), and in every CLIP.
const HEAD: usize = 64;
/// `num_heads` of `v1-inference.yaml`.
const HEADS: usize = 8;
/// Sizes that SDXL is told of.
const TIME_IDS: usize = 6;

/// Looks tensors up by the names of diffusers.
struct Shapes<'a> {
    weights: &'a Weights,
    part: &'static str,
}

impl Shapes<'_> {
    /// Side `axis` of a tensor that has to be there.
    fn side(&self, name: &str, axis: usize) -> Result<usize, SingleFileError> {
        let side = self.weights.shape(name).and_then(|shape| shape.get(axis)).copied();
        side.filter(|&side| 0 < side).ok_or_else(|| SingleFileError::Incomplete {
            file: self.weights.file_name().to_owned(),
            part: self.part,
            name: name.to_owned(),
        })
    }

    /// How many of `prefix.0.suffix`, `prefix.1.suffix` … there are.
    fn count(&self, prefix: &str, suffix: &str) -> usize {
        (0..1000).take_while(|i| self.weights.contains(&format!("{prefix}.{i}.{suffix}"))).count()
    }
}

/// `unet/config.json`; `pooled` is the width of the pooled text, where there is one.
pub(super) fn unet(
    weights: &Weights,
    pooled: Option<usize>,
) -> Result<(Value, Family), SingleFileError> {
    let shapes = Shapes { weights, part: "UNet" };
    let resnet = "resnets.0.conv1.weight";
    let levels = shapes.count("down_blocks", resnet);
    let mut channels = Vec::new();
    let mut layers = Vec::new();
    let mut depths = Vec::new();
    let mut down = Vec::new();
    for level in 0..levels {
        let block = format!("down_blocks.{level}");
        channels.push(shapes.side(&format!("{block}.{resnet}"), 0)?);
        layers.push(shapes.count(&format!("{block}.resnets"), "conv1.weight"));
        let to_q = "attn1.to_q.weight";
        let depth = shapes.count(&format!("{block}.attentions.0.transformer_blocks"), to_q);
        down.push(if 0 < depth { "CrossAttnDownBlock2D" } else { "DownBlock2D" });
        let middle = shapes.count("mid_block.attentions.0.transformer_blocks", to_q);
        let last = level + 1 == levels;
        depths.push(if depth == 0 && last { middle } else { depth.max(1) });
    }
    let up = down.iter().rev().map(|kind| kind.replace("Down", "Up"));
    let middle = "mid_block.attentions.0";
    let context = format!("{middle}.transformer_blocks.0.attn2.to_k.weight");
    let linear = weights.shape(&format!("{middle}.proj_in.weight")).is_some_and(|it| it.len() == 2);
    let heads: Vec<usize> = if linear {
        channels.iter().map(|channels| channels.div_ceil(HEAD)).collect()
    } else {
        vec![HEADS; levels]
    };
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "in_channels": shapes.side("conv_in.weight", 1)?,
        "out_channels": shapes.side("conv_out.weight", 0)?,
        "block_out_channels": channels,
        "layers_per_block": layers,
        "transformer_layers_per_block": depths,
        "down_block_types": down,
        "up_block_types": up.collect::<Vec<_>>(),
        "cross_attention_dim": shapes.side(&context, 1)?,
        "attention_head_dim": heads,
        "use_linear_projection": linear,
        "norm_num_groups": groups(&channels),
    });
    let family = match (pooled, linear) {
        (None, false) => Family::Sd1,
        (None, true) => Family::Sd2,
        (Some(pooled), _) => {
            let inputs = shapes.side("add_embedding.linear_1.weight", 1)?;
            #[expect(clippy::integer_division, reason = "a rest is refused by the reader")]
            let each = inputs.saturating_sub(pooled) / TIME_IDS;
            config["addition_embed_type"] = "text_time".into();
            config["addition_time_embed_dim"] = each.into();
            config["projection_class_embeddings_input_dim"] = inputs.into();
            Family::Sdxl
        }
    };
    Ok((config, family))
}

/// `sample_size` of the UNet's configuration, as the folders of the same models have it: SD 2 is at home on 768 pixels
/// where it predicts velocity.
pub(super) fn sample_size(family: Family, scheduler: &Value) -> usize {
    match family {
        Family::Sd2 if scheduler["prediction_type"] == "v_prediction" => 96,
        Family::Sd1 | Family::Sd2 => 64,
        Family::Sdxl => 128,
    }
}

/// `vae/config.json`.
pub(super) fn vae(weights: &Weights, family: Family) -> Result<Value, SingleFileError> {
    let shapes = Shapes { weights, part: "autoencoder" };
    let resnet = "resnets.0.conv1.weight";
    let levels = shapes.count("decoder.up_blocks", resnet);
    let mut channels = Vec::new();
    for level in (0..levels).rev() {
        channels.push(shapes.side(&format!("decoder.up_blocks.{level}.{resnet}"), 0)?);
    }
    let layers = shapes.count("decoder.up_blocks.0.resnets", "conv1.weight");
    Ok(json!({
        "_class_name": "AutoencoderKL",
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "layers_per_block": layers.saturating_sub(1),
        "latent_channels": shapes.side("decoder.conv_in.weight", 1)?,
        "norm_num_groups": groups(&channels),
        // `scale_factor` of `v1-inference.yaml` and of `sd_xl_base.yaml`.
        "scaling_factor": if family == Family::Sdxl { 0.13025 } else { 0.18215 },
    }))
}

/// `text_encoder/config.json`.
pub(super) fn text_encoder(
    weights: &Weights,
    activation: &str,
    layers_left_out: usize,
) -> Result<Value, SingleFileError> {
    let shapes = Shapes { weights, part: "text encoder" };
    let embedding = "embeddings.token_embedding.weight";
    let width = shapes.side(embedding, 1)?;
    let layers = shapes.count("encoder.layers", "layer_norm1.weight");
    let mut config = json!({
        "model_type": "clip_text_model",
        "vocab_size": shapes.side(embedding, 0)?,
        "hidden_size": width,
        "intermediate_size": shapes.side("encoder.layers.0.mlp.fc1.weight", 0)?,
        "num_hidden_layers": layers.saturating_sub(layers_left_out),
        "num_attention_heads": width.div_ceil(HEAD),
        "max_position_embeddings": shapes.side("embeddings.position_embedding.weight", 0)?,
        "hidden_act": activation,
        "eos_token_id": 2,
    });
    if let Some(shape) = weights.shape("text_projection.weight") {
        config["projection_dim"] = shape.first().copied().into();
    }
    Ok(config)
}

/// `scheduler/scheduler_config.json`: the noise levels are the same in the three families
/// (`linear_start`, `linear_end` and `timesteps` of their configurations).
pub(super) fn scheduler(prediction: &str, zero_terminal_snr: bool, family: Family) -> Value {
    // SD 1.x and 2.x leave the spacing to the sampler, in their folders too.
    let spacing = match (zero_terminal_snr, family) {
        (true, _) => Value::from("trailing"),
        (false, Family::Sdxl) => Value::from("leading"),
        (false, Family::Sd1 | Family::Sd2) => Value::Null,
    };
    json!({
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "rescale_betas_zero_snr": zero_terminal_snr,
        "clip_sample": false,
        "set_alpha_to_one": false,
        "steps_offset": 1,
        "timestep_spacing": spacing,
    })
}

/// 32, or the most of its divisors by which all channels are divisible.
fn groups(channels: &[usize]) -> usize {
    let divides = |groups: usize| channels.iter().all(|it| it.is_multiple_of(groups));
    [GROUPS, 16, 8, 4, 2].into_iter().find(|&groups| divides(groups)).unwrap_or(1)
}
