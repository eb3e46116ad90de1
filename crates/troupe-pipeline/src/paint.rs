//! Layouts to pictures: the model's files, its LoRAs, and what the finished PNG says of itself.

mod extras;
mod folder;
mod loras;
mod network;
mod texts;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use troupe_core::document::Document;
use troupe_core::layout::{Canvas, Layout};
use troupe_core::plan::LoraTag;
use troupe_core::seed::Seed;
use troupe_render::{
    Job, Noise, Painter, Person, RenderError, Scaled, Scene, Settings, Tensor4, Watcher,
};
use troupe_sampler::{Method, SamplingOptions, Schedule};

pub use folder::ModelFolder;
pub use loras::{LoraFile, check_configured, find_lora};

use crate::config::{PaintConfig, Rng};
use crate::metadata::{Parameters, encode_png};
use crate::{PipelineError, Progress, Studio, Talk, tensors};

/// What was painted, with what; in the PNG's chunk `troupe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureRecord {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The seed of its noise.
    pub seed: Seed,
    /// Whether its noise was given, and doesn't come from the seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noise_given: bool,
    /// The resolved `[paint]`, with names where it had paths.
    pub paint: PaintConfig,
    /// The model, and its hash.
    pub model: Hashed,
    /// The LoRAs in their order, and their hashes.
    pub loras: Vec<Hashed>,
    /// What was painted without a layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Plain>,
    /// The layout that was painted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// A file of a model by name and hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// What it is called; not where it lies.
    pub name: String,
    /// As A1111 counts it.
    pub hash: String,
    /// How strongly a LoRA was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
}

/// A prompt that is painted as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// The prompt, without LoRA tags.
    pub prompt: String,
    /// The LoRAs that its tags asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraTag>,
    /// The size.
    pub canvas: Canvas,
}

impl Document for PictureRecord {
    const SCHEMA: &'static str = "troupe.picture/1";

    fn check(&self) -> Result<(), String> {
        self.paint.check()?;
        let names = self.paint.loras.iter().map(|lora| &lora.path);
        let names = names.chain(&self.paint.embeddings).chain([&self.paint.model, &self.paint.vae]);
        if let Some(path) = names.into_iter().find(|name| name.contains(['/', '\\', '\0'])) {
            return Err(format!("models and LoRAs go by name in a picture, and this is `{path}`"));
        }
        match (&self.plain, &self.layout) {
            (None, Some(layout)) => layout.check(),
            (Some(_), None) => Ok(()),
            (Some(_), Some(_)) | (None, None) => {
                Err("wanted either `plain` or `layout`".to_owned())
            }
        }
    }
}

/// What to paint.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A layout.
    Layout(&'a Layout),
    /// A prompt as it is.
    Plain(&'a Plain),
}

/// What comes from outside, for comparison with other implementations.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// A file with noise that replaces the seed's.
    pub noise: Option<PathBuf>,
    /// A folder for the latents that enter each step.
    pub save_latents: Option<PathBuf>,
}

/// A model, loaded with its LoRAs.
#[derive(Debug)]
pub struct Easel {
    painter: Painter,
    model: Hashed,
    loras: Vec<Hashed>,
    tags: Vec<LoraTag>,
    knows: Vec<String>,
}

/// Which picture of how many this is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// From 1.
    pub picture: usize,
    /// Of how many.
    pub of: usize,
}

impl Easel {
    /// Loads the model with the configured LoRAs and those that a prompt asks for.
    ///
    /// # Errors
    ///
    /// If one of them is missing or broken, or doesn't fit the model.
    pub fn load(
        studio: &Studio,
        model: &ModelFolder,
        tags: &[LoraTag],
        talk: &mut dyn Talk,
    ) -> Result<Self, PipelineError> {
        use_threads(studio.config.paint.threads)?;
        let mut files = loras::configured(studio)?;
        for tag in tags {
            files.push((find_lora(studio, &tag.name)?, tag.weight));
        }
        let scaled: Vec<Scaled> = files.iter().map(|(file, scale)| file.scaled(*scale)).collect();
        let (painter, applied) = model.load(&scaled)?;
        for lora in &applied {
            talk.note(&format!(
                "LoRA {}: {} tensors applied at scale {}",
                lora.file,
                lora.tensors.len(),
                lora.scale
            ));
            if 0 < lora.modules_without_alpha {
                talk.note(&format!(
                    "LoRA {}: no alpha for {} modules, so their rank stands in for it",
                    lora.file, lora.modules_without_alpha
                ));
            }
        }
        let loras = files
            .iter()
            .map(|(file, scale)| Hashed {
                name: file.name.clone(),
                hash: file.hash.clone(),
                scale: Some(*scale),
            })
            .collect();
        Ok(Self {
            painter,
            model: model.hashed(),
            loras,
            tags: tags.to_vec(),
            knows: model.knows(),
        })
    }

    /// Whether this is what painted a picture.
    ///
    /// # Errors
    ///
    /// If it is another model, or there are other LoRAs.
    pub fn check(&self, record: &PictureRecord) -> Result<(), PipelineError> {
        let all = |model: &Hashed, loras: &[Hashed]| {
            let parts = std::iter::once(model).chain(loras);
            let parts = parts.map(|it| match it.scale {
                Some(scale) => format!("{} [{}] at {scale}", it.name, it.hash),
                None => format!("{} [{}]", it.name, it.hash),
            });
            parts.collect::<Vec<_>>().join(", ")
        };
        let (wanted, found) = (all(&record.model, &record.loras), all(&self.model, &self.loras));
        if wanted == found { Ok(()) } else { Err(PipelineError::OtherModel { wanted, found }) }
    }

    /// Whether these are the tags that the model was loaded with.
    pub fn suits(&self, tags: &[LoraTag]) -> bool {
        self.tags == tags
    }

    /// Paints a picture; returns the PNG file.
    ///
    /// # Errors
    ///
    /// If it can't be painted.
    pub fn paint(
        &self,
        studio: &Studio,
        subject: Subject<'_>,
        seed: Seed,
        exchange: &Exchange,
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<Vec<u8>, PipelineError> {
        let paint = &studio.config.paint;
        let method: Method =
            paint.sampler.parse().map_err(|error| PipelineError::Usage(format!("{error}")))?;
        let schedule = method.schedule.unwrap_or(Schedule::Uniform);
        let (canvas, scene, prompt) = match subject {
            Subject::Plain(plain) => {
                (plain.canvas, Scene::Plain(plain.prompt.clone()), plain.prompt.clone())
            }
            Subject::Layout(layout) => {
                self.warn_of_strangers(layout, talk);
                (layout.canvas, group(layout), layout.plan.prompt.clone())
            }
        };
        let noise = match &exchange.noise {
            Some(path) => tensors::read_noise(path)?,
            None => match paint.rng {
                Rng::Troupe => Noise::Seeded(seed),
                Rng::TorchCpu => Noise::TorchCpu(seed),
            },
        };
        let job = Job {
            canvas,
            scene,
            negative: paint.negative.clone(),
            settings: Settings {
                sampling: SamplingOptions {
                    eta: paint.eta,
                    spacing: paint.spacing.chosen().or(method.spacing),
                    ..SamplingOptions::new(method.sampler, schedule, paint.steps as usize)
                },
                guidance: paint.guidance,
                guidance_rescale: paint.guidance_rescale,
                base_ratio: paint.regions.base_ratio,
                isolate: paint.regions.isolate,
            },
            noise,
        };
        let mut watch = Watch { exchange, place, talk, failure: RefCell::new(None) };
        let painted = self.painter.paint(&job, &mut watch);
        if let Some(failure) = watch.failure.take() {
            return Err(failure);
        }
        let picture = painted?;
        for note in &picture.notes {
            talk.note(note);
        }
        let named = self.named(paint);
        let (plain, layout) = match subject {
            Subject::Plain(plain) => (Some(plain.clone()), None),
            Subject::Layout(layout) => (None, Some(layout.clone())),
        };
        let record = PictureRecord {
            schema: PictureRecord::SCHEMA.to_owned(),
            seed,
            noise_given: exchange.noise.is_some(),
            paint: named.clone(),
            model: self.model.clone(),
            loras: self.loras.clone(),
            plain,
            layout,
        };
        let parameters = Parameters {
            prompt,
            negative: paint.negative.clone(),
            steps: paint.steps,
            sampler: method.sampler.a1111_name().to_owned(),
            schedule: Some(schedule.a1111_name().to_owned()),
            guidance: paint.guidance,
            seed: seed.0,
            torch_cpu: paint.rng == Rng::TorchCpu && exchange.noise.is_none(),
            width: canvas.width(),
            height: canvas.height(),
            model_hash: self.model.hash.clone(),
            model: self.model.name.clone(),
            vae: (!named.vae.is_empty()).then_some(named.vae),
            clip_skip: named.clip_skip,
            loras: self.loras.iter().map(|it| (it.name.clone(), it.hash.clone())).collect(),
            version: format!("troupe {}", env!("CARGO_PKG_VERSION")),
        };
        let record = serde_json::to_string(&record)
            .map_err(|error| PipelineError::Usage(format!("the record of the picture: {error}")))?;
        let size = (canvas.width(), canvas.height());
        Ok(encode_png(&picture.rgb, size, studio.config.run.metadata, &parameters, &record)?)
    }

    /// Settings with names where they have paths, which are nobody else's business.
    fn named(&self, paint: &PaintConfig) -> PaintConfig {
        let mut paint = paint.clone();
        paint.model.clone_from(&self.model.name);
        let paths = paint.loras.iter_mut().map(|lora| &mut lora.path);
        for path in paths.chain(&mut paint.embeddings).chain([&mut paint.vae]) {
            let name = Path::new(&*path).file_name();
            *path = name.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        }
        paint
    }

    /// Says which people the model has never seen.
    fn warn_of_strangers(&self, layout: &Layout, talk: &mut dyn Talk) {
        if self.knows.is_empty() {
            return;
        }
        let mut strangers: Vec<&str> = Vec::new();
        for subject in &layout.plan.subjects {
            let noun = subject.noun.as_str();
            if !self.knows.iter().any(|known| known == noun) && !strangers.contains(&noun) {
                strangers.push(noun);
            }
        }
        if !strangers.is_empty() {
            talk.note(&format!(
                "the painter `{}` has never seen: {}; it knows {}, and paints what it can",
                self.model.name,
                strangers.join(", "),
                self.knows.join(", ")
            ));
        }
    }
}

fn group(layout: &Layout) -> Scene {
    let person = |placement: &troupe_core::layout::Placement| Person {
        prompt: placement.sub_prompt.clone(),
        bounds: placement.bounds,
        depth: placement.depth,
    };
    Scene::Group {
        base: layout.base_prompt.clone(),
        people: layout.subjects.iter().map(person).collect(),
    }
}

/// Sets how many threads compute, once in a process; 0 is as many as there are processors.
fn use_threads(threads: usize) -> Result<(), PipelineError> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let start = || rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_ok();
    if *STARTED.get_or_init(start) { Ok(()) } else { Err(PipelineError::Threads(threads)) }
}

/// Hands progress on, keeps latents, and stops.
struct Watch<'a> {
    exchange: &'a Exchange,
    place: Place,
    talk: &'a mut dyn Talk,
    failure: RefCell<Option<PipelineError>>,
}

impl Watcher for Watch<'_> {
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        let Place { picture, of } = self.place;
        self.talk.progress(Progress::Painting { picture, of, step, steps });
        if let Some(folder) = &self.exchange.save_latents {
            let name = if step == steps {
                "final.safetensors".to_owned()
            } else {
                format!("step_{step:03}.safetensors")
            };
            if let Err(error) = tensors::write_latents(&folder.join(name), &latents()?) {
                let text = error.to_string();
                self.failure.replace(Some(error));
                return Err(RenderError::Stopped(text));
            }
        }
        if self.talk.stopped() {
            self.failure.replace(Some(PipelineError::Stopped));
            return Err(RenderError::Stopped("by the user".to_owned()));
        }
        Ok(())
    }
}
