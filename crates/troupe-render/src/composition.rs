//! Latent composition: in the first steps each prompt has passes of its own, and what they say is put together by the
//! regions' weights (`MultiDiffusion`, Bar-Tal et al. 2023, arXiv:2302.08113).
//!
//! A pass of a person may be bootstrapped, as there: around the person's part of the picture it sees one colour of a few,
//! drawn anew in every step, with the noise of the step, so that it paints the person where the person is to be.

use candle_core::{Device, Tensor};
use troupe_core::region::{BoundingBox, TokenGrid};
use troupe_core::seed::Seed;
use troupe_models::unet::PreparedContext;

use crate::conditioning::{own_boxes, regions};
use crate::denoiser::{first_steps, single};
use crate::painter::latents_of;
use crate::{Job, Noise, Painter, Person, RegionSettings, RenderError, Scene, Settings};

/// The side of a picture of one colour, in pixels, whose middle latent is that of any such picture.
const SIDE: usize = 64;
/// How many colours there are to choose from.
const COLOURS: u64 = 8;

/// The passes of a picture's prompts, each alone.
pub(crate) struct Composition<'a> {
    /// In how many of the first steps.
    pub(crate) steps: usize,
    people: &'a [Person],
    settings: Settings,
    grid: TokenGrid,
    /// Of the base prompt, then of each person.
    contexts: Vec<PreparedContext>,
    /// Where each person is, whatever the base prompt says there: `(1, height, width, 1)`.
    masks: Vec<Tensor>,
    backdrops: Backdrops,
}

/// What people are seen before in the steps that are bootstrapped.
#[derive(Default)]
struct Backdrops {
    /// Latents of one colour each: `(1, 1, 1, channels)`.
    colours: Vec<Tensor>,
    /// For each bootstrapped step and each person: which of them.
    chosen: Vec<Vec<usize>>,
}

/// The noise that a picture begins with, `(1, height, width, channels)`, and how much of it there is beside an image of scale 1
/// in the latents that the network is asked about.
#[derive(Clone, Copy)]
pub(crate) struct Noised<'a> {
    pub(crate) noise: &'a Tensor,
    pub(crate) sigma: f64,
}

impl<'a> Composition<'a> {
    /// Encodes each prompt on its own; `None` for a picture without people, and where no step from `first` on is composed.
    pub(crate) fn new(
        painter: &Painter,
        job: &'a Job,
        first: usize,
    ) -> Result<Option<Self>, RenderError> {
        let (Scene::Group { base, people }, settings) = (&job.scene, job.settings) else {
            return Ok(None);
        };
        let steps = first_steps(settings.regions.compose, settings.sampling.steps);
        if steps <= first || people.is_empty() {
            return Ok(None);
        }
        let grid = latents_of(job.canvas);
        // Whoever is guided alone, all passes have two rows.
        let own = people.iter().filter_map(|person| person.guidance);
        let guidance = own.fold(settings.guidance, f64::max);
        let alone = |scene: Scene| -> Result<PreparedContext, RenderError> {
            let contrast = settings.regions.contrast;
            let regions = RegionSettings { contrast, ..RegionSettings::new(0.0, 0.0) };
            let settings = Settings { guidance, regions, ..settings };
            let job = Job { scene, settings, ..job.clone() };
            Ok(painter.context(&job, grid)?.0)
        };
        let mut contexts = vec![alone(Scene::Plain(base.clone()))?];
        for person in people {
            let bounds = everything()?;
            // One region over the whole picture is its prompt alone, with the LoRAs that are bound to it.
            let own = Person { bounds, guidance: None, strength: 1.0, ..person.clone() };
            contexts.push(alone(Scene::Group { base: person.prompt.clone(), people: vec![own] })?);
        }
        let owned = own_boxes(people, settings.regions).map(grid).regions;
        let masks = owned.into_iter().map(|weights| column(weights, grid));
        let masks = masks.collect::<Result<_, _>>()?;
        let bootstrapped = first_steps(settings.regions.bootstrap, settings.sampling.steps);
        let backdrops = match bootstrapped.min(steps) {
            0 => Backdrops::default(),
            steps => Backdrops::new(painter, job, (steps, people.len()))?,
        };
        Ok(Some(Self { steps, people, settings, grid, contexts, masks, backdrops }))
    }

    /// What all prompts say together, each asked with `ask`.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn output(
        &self,
        latents: &Tensor,
        step: usize,
        noised: Noised<'_>,
        ask: &mut dyn FnMut(&Tensor, &PreparedContext) -> Result<Tensor, RenderError>,
    ) -> Result<Tensor, RenderError> {
        let steps = self.settings.sampling.steps;
        let map = regions(self.people, self.settings.regions, step, steps).map(self.grid);
        let weights = std::iter::once(map.base).chain(map.regions);
        let mut sum: Option<Tensor> = None;
        for (index, (context, weights)) in self.contexts.iter().zip(weights).enumerate() {
            // The first is the base prompt, which sees all there is.
            let person = index.checked_sub(1);
            let backdrop =
                person.and_then(|at| self.backdrops.of(step, at).zip(self.masks.get(at)));
            let entering = match backdrop {
                Some((colour, mask)) => {
                    let inside = latents.broadcast_mul(mask)?;
                    let around = noised.colour(colour)?;
                    (inside + around.broadcast_mul(&mask.affine(-1.0, 1.0)?)?)?
                }
                None => latents.clone(),
            };
            let part = ask(&entering, context)?.broadcast_mul(&column(weights, self.grid)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| RenderError::Mismatch("nothing is composed".to_owned()))
    }
}

impl Backdrops {
    /// For so many steps and people.
    fn new(
        painter: &Painter,
        job: &Job,
        (steps, people): (usize, usize),
    ) -> Result<Self, RenderError> {
        let seed = match &job.noise {
            Noise::Seeded(seed) | Noise::TorchCpu(seed) => *seed,
            Noise::Given { .. } => Seed(0),
        };
        let encoder = painter.vae_encoder()?;
        let mut stream = seed.stream("composition/colours");
        let mut colour = || -> Result<Tensor, RenderError> {
            let rgb = std::iter::repeat_with(|| single(2.0 * stream.unit() - 1.0));
            let rgb: Vec<f32> = rgb.take(3).collect();
            let rgb = Tensor::from_vec(rgb, (1, 1, 1, 3), &Device::Cpu)?;
            let latents = encoder.encode(&rgb.broadcast_as((1, SIDE, SIDE, 3))?.contiguous()?)?;
            let middle = latents.dim(1)? >> 1;
            Ok(latents.narrow(1, middle, 1)?.narrow(2, middle, 1)?)
        };
        let colours = (0..COLOURS).map(|_| colour()).collect::<Result<_, _>>()?;
        let mut stream = seed.stream("composition/choices");
        let mut choose = || usize::try_from(stream.below(COLOURS)).unwrap_or(0);
        let chosen = (0..steps).map(|_| (0..people).map(|_| choose()).collect()).collect();
        Ok(Self { colours, chosen })
    }

    /// What a person is seen before in a step, if the step is bootstrapped.
    fn of(&self, step: usize, person: usize) -> Option<&Tensor> {
        self.colours.get(*self.chosen.get(step)?.get(person)?)
    }
}

impl Noised<'_> {
    /// A picture of one colour with as much of the noise, in the scale in which the network sees latents.
    ///
    /// Shape `(1, 1, 1, channels)` → `(1, height, width, channels)`.
    fn colour(self, latent: &Tensor) -> Result<Tensor, RenderError> {
        let Self { noise, sigma } = self;
        let alpha = 1.0 / sigma.hypot(1.0);
        let noise = if sigma.is_finite() { (noise * (sigma * alpha))? } else { noise.clone() };
        Ok(noise.broadcast_add(&(latent * alpha)?)?)
    }
}

/// Shape `(tokens,)` → `(1, height, width, 1)`.
fn column(weights: Vec<f32>, grid: TokenGrid) -> Result<Tensor, RenderError> {
    Ok(Tensor::from_vec(weights, (1, grid.height, grid.width, 1), &Device::Cpu)?)
}

fn everything() -> Result<BoundingBox, RenderError> {
    BoundingBox::new(0.0, 0.0, 1.0, 1.0).map_err(|error| RenderError::Mismatch(error.to_string()))
}
