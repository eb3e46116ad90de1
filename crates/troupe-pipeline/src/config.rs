//! `pipeline.toml`: one table a stage, in the order in which they run.
//!
//! What holds is, from weakest to strongest: the defaults, the file, the variables `TROUPE_*`, the
//! flags. Every key is described once, in a table that says what it takes; whatever sets a key is
//! held against it, so an error names the place, what was wanted and what is there. Defaults are
//! those of [`TEMPLATE`], which `init` writes.

mod defaults;
mod error;
mod keys;
mod layers;
mod nearest;
mod regions;
mod sampling;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use troupe_core::axis::Axis;
use troupe_core::brief::Formation;
use troupe_core::layout::Canvas;
use troupe_core::plan::Subject;
use troupe_models::lora::{PARTS, Scales, is_part};
use troupe_sampler::{Method, Schedule};

pub use self::error::{ConfigError, ConfigProblem, Origin};
pub use self::regions::{MixingWord, RampConfig, RegionsConfig, SecondPassConfig};
pub use self::sampling::{Dtype, Rng, Spacing};

/// The commented file that `init` writes; it says what holds without a file, too.
pub const TEMPLATE: &str = include_str!("init.toml");

/// The most bytes that a configuration may have.
pub const LONGEST: usize = 1 << 20;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who is in the picture.
    pub plan: PlanConfig,
    /// Where they stand.
    pub layout: LayoutConfig,
    /// How they are painted.
    pub paint: PaintConfig,
    /// How they are looked at afterwards.
    pub audit: AuditConfig,
    /// What is of the whole run.
    pub run: RunConfig,
}

/// Who is in the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanConfig {
    /// How many people, where the prompt doesn't say.
    pub subjects: SubjectsConfig,
    /// The language model: a name in the manifest, or a path to a GGUF file.
    pub model: String,
    /// What people differ in, and by which shares.
    pub axes: Vec<Axis>,
}

/// How many people there may be; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubjectsConfig {
    /// At least so many, 1 to 12.
    pub min: u32,
    /// At most so many, `min` to 12.
    pub max: u32,
}

/// Where people stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayoutConfig {
    /// How they stand.
    pub formation: Formation,
    /// The size of the picture.
    pub canvas: CanvasChoice,
}

/// The size of a picture, or that the model's own sizes are chosen from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenCanvas", into = "WrittenCanvas")]
pub enum CanvasChoice {
    /// The one of the model's canvases on which the people are seen best.
    #[default]
    Auto,
    /// This one.
    Fixed(Canvas),
}

/// A [`CanvasChoice`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenCanvas {
    Word(CanvasWord),
    Size(Canvas),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CanvasWord {
    Auto,
}

/// How people are painted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaintConfig {
    /// The diffusion model: a name in the manifest, a diffusers folder, a checkpoint in one file, or
    /// `hf:org/name` in the cache of the hub.
    pub model: String,
    /// Another autoencoder than the model's: a diffusers folder or a file; empty for none.
    pub vae: String,
    /// Textual inversions; a prompt says the name of the file.
    pub embeddings: Vec<String>,
    /// The layer of the text encoder that is listened to, as the web UI counts: 1 is the last.
    pub clip_skip: usize,
    /// The side of the tiles in which the picture is decoded, in pixels: a multiple of 32 from 64 to 8192; 0 is in one
    /// piece.
    pub vae_tile: usize,
    /// What shouldn't be seen.
    pub negative: String,
    /// How many threads compute, at most 1024; 0 is one for each core.
    pub threads: usize,
    /// The precision in which large weights are kept in memory.
    pub dtype: Dtype,
    /// The sampler, with its schedule where the name includes one; a spelling of
    /// [`troupe_sampler::Method`].
    pub sampler: String,
    /// How many steps, 1 to 1000: each a pass through the network, or with Heun's method two.
    pub steps: u32,
    /// How much new noise DDIM adds, 0 (none) to 1 (as much as DDPM).
    pub eta: f64,
    /// How timesteps are spaced; stronger than a spacing in the sampler's name.
    pub spacing: Spacing,
    /// Which generator draws the noise.
    pub rng: Rng,
    /// Strength of classifier-free guidance, 1 (none) to 50.
    pub guidance: f64,
    /// How far guidance leaves the spread of what the network says as it was, 0 (not) to 1.
    pub guidance_rescale: f64,
    /// How the subjects' prompts act in their boxes.
    pub regions: RegionsConfig,
    /// How small people are painted again.
    pub second_pass: SecondPassConfig,
    /// How often people of a picture whom the judge finds wrong are painted again, at most 10.
    pub retries: u32,
    /// LoRAs, in the order in which they are added to the weights.
    pub loras: Vec<LoraConfig>,
}

impl PaintConfig {
    /// Holds settings that came by another way than a configuration to the same bounds.
    ///
    /// # Errors
    ///
    /// With the setting that is out of bounds.
    pub fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: f64, least: f64, most: f64| {
            if least <= value && value <= most {
                return Ok(());
            }
            Err(format!("`paint.{key}` takes {least} to {most}, and is {value}"))
        };
        within("steps", f64::from(self.steps), 1.0, 1000.0)?;
        within("retries", f64::from(self.retries), 0.0, 10.0)?;
        if !(1..=32).contains(&self.clip_skip) {
            return Err(format!("`paint.clip_skip` takes 1 to 32, and is {}", self.clip_skip));
        }
        if !u64::try_from(self.vae_tile).is_ok_and(keys::is_tile) {
            let takes = keys::TILES;
            return Err(format!("`paint.vae_tile` takes {takes}, and is {}", self.vae_tile));
        }
        within("eta", self.eta, 0.0, 1.0)?;
        within("guidance", self.guidance, 1.0, 50.0)?;
        within("guidance_rescale", self.guidance_rescale, 0.0, 1.0)?;
        self.regions.check().map_err(|problem| format!("`paint.regions.{problem}"))?;
        within("second_pass.strength", self.second_pass.strength, 0.0, 1.0)?;
        within("second_pass.enlarge", self.second_pass.enlarge, 1.0, 16.0)?;
        for lora in &self.loras {
            within("loras.scale", lora.scale, -10.0, 10.0)?;
            for (part, &scale) in &lora.blocks {
                if !is_part(part) {
                    let known = PARTS.join(", ");
                    return Err(format!("`paint.loras.blocks` has `{part}` (known: {known})"));
                }
                within(&format!("loras.blocks.{part}"), scale, -10.0, 10.0)?;
            }
            lora.subjects.as_ref().map_or(Ok(()), SubjectRule::check)?;
        }
        let known = self.sampler.parse::<Method>();
        known.map(|_| ()).map_err(|error| format!("`paint.sampler`: {error}"))
    }
}

/// The name of a sampler with another schedule than the name says, as `paint.sampler` takes it.
///
/// # Errors
///
/// If there is no such sampler or schedule, or the sampler can't be named with it.
pub fn with_schedule(sampler: &str, schedule: &str) -> Result<String, String> {
    let method: Method = sampler.parse().map_err(|error| format!("{error}"))?;
    let wanted: Schedule = schedule.parse().map_err(|error| format!("{error}"))?;
    let spacing = method.spacing.map_or(String::new(), |spacing| format!(" {spacing}"));
    let named = format!("{}{spacing} {wanted}", method.sampler);
    if named.parse() == Ok(Method { schedule: Some(wanted), ..method }) {
        return Ok(named);
    }
    Err(format!("the sampler `{sampler}` takes no schedule `{wanted}`"))
}

/// One LoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// The safetensors file.
    pub path: String,
    /// What its change of the weights is multiplied by, -10 to 10.
    #[serde(default = "defaults::lora_scale")]
    pub scale: f64,
    /// What the scale is multiplied by in parts of the model, -10 to 10 each: [`Scales::blocks`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, f64>,
    /// Whose it is alone; nobody's in particular, and merged into the weights, where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<SubjectRule>,
}

impl LoraConfig {
    /// How strongly it is wanted.
    pub fn scales(&self) -> Scales {
        Scales { uniform: self.scale, blocks: self.blocks.clone() }
    }
}

/// Which people have a LoRA: those with a value on an axis, or the one with a name in the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubjectRule {
    /// The axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axis: Option<String>,
    /// The value on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The name: "s1".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl SubjectRule {
    /// Whether it means a person.
    pub fn means(&self, subject: &Subject) -> bool {
        let has = |axis: &String, value: &String| {
            subject.values.iter().any(|it| it.axis == *axis && it.value == *value)
        };
        match (&self.axis, &self.value, &self.id) {
            (Some(axis), Some(value), None) => has(axis, value),
            (None, None, Some(id)) => subject.id == *id,
            _ => false,
        }
    }

    /// In words: "those with `older` on `age`".
    pub fn words(&self) -> String {
        match (&self.axis, &self.value, &self.id) {
            (Some(axis), Some(value), None) => format!("those with `{value}` on `{axis}`"),
            (_, _, Some(id)) => format!("`{id}`"),
            _ => "nobody".to_owned(),
        }
    }

    fn check(&self) -> Result<(), String> {
        match (&self.axis, &self.value, &self.id) {
            (Some(_), Some(_), None) | (None, None, Some(_)) => Ok(()),
            _ => {
                Err("`paint.loras.subjects` takes either `axis` and `value` or `id` alone"
                    .to_owned())
            }
        }
    }
}

/// How pictures are looked at afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The judge: a name in the manifest or a folder, "auto" for one that knows the painter, or "none".
    pub judge: String,
    /// By how much more probable the likeliest answer of CLIP or SigLIP must be than the second: 0 to 1.
    pub margin: f64,
}

/// What is of the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// What every draw and all noise is derived from, at most 2⁶³ − 1: TOML has no larger numbers.
    pub seed: u64,
    /// What a PNG says of itself.
    pub metadata: Metadata,
}

/// What a PNG says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// Everything that it takes to paint it again, and where it comes from.
    #[default]
    Full,
    /// That a model made it, and nothing else.
    Provenance,
    /// Nothing.
    None,
}

impl From<WrittenCanvas> for CanvasChoice {
    fn from(written: WrittenCanvas) -> Self {
        match written {
            WrittenCanvas::Word(CanvasWord::Auto) => Self::Auto,
            WrittenCanvas::Size(canvas) => Self::Fixed(canvas),
        }
    }
}

impl From<CanvasChoice> for WrittenCanvas {
    fn from(choice: CanvasChoice) -> Self {
        match choice {
            CanvasChoice::Auto => Self::Word(CanvasWord::Auto),
            CanvasChoice::Fixed(canvas) => Self::Size(canvas),
        }
    }
}

impl Config {
    /// Reads a configuration: the defaults, then `text` (its file's name, and what is in it), then
    /// the variables `TROUPE_*`, then `overrides` (a key as in "paint.steps", and its value).
    ///
    /// `TROUPE_PAINT_STEPS=4` sets `paint.steps`. Where a key takes words, a variable or an
    /// override is taken as it stands; else as TOML. Variables that name no table of the
    /// configuration, nor nearly so, belong to others and are passed over.
    ///
    /// # Errors
    ///
    /// If the file is longer than [`LONGEST`] or no TOML, or anything sets a key that isn't there,
    /// or one to what it doesn't take. The error says which and where.
    pub fn load(
        text: Option<(&str, &str)>,
        environment: &[(String, String)],
        overrides: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        layers::load(text, environment, overrides)
    }

    /// The configuration as TOML, with every key; read again it is the same.
    ///
    /// A seed beyond 2⁶³ − 1, which [`Config::load`] refuses, can't be written: the text is then a
    /// comment that says so.
    pub fn resolved_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}
