//! Checkpoints in one file, as AUTOMATIC1111's web UI and ComfyUI keep them.
//!
//! The file holds UNet, autoencoder and text encoders under the names of the original code. Which
//! family it is shows in its tensors; each part is a view of the file under the names of diffusers
//! ([`Weights`]), so that nothing is read twice or copied, and has the configuration that a
//! diffusers folder of the same model would have.

mod configs;
pub(crate) mod names;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use self::names::{Renamed, same};
use crate::weights::{Bytes, TensorFile, View, Weights, WeightsError};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
/// CLIP ViT-L as transformers has it: in SD 1.x, and the first of SDXL.
const CLIP: [&str; 2] = ["cond_stage_model.transformer.", "conditioner.embedders.0.transformer."];
/// `OpenCLIP`: ViT-H in SD 2.x, and ViT-bigG, the second of SDXL.
const OPEN_CLIP: [&str; 2] = ["cond_stage_model.model.", "conditioner.embedders.1.model."];
/// `OpenCLIP` as the only one of SDXL's refiner.
const REFINER: &str = "conditioner.embedders.0.model.";

/// The family of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
}

/// A checkpoint in one file, with the texts of the configurations that it lacks.
#[derive(Debug)]
pub struct SingleFile {
    /// What it is.
    pub family: Family,
    /// As `unet/config.json`.
    pub unet_config: String,
    /// The UNet under diffusers' names.
    pub unet: Weights,
    /// As `vae/config.json`.
    pub vae_config: String,
    /// The autoencoder under diffusers' names.
    pub vae: Weights,
    /// The text encoders, one or two.
    pub text_encoders: Vec<TextEncoderPart>,
    /// As `scheduler/scheduler_config.json`.
    pub scheduler: String,
}

/// A text encoder of a single file.
#[derive(Debug)]
pub struct TextEncoderPart {
    /// As `text_encoder/config.json`.
    pub config: String,
    /// Its weights under transformers' names.
    pub weights: Weights,
    /// As `tokenizer/tokenizer_config.json`.
    pub tokenizer_config: String,
}

/// Why a file isn't a checkpoint that we can paint with.
#[derive(Debug, thiserror::Error)]
pub enum SingleFileError {
    /// It can't be read at all.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// It is something else.
    #[error("`{file}` is {found}, and a checkpoint of Stable Diffusion 1, 2 or XL was wanted")]
    Other {
        /// The name of the file.
        file: String,
        /// What it seems to be.
        found: String,
    },
    /// A part of it is missing.
    #[error("`{file}` has no whole {part}: there is no tensor for `{name}`")]
    Incomplete {
        /// The name of the file.
        file: String,
        /// The part.
        part: &'static str,
        /// The first tensor that was looked for in vain, by diffusers' name.
        name: String,
    },
}

impl SingleFile {
    /// Takes a checkpoint apart. Of its tensors the header is read, and of SD 2 one vector, by which its kind shows.
    ///
    /// # Errors
    ///
    /// If it is broken, of another family, or not whole.
    pub fn open(file_name: &str, bytes: Bytes) -> Result<Self, SingleFileError> {
        let file = Arc::new(TensorFile::new(file_name, bytes)?);
        check_kind(&file)?;
        let unet = part(&file, &[UNET], {
            let layers = unet_layers(&file);
            move |path| names::unet(path, layers).map(same).into_iter().collect()
        });
        let levels = vae_levels(&file, VAE);
        let vae = part(&file, &[VAE], |path| names::vae(path, levels).into_iter().collect());
        let text_encoders = text_encoders(&file)?;
        let pooled = match text_encoders.as_slice() {
            [_, second] => second.weights.shape("text_projection.weight").map(|shape| shape[0]),
            _ => None,
        };
        let (mut unet_config, family) = configs::unet(&unet, pooled)?;
        let vae_config = configs::vae(&vae, family)?;
        let scheduler = scheduler(&file, &unet, family);
        unet_config["sample_size"] = configs::sample_size(family, &scheduler).into();
        Ok(Self {
            family,
            unet_config: unet_config.to_string(),
            unet,
            vae_config: vae_config.to_string(),
            vae,
            text_encoders,
            scheduler: scheduler.to_string(),
        })
    }
}

/// An autoencoder alone, under diffusers' names or the original ones, with or without
/// `first_stage_model.` in front.
///
/// # Errors
///
/// If the file is broken, or holds no autoencoder.
pub fn vae_file(file_name: &str, bytes: Bytes) -> Result<Weights, SingleFileError> {
    let file = Arc::new(TensorFile::new(file_name, bytes)?);
    if file.entry("decoder.mid_block.resnets.0.conv1.weight").is_some() {
        return Ok(part(&file, &[""], |path| vec![same(path.to_owned())]));
    }
    let prefix =
        if file.entry(&format!("{VAE}decoder.conv_in.weight")).is_some() { VAE } else { "" };
    let levels = vae_levels(&file, prefix);
    if levels == 0 {
        let found = "no autoencoder".to_owned();
        return Err(SingleFileError::Other { file: file.name().to_owned(), found });
    }
    Ok(part(&file, &[prefix], |path| names::vae(path, levels).into_iter().collect()))
}

/// The tensors below one of the prefixes under their new names; others are passed over.
fn part(
    file: &Arc<TensorFile>,
    prefixes: &[&str],
    rename: impl Fn(&str) -> Vec<Renamed>,
) -> Weights {
    let mut tensors = BTreeMap::new();
    for (key, entry) in &file.header().tensors {
        let Some(path) = prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)) else {
            continue;
        };
        for Renamed { name, kind } in rename(path) {
            if let Some((shape, part)) = kind.apply(&entry.shape) {
                tensors.insert(name, View { shape, part, ..View::whole(file, key, entry) });
            }
        }
    }
    Weights::of(file.name().to_owned(), tensors)
}

/// Refuses what is no checkpoint of the three families, and says what it is.
fn check_kind(file: &TensorFile) -> Result<(), SingleFileError> {
    let any = |test: &dyn Fn(&str) -> bool| file.header().tensors.keys().any(|key| test(key));
    let starts = |prefix: &str| any(&|key| key.starts_with(prefix));
    let found = if any(&|key| key.contains("double_blocks.") || key.contains("joint_blocks.")) {
        "a diffusion transformer"
    } else if any(&|key| key.contains(".lora_down.") || key.contains(".lora_A.")) {
        "a LoRA"
    } else if starts(REFINER) {
        "the refiner of SDXL"
    } else if starts("control_model.") || starts("input_hint_block.") {
        "a ControlNet"
    } else if starts("down_blocks.") {
        "a UNet of a diffusers folder"
    } else if !starts(UNET) {
        "without a UNet"
    } else if !CLIP.iter().chain(&OPEN_CLIP).any(|prefix| starts(prefix)) {
        "a UNet without text encoders"
    } else if !starts(VAE) {
        "without an autoencoder"
    } else {
        return Ok(());
    };
    Err(SingleFileError::Other { file: file.name().to_owned(), found: found.to_owned() })
}

/// Residual blocks of each down block: the first of them ends where the image is halved.
fn unet_layers(file: &TensorFile) -> usize {
    let there = |place: &usize, what: &str| {
        file.entry(&format!("{UNET}input_blocks.{place}.0.{what}.weight")).is_some()
    };
    let halving = (1..100).find(|place| there(place, "op"));
    let all = (1..100).take_while(|place| there(place, "in_layers.2")).count();
    halving.map_or(all, |place| place - 1)
}

fn vae_levels(file: &TensorFile, prefix: &str) -> usize {
    let there = |level: &usize| {
        file.entry(&format!("{prefix}decoder.up.{level}.block.0.conv1.weight")).is_some()
    };
    (0..100).take_while(there).count()
}

fn text_encoders(file: &Arc<TensorFile>) -> Result<Vec<TextEncoderPart>, SingleFileError> {
    let has = |prefix: &str| file.header().tensors.keys().any(|key| key.starts_with(prefix));
    let mut parts = Vec::new();
    if let Some(prefix) = CLIP.into_iter().find(|prefix| has(prefix)) {
        let weights = part(file, &[prefix], |path| {
            vec![same(path.strip_prefix("text_model.").unwrap_or(path).to_owned())]
        });
        let config = configs::text_encoder(&weights, "quick_gelu", 0)?;
        parts.push(TextEncoderPart {
            config: config.to_string(),
            weights,
            tokenizer_config: tokenizer("<|endoftext|>"),
        });
    }
    if let Some(prefix) = OPEN_CLIP.into_iter().find(|prefix| has(prefix)) {
        let weights = part(file, &[prefix], names::open_clip);
        // SD 2.x listens to the last layer but one, with the norm that follows the last: diffusers'
        // folders have one layer less.
        let left_out = usize::from(parts.is_empty());
        let config = configs::text_encoder(&weights, "gelu", left_out)?;
        parts.push(TextEncoderPart {
            config: config.to_string(),
            weights,
            tokenizer_config: tokenizer("!"),
        });
    }
    Ok(parts)
}

/// A `tokenizer_config.json` with this padding: `OpenCLIP` pads with zeros, which are `!`.
fn tokenizer(padding: &str) -> String {
    serde_json::json!({ "pad_token": padding, "model_max_length": 77 }).to_string()
}

/// Whether noise or velocity is predicted shows nowhere in SD 1.x and XL but in marks that some
/// files carry (`v_pred`, `ztsnr`); SD 2.x predicts velocity from 768 pixels on, and its networks of
/// that kind have norms which vary by more than 0.09 in one place, by which ComfyUI tells them.
fn scheduler(file: &TensorFile, unet: &Weights, family: Family) -> Value {
    let marked = |mark: &str| file.entry(mark).is_some();
    let last = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
    let velocity = marked("v_pred") || (family == Family::Sd2 && deviation(unet, last) > 0.09);
    let prediction = if velocity { "v_prediction" } else { "epsilon" };
    configs::scheduler(prediction, marked("v_pred") && marked("ztsnr"), family)
}

/// The standard deviation of a vector's numbers; 0 where there is none.
fn deviation(weights: &Weights, name: &str) -> f64 {
    let values = weights
        .shape(name)
        .map(<[usize]>::to_vec)
        .and_then(|shape| weights.get(name, &shape).ok())
        .and_then(|tensor| tensor.flatten_all().ok()?.to_vec1::<f32>().ok())
        .unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a vector is far shorter than 2⁵²")]
    let count = values.len() as f64;
    if values.is_empty() {
        return 0.0;
    }
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
    (squares / count).sqrt()
}

#[cfg(test)]
mod tests;
