//! What a picture is a function of, and what comes out.

use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_models::unet::Mixing;
use troupe_sampler::SamplingOptions;

use crate::RenderError;

/// Everything that a picture is a function of, beside the model.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its size.
    pub canvas: Canvas,
    /// What is on it.
    pub scene: Scene,
    /// What isn't.
    pub negative: String,
    /// How it is painted.
    pub settings: Settings,
    /// What it begins with.
    pub noise: Noise,
}

/// What a picture shows.
#[derive(Clone, Debug)]
pub enum Scene {
    /// One prompt for the whole picture.
    Plain(String),
    /// A place, and people in it.
    Group {
        /// The scene, without any attribute of a person.
        base: String,
        /// The people.
        people: Vec<Person>,
    },
}

/// One person of a group.
#[derive(Clone, Debug)]
pub struct Person {
    /// What is said of this person alone.
    pub prompt: String,
    /// Where the person stands.
    pub bounds: BoundingBox,
    /// How far in front.
    pub depth: u32,
    /// The LoRAs that this person alone has, by their numbers in [`Loras::bound`](crate::Loras::bound).
    pub loras: Vec<usize>,
    /// What shouldn't be seen of this person, beside what shouldn't be seen at all.
    pub negative: String,
    /// What the person is before anything more is said, in a prompt's words, such as "a wizard"; see
    /// [`RegionSettings::contrast`].
    pub kind: String,
    /// Guidance where this person is; `None` is the picture's.
    pub guidance: Option<f64>,
    /// What the person's part in the box is multiplied by, in `[0, 1]`.
    pub strength: f64,
}

impl Person {
    /// Somebody of whom nothing more is said.
    pub fn new(prompt: impl Into<String>, bounds: BoundingBox, depth: u32) -> Self {
        Self {
            prompt: prompt.into(),
            bounds,
            depth,
            loras: Vec::new(),
            negative: String::new(),
            kind: String::new(),
            guidance: None,
            strength: 1.0,
        }
    }
}

/// How a picture is painted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The way down the noise levels.
    pub sampling: SamplingOptions,
    /// Classifier-free guidance (arXiv:2207.12598) as diffusers counts it: 1 is none.
    pub guidance: f64,
    /// How far the guided output gets back the spread of the unguided one (arXiv:2305.08891), in
    /// `[0, 1]`.
    pub guidance_rescale: f64,
    /// How the people's prompts act in their boxes.
    pub regions: RegionSettings,
}

/// How the people's prompts act in their boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionSettings {
    /// The base prompt's weight inside a box, in `[0, 1]`.
    pub base_ratio: Ramp,
    /// How much of what the model makes of a person's kind alone is among what guidance leads away from in the person's box, in
    /// `[0, 1]`: 0 is nothing, and at 1 guidance leads from there to what is said of the person.
    pub contrast: f64,
    /// The share of the steps in which people don't see one another, in `[0, 1]`.
    pub isolate: f64,
    /// On the levels of the network from this one on, counted from the largest, 0.
    pub isolate_level: usize,
    /// The share of the steps, from the first, in which each of several people is painted alone, in `[0, 1]`.
    pub alone: f64,
    /// How wide the boxes' edges are, as a share of the picture's shorter side, in `[0, 1]`.
    pub feather: f64,
    /// How the prompts that speak to a token are made one.
    pub mixing: Mixing,
    /// The share of the steps, from the first, in which each prompt has passes of its own, in `[0, 1]`.
    pub compose: f64,
    /// The share of the steps, from the first, in which those passes see a person before one colour, in `[0, 1]`.
    pub bootstrap: f64,
    /// After which share of the steps boxes become outlines, in `[0, 1]`; 0 is never.
    pub outline: f64,
    /// Among how many initial noises one is chosen for each box; 1 is no choice.
    pub noises: usize,
    /// After how many steps of each.
    pub noise_steps: usize,
    /// How much of a picture with one blob for each box the noise is put on, in `[0, 4]`: 0 is noise alone, 1 as much as the model's
    /// noisiest step holds of any picture.
    pub blobs: f64,
}

/// A setting that changes evenly from the first step to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// In the first step.
    pub from: f64,
    /// In the last step.
    pub to: f64,
}

impl RegionSettings {
    /// With a base ratio that stays, and a share of the steps in which people don't see one another; all else is off.
    pub fn new(base_ratio: f64, isolate: f64) -> Self {
        Self {
            base_ratio: Ramp { from: base_ratio, to: base_ratio },
            contrast: 0.0,
            isolate,
            isolate_level: 0,
            alone: 0.0,
            feather: 0.0,
            mixing: Mixing::Outputs,
            compose: 0.0,
            bootstrap: 0.0,
            outline: 0.0,
            noises: 1,
            noise_steps: 2,
            blobs: 0.0,
        }
    }
}

impl Ramp {
    /// In a step of `steps`, counted from 0.
    #[expect(clippy::cast_precision_loss, reason = "there are at most a thousand steps")]
    pub fn at(self, step: usize, steps: usize) -> f64 {
        if self.from.to_bits() == self.to.to_bits() {
            return self.from;
        }
        let part = step as f64 / steps.saturating_sub(1).max(1) as f64;
        self.from * (1.0 - part) + self.to * part
    }
}

/// Where the noise comes from.
#[derive(Clone, Debug)]
pub enum Noise {
    /// The streams `noise` and, for samplers that add noise on the way, `noise/step/N` of a seed.
    Seeded(Seed),
    /// PyTorch's generator on the CPU with this seed, as diffusers uses it: first the latents, then
    /// what samplers add on the way, step by step.
    TorchCpu(Seed),
    /// Given numbers of unit variance.
    Given {
        /// Shape `(1, channels, height / 8, width / 8)`.
        noise: Tensor4,
        /// For samplers that add noise on the way: shape `(steps, channels, height / 8, width / 8)`.
        steps: Option<Tensor4>,
    },
}

/// Plain numbers of four dimensions, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor4 {
    /// Its four sizes.
    pub shape: [usize; 4],
    // As many as the product of `shape`.
    /// The numbers.
    pub values: Vec<f32>,
}

/// A finished picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Red, green and blue, row by row from the top.
    pub rgb: Vec<u8>,
    /// Its size.
    pub canvas: Canvas,
    /// What a person should know, such as words that didn't fit.
    pub notes: Vec<String>,
}

/// One cell of the deepest attention map, in pixels: what is smaller is lost there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Is told how far a picture is, and may stop it.
pub trait Watcher {
    /// Before step `step` of `steps`, the first and each other one that is taken of the whole picture, with the latents that
    /// enter it, `(1, channels, height / 8, width / 8)` in the UNet's space; after the last one once more, with `step == steps` and the final latents.
    ///
    /// # Errors
    ///
    /// To stop the painting.
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError>;

    /// Before a step that isn't one of the whole picture: a trial of some noise, or of somebody alone.
    ///
    /// # Errors
    ///
    /// To stop the painting.
    fn trial(&mut self) -> Result<(), RenderError> {
        Ok(())
    }
}
