//! `[paint.regions]` and `[paint.second_pass]`: how the subjects' prompts act in their boxes, and how small ones are painted again.

use serde::{Deserialize, Serialize};
use troupe_render::{Mixing, Ramp, RegionSettings};

/// How the subjects' prompts act in their boxes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegionsConfig {
    /// What the base prompt still says inside a box, 0 to 1.
    pub base_ratio: RampConfig,
    /// How far guidance in a person's box leads away from the bare noun, and not from the negative prompt only, 0 to 1.
    pub contrast: f64,
    /// The part of the steps, from the first, in which subjects don't see one another, 0 to 1.
    pub isolate: f64,
    /// On the levels of the network from this one on, counted from the largest, 0 (all) to 8.
    pub isolate_level: u32,
    /// The part of the steps, from the first, in which each of several people is painted alone, 0 to 1.
    pub alone: f64,
    /// How wide the edges of boxes are, as a share of the picture's shorter side, 0 (sharp) to 0.5.
    pub feather: f64,
    /// How the prompts that speak to a place are made one.
    pub mixing: MixingWord,
    /// The part of the steps, from the first, in which each prompt has passes of its own, 0 (none) to 1.
    pub compose: f64,
    /// The part of the steps in which such a pass sees its person before one colour, 0 to 1.
    pub bootstrap: f64,
    /// The part of the steps after which boxes become the outlines of whom they hold, 0 (never) to 1.
    pub outline: f64,
    /// Among how many initial noises one is chosen for each box by whom the first self-attentions tell apart, 1 (no choice) to 32.
    pub noises: u32,
    /// After how many steps of each, 0 to 20.
    pub noise_steps: u32,
    /// How much of a picture with one blob for each box the noise is put on, 0 (noise alone) to 4.
    pub blobs: f64,
}

/// A second pass over people who are small in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecondPassConfig {
    /// With how much of the steps each is painted again, 0 (no second pass) to 1 (from noise alone).
    pub strength: f64,
    /// Only who can be enlarged so many times on one of the model's own sizes, 1 to 16.
    pub enlarge: f64,
}

/// A number, or two between which it changes from the first step to the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RampConfig {
    /// The same in all steps.
    Same(f64),
    /// Evenly from one to the other.
    Changing(Ends),
}

/// The ends of a [`RampConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// In the first step.
    pub from: f64,
    /// In the last step.
    pub to: f64,
}

/// How the prompts that speak to a place are made one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixingWord {
    /// [`Mixing::Outputs`].
    #[default]
    Outputs,
    /// [`Mixing::Scores`].
    Scores,
}

impl Default for RegionsConfig {
    fn default() -> Self {
        Self {
            base_ratio: RampConfig::Same(0.2),
            contrast: 0.0,
            isolate: 1.0,
            isolate_level: 0,
            alone: 0.2,
            feather: 0.0,
            mixing: MixingWord::Outputs,
            compose: 0.0,
            bootstrap: 0.0,
            outline: 0.0,
            noises: 1,
            noise_steps: 2,
            blobs: 0.0,
        }
    }
}

impl Default for SecondPassConfig {
    fn default() -> Self {
        Self { strength: 0.0, enlarge: 1.25 }
    }
}

impl RampConfig {
    /// Both ends.
    pub fn ramp(self) -> Ramp {
        match self {
            Self::Same(value) => Ramp { from: value, to: value },
            Self::Changing(Ends { from, to }) => Ramp { from, to },
        }
    }
}

impl RegionsConfig {
    /// As the painter takes it.
    pub fn settings(self) -> RegionSettings {
        let mixing = match self.mixing {
            MixingWord::Outputs => Mixing::Outputs,
            MixingWord::Scores => Mixing::Scores,
        };
        RegionSettings {
            base_ratio: self.base_ratio.ramp(),
            contrast: self.contrast,
            isolate: self.isolate,
            isolate_level: self.isolate_level as usize,
            alone: self.alone,
            feather: self.feather,
            mixing,
            compose: self.compose,
            bootstrap: self.bootstrap,
            outline: self.outline,
            noises: self.noises as usize,
            noise_steps: self.noise_steps as usize,
            blobs: self.blobs,
        }
    }

    /// Takes the setting of a key from another; one that isn't there changes nothing.
    pub fn take(&mut self, key: &str, other: &Self) {
        match key {
            "base_ratio" => self.base_ratio = other.base_ratio,
            "contrast" => self.contrast = other.contrast,
            "isolate" => self.isolate = other.isolate,
            "isolate_level" => self.isolate_level = other.isolate_level,
            "alone" => self.alone = other.alone,
            "feather" => self.feather = other.feather,
            "mixing" => self.mixing = other.mixing,
            "compose" => self.compose = other.compose,
            "bootstrap" => self.bootstrap = other.bootstrap,
            "outline" => self.outline = other.outline,
            "noises" => self.noises = other.noises,
            "noise_steps" => self.noise_steps = other.noise_steps,
            "blobs" => self.blobs = other.blobs,
            _ => {}
        }
    }

    /// Holds settings that came by another way than a configuration to the same bounds; a problem begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        let ratio = self.base_ratio.ramp();
        let numbers = [
            ("base_ratio", ratio.from, 0.0, 1.0),
            ("base_ratio", ratio.to, 0.0, 1.0),
            ("contrast", self.contrast, 0.0, 1.0),
            ("isolate", self.isolate, 0.0, 1.0),
            ("isolate_level", f64::from(self.isolate_level), 0.0, 8.0),
            ("alone", self.alone, 0.0, 1.0),
            ("feather", self.feather, 0.0, 0.5),
            ("compose", self.compose, 0.0, 1.0),
            ("bootstrap", self.bootstrap, 0.0, 1.0),
            ("outline", self.outline, 0.0, 1.0),
            ("noises", f64::from(self.noises), 1.0, 32.0),
            ("noise_steps", f64::from(self.noise_steps), 0.0, 20.0),
            ("blobs", self.blobs, 0.0, 4.0),
        ];
        let outside =
            |(_, value, least, most): &(_, f64, f64, f64)| !(least..=most).contains(&value);
        match numbers.into_iter().find(outside) {
            None => Ok(()),
            Some((key, value, least, most)) => {
                Err(format!("{key}` takes {least} to {most}, and is {value}"))
            }
        }
    }
}
