//! Layouts to pictures: the model's files, its LoRAs, and what the finished PNG says of itself.

mod anew;
mod extras;
mod folder;
mod loras;
mod network;
mod record;
mod second_pass;
pub(crate) mod texts;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use troupe_core::document::Document;
use troupe_core::layout::{Canvas, Layout, Placement};
use troupe_core::plan::Subject as Cast;
use troupe_core::seed::Seed;
use troupe_plan::phrase::kind;
use troupe_render::{Job, Loras, Noise, Painter, Person, Scene, Settings};
use troupe_sampler::{Method, Sampler, SamplingOptions, Schedule};

pub use anew::{Anew, FEATHER, Original, Pixels, mask_runs};
pub use folder::ModelFolder;
pub use loras::{Asked, LoraFile, check_configured, find_lora};
pub use record::{Hashed, Part, PictureRecord, Plain, Repainted};

use self::loras::AllUsed;
use self::second_pass::SecondPass;
use self::watch::Watch;
use crate::config::{PaintConfig, Rng, SubjectRule};
use crate::metadata::{Parameters, encode_png};
use crate::{PipelineError, Studio, Talk, tensors};

/// What to paint.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A layout.
    Layout(&'a Layout),
    /// A prompt as it is.
    Plain(&'a Plain),
}

/// A picture that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What is on it.
    pub subject: Subject<'a>,
    /// The seed of its noise.
    pub seed: Seed,
    /// Another picture, of which a part is painted anew; without one all of it is painted.
    pub anew: Option<&'a Anew>,
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
    vae: Option<Hashed>,
    embeddings: Vec<Hashed>,
    loras: AllUsed,
    asked: Asked,
    knows: Vec<String>,
    /// The sizes on which the model is at home.
    canvases: Vec<Canvas>,
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
    /// Loads the model with the configured LoRAs and those that a picture asks for.
    ///
    /// # Errors
    ///
    /// If one of them is missing or broken, or doesn't fit the model.
    pub fn load(
        studio: &Studio,
        model: &ModelFolder,
        asked: &Asked,
        talk: &mut dyn Talk,
    ) -> Result<Self, PipelineError> {
        use_threads(studio.config.paint.threads)?;
        let loras = AllUsed::open(studio, asked, &AllUsed::default())?;
        let [merged, bound] = loras.scaled();
        let (painter, applied) = model.load(Loras { merged: &merged, bound: &bound })?;
        loras.report(&applied, talk);
        let (vae, embeddings) = model.hashed_extras();
        Ok(Self {
            painter,
            model: model.hashed(),
            vae,
            embeddings,
            loras,
            asked: asked.clone(),
            knows: model.knows(),
            canvases: model.canvases()?,
        })
    }

    /// Takes the LoRAs that another picture asks for in place of those of the last one; the model isn't loaded again, and
    /// what stays the same isn't read again.
    ///
    /// # Errors
    ///
    /// If one of them is missing or broken, or doesn't fit the model: then all is as it was.
    pub fn take_loras(
        &mut self,
        studio: &Studio,
        asked: &Asked,
        talk: &mut dyn Talk,
    ) -> Result<(), PipelineError> {
        if self.asked == *asked {
            return Ok(());
        }
        let loras = AllUsed::open(studio, asked, &self.loras)?;
        let [merged, bound] = loras.scaled();
        let applied = self.painter.set_loras(Loras { merged: &merged, bound: &bound })?;
        loras.report(&applied, talk);
        self.loras = loras;
        self.asked = asked.clone();
        Ok(())
    }

    /// Whether this is what painted a picture.
    ///
    /// # Errors
    ///
    /// If it is another model or autoencoder, or there are other textual inversions or LoRAs.
    pub fn check(&self, record: &PictureRecord) -> Result<(), PipelineError> {
        type Parts<'a> = (&'a Hashed, Option<&'a Hashed>, &'a [Hashed], &'a [Hashed]);
        let all = |(model, vae, embeddings, loras): Parts<'_>| {
            let parts = std::iter::once(model).chain(vae).chain(embeddings).chain(loras);
            let parts = parts.map(|it| match &it.scale {
                Some(scale) => format!("{} [{}] at {scale}", it.name, it.hash),
                None => format!("{} [{}]", it.name, it.hash),
            });
            parts.collect::<Vec<_>>().join(", ")
        };
        let wanted = all((&record.model, record.vae.as_ref(), &record.embeddings, &record.loras));
        let found = all((&self.model, self.vae.as_ref(), &self.embeddings, &self.loras.hashed()));
        if wanted == found { Ok(()) } else { Err(PipelineError::OtherModel { wanted, found }) }
    }

    /// Paints a picture; returns the PNG file.
    ///
    /// # Errors
    ///
    /// If it can't be painted.
    pub fn paint(
        &self,
        studio: &Studio,
        order: Order<'_>,
        exchange: &Exchange,
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<Vec<u8>, PipelineError> {
        let Order { subject, seed, anew } = order;
        let paint = &studio.config.paint;
        let mut regions = paint.regions;
        if let Some(contrast) = anew.and_then(|anew| anew.record().contrast) {
            regions.contrast = contrast;
        }
        let method: Method =
            paint.sampler.parse().map_err(|error| PipelineError::Usage(format!("{error}")))?;
        let schedule = method.schedule.unwrap_or(Schedule::Uniform);
        warn_of_the_unused(paint, method.sampler, schedule, talk);
        let (canvas, scene, prompt) = match subject {
            Subject::Plain(plain) => {
                self.warn_of_the_absent(&[], talk);
                (plain.canvas, Scene::Plain(plain.prompt.clone()), plain.prompt.clone())
            }
            Subject::Layout(layout) => {
                self.warn_of_strangers(layout, talk);
                self.warn_of_the_absent(&layout.plan.subjects, talk);
                (layout.canvas, self.group(layout), layout.plan.prompt.clone())
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
                regions: regions.settings(),
            },
            noise,
        };
        let mut watch = Watch::new(exchange, place, talk);
        let painted = match anew {
            Some(anew) => self.painter.repaint(&job, anew.repaint(), &mut watch),
            None => self.painter.paint(&job, &mut watch),
        };
        let mut picture = watch.outcome(painted)?;
        if let Subject::Layout(layout) = subject {
            let pass = SecondPass::new(self, studio, (layout, seed), &job);
            picture.rgb = pass.over(picture.rgb, anew, place, talk)?;
        }
        for note in &picture.notes {
            talk.note(note);
        }
        let named = self.named(paint);
        let loras = self.loras.hashed();
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
            vae: self.vae.clone(),
            embeddings: self.embeddings.clone(),
            loras: loras.clone(),
            plain,
            layout,
            repainted: anew.map(|anew| anew.record().clone()),
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
            vae: self.vae.as_ref().map(|it| (it.name.clone(), it.hash.clone())),
            clip_skip: named.clip_skip,
            loras: loras.into_iter().map(|it| (it.name, it.hash)).collect(),
            embeddings: self.spoken(subject, &paint.negative),
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
        // Of a run, not of one picture of it.
        paint.retries = 0;
        let paths = paint.loras.iter_mut().map(|lora| &mut lora.path);
        for path in paths.chain(&mut paint.embeddings).chain([&mut paint.vae]) {
            let name = Path::new(&*path).file_name();
            *path = name.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        }
        paint
    }

    /// The textual inversions that a prompt names, by word and hash.
    fn spoken(&self, subject: Subject<'_>, negative: &str) -> Vec<(String, String)> {
        let mut texts = vec![negative];
        match subject {
            Subject::Plain(plain) => texts.push(&plain.prompt),
            Subject::Layout(layout) => {
                texts.push(&layout.base_prompt);
                texts.extend(layout.subjects.iter().map(|it| it.sub_prompt.as_str()));
                texts.extend(layout.plan.subjects.iter().map(|it| it.paint.negative.as_str()));
            }
        }
        let texts = texts.join("\n").to_lowercase();
        let word = |it: &Hashed| {
            let stem = Path::new(&it.name).file_stem();
            stem.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let named = self.embeddings.iter().map(|it| (word(it), it.hash.clone()));
        named.filter(|(word, _)| texts.contains(&word.to_lowercase())).collect()
    }

    /// The people of a layout, each with the LoRAs that are its own.
    fn group(&self, layout: &Layout) -> Scene {
        let person = |placement: &Placement| {
            let person =
                Person::new(placement.sub_prompt.clone(), placement.bounds, placement.depth);
            let subject = layout.plan.subjects.iter().find(|it| it.id == placement.id);
            let Some(subject) = subject else { return person };
            let mine = |rules: &[SubjectRule]| rules.iter().any(|rule| rule.means(subject));
            let loras = self.loras.bound().enumerate().filter(|(_, (_, rules))| mine(rules));
            let manner = &subject.paint;
            Person {
                loras: loras.map(|(lora, _)| lora).collect(),
                negative: manner.negative.clone(),
                kind: kind(&layout.plan, subject, &placement.sub_prompt),
                guidance: manner.guidance,
                strength: manner.strength.unwrap_or(1.0),
                ..person
            }
        };
        Scene::Group {
            base: layout.base_prompt.clone(),
            people: layout.subjects.iter().map(person).collect(),
        }
    }

    /// Says which LoRAs are of people who aren't there.
    fn warn_of_the_absent(&self, subjects: &[Cast], talk: &mut dyn Talk) {
        for (name, rules) in self.loras.bound() {
            let means = |subject| rules.iter().any(|rule| rule.means(subject));
            if !subjects.iter().any(means) {
                talk.note(&format!(
                    "LoRA {name} is for {}, and nobody in the picture is",
                    loras::words(rules)
                ));
            }
        }
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

/// Says which settings change nothing with this sampler and schedule.
fn warn_of_the_unused(
    paint: &PaintConfig,
    sampler: Sampler,
    schedule: Schedule,
    talk: &mut dyn Talk,
) {
    if paint.eta != 0.0 && !sampler.uses_eta() {
        talk.note(&format!("eta is DDIM's; the sampler {sampler} doesn't use it"));
    }
    if let Some(spacing) = paint.spacing.chosen()
        && !schedule.uses_spacing()
    {
        talk.note(&format!("the schedule {schedule} has its own spacing, so {spacing} isn't used"));
    }
}

/// Sets how many threads compute, once in a process; 0 is as many as there are processors.
pub(crate) fn use_threads(threads: usize) -> Result<(), PipelineError> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let start = || rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_ok();
    if *STARTED.get_or_init(start) { Ok(()) } else { Err(PipelineError::Threads(threads)) }
}
