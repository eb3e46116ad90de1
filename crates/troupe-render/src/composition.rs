//! Latent composition: in the first steps each prompt has passes of its own, and what they say is put together by the
//! regions' weights (`MultiDiffusion`, Bar-Tal et al. 2023, arXiv:2302.08113).
//!
//! A pass of a person may be bootstrapped, as there: around the person's part of the picture it sees one colour, a new one in
//! every step, with the noise of the step, so that it paints the person where the person is to be.

use candle_core::{Device, Tensor};
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_models::unet::PreparedContext;
use troupe_sampler::NoiseSchedule;

use crate::conditioning::{own_boxes, regions};
use crate::denoiser::shares;
use crate::painter::latents_of;
use crate::{Job, Noise, Painter, Person, RegionSettings, RenderError, Scene};

/// The side of a picture of one colour, in pixels, whose middle latent is that of any such picture.
const SIDE: usize = 64;
/// How many colours there are to choose from.
const COLOURS: u64 = 8;

/// The passes of a picture's prompts, each alone.
pub(crate) struct Composition {
    /// In how many of the first steps.
    pub(crate) steps: usize,
    /// Of the base prompt, then of each person.
    contexts: Vec<PreparedContext>,
    /// What each of them weighs, in each step: `(1, height, width, 1)`.
    weights: Vec<Vec<Tensor>>,
    /// Where each person is, whatever the base prompt says there: `(1, height, width, 1)`.
    masks: Vec<Tensor>,
    /// For each bootstrapped step and each person, one colour with the step's noise: `(1, height, width, channels)`.
    colours: Vec<Vec<Tensor>>,
}

impl Composition {
    /// Encodes each prompt on its own; `None` for a picture without people, and where no step is composed.
    pub(crate) fn new(
        painter: &Painter,
        job: &Job,
        (schedule, noise): (&NoiseSchedule, &Tensor),
        steps: usize,
    ) -> Result<Option<Self>, RenderError> {
        let (Scene::Group { base, people: group }, settings) = (&job.scene, job.settings.regions)
        else {
            return Ok(None);
        };
        if steps == 0 || group.is_empty() {
            return Ok(None);
        }
        let grid = latents_of(job.canvas);
        let alone = |scene: Scene| -> Result<PreparedContext, RenderError> {
            let regions = RegionSettings::new(0.0, 0.0);
            let settings = crate::Settings { regions, ..job.settings };
            let job = Job { scene, settings, ..job.clone() };
            Ok(painter.context(&job, grid)?.0)
        };
        let mut contexts = vec![alone(Scene::Plain(base.clone()))?];
        for person in group {
            let bounds = everything()?;
            // One region over the whole picture is its prompt alone, with the LoRAs that are bound to it.
            let own = Person { bounds, guidance: None, strength: 1.0, ..person.clone() };
            contexts.push(alone(Scene::Group { base: String::new(), people: vec![own] })?);
        }
        let tensor = |weights: Vec<f32>| -> Result<Tensor, RenderError> {
            Ok(Tensor::from_vec(weights, (1, grid.height, grid.width, 1), &Device::Cpu)?)
        };
        let of_step = |step: usize| -> Result<Vec<Tensor>, RenderError> {
            let map = regions(group, settings, step, schedule.steps().len()).map(grid);
            std::iter::once(map.base).chain(map.regions).map(tensor).collect()
        };
        let weights = (0..steps).map(of_step).collect::<Result<_, _>>()?;
        let owned = own_boxes(group, settings).map(grid).regions;
        let masks = owned.into_iter().map(tensor).collect::<Result<_, _>>()?;
        let bootstrapped = shares(settings.bootstrap, schedule.steps().len()).min(steps);
        let colours = if 0 < bootstrapped {
            colours(painter, job, (schedule, noise), (bootstrapped, group.len()))?
        } else {
            Vec::new()
        };
        Ok(Some(Self { steps, contexts, weights, masks, colours }))
    }

    /// What all prompts say together, each asked with `ask`.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn output(
        &self,
        latents: &Tensor,
        step: usize,
        ask: &mut dyn FnMut(&Tensor, &PreparedContext) -> Result<Tensor, RenderError>,
    ) -> Result<Tensor, RenderError> {
        let weights = self.weights.get(step).map_or(&[][..], Vec::as_slice);
        let mut sum: Option<Tensor> = None;
        for (index, (context, weight)) in self.contexts.iter().zip(weights).enumerate() {
            // The first is the base prompt, which sees all there is.
            let person = index.checked_sub(1);
            let colour =
                person.and_then(|at| self.colours.get(step)?.get(at).zip(self.masks.get(at)));
            let entering = match colour {
                Some((colour, mask)) => {
                    let inside = latents.broadcast_mul(mask)?;
                    (inside + colour.broadcast_mul(&mask.affine(-1.0, 1.0)?)?)?
                }
                None => latents.clone(),
            };
            let part = ask(&entering, context)?.broadcast_mul(weight)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| RenderError::Mismatch("nothing is composed".to_owned()))
    }
}

/// For each step and each person, one colour of a few, with the step's noise, in the scale in which the network sees latents.
fn colours(
    painter: &Painter,
    job: &Job,
    (schedule, noise): (&NoiseSchedule, &Tensor),
    (steps, people): (usize, usize),
) -> Result<Vec<Vec<Tensor>>, RenderError> {
    let seed = match &job.noise {
        Noise::Seeded(seed) | Noise::TorchCpu(seed) => *seed,
        Noise::Given { .. } => Seed(0),
    };
    let encoder = painter.vae_encoder()?;
    let mut stream = seed.stream("composition/colours");
    let mut latent = || -> Result<Tensor, RenderError> {
        let rgb = std::iter::repeat_with(|| single(2.0 * stream.unit() - 1.0));
        let rgb = Tensor::from_vec(rgb.take(3).collect::<Vec<f32>>(), (1, 1, 1, 3), &Device::Cpu)?;
        let latents = encoder.encode(&rgb.broadcast_as((1, SIDE, SIDE, 3))?.contiguous()?)?;
        let middle = latents.dim(1)? >> 1;
        Ok(latents.narrow(1, middle, 1)?.narrow(2, middle, 1)?)
    };
    let pool = (0..COLOURS).map(|_| latent()).collect::<Result<Vec<_>, _>>()?;
    let mut choices = seed.stream("composition/choices");
    let mut each = Vec::with_capacity(steps);
    for step in schedule.steps().iter().take(steps) {
        let alpha = 1.0 / step.sigma.hypot(1.0);
        let noise =
            if step.sigma.is_finite() { (noise * (step.sigma * alpha))? } else { noise.clone() };
        // With every colour once, of which each person has one.
        let noised = pool.iter().map(|latent| Ok(noise.broadcast_add(&(latent * alpha)?)?));
        let noised = noised.collect::<Result<Vec<Tensor>, RenderError>>()?;
        let mut choose = || {
            let at = usize::try_from(choices.below(COLOURS)).unwrap_or(0);
            noised.get(at).cloned()
        };
        each.push((0..people).filter_map(|_| choose()).collect());
    }
    Ok(each)
}

#[expect(clippy::cast_possible_truncation, reason = "in [-1, 1]")]
fn single(colour: f64) -> f32 {
    colour as f32
}

fn everything() -> Result<BoundingBox, RenderError> {
    BoundingBox::new(0.0, 0.0, 1.0, 1.0).map_err(|error| RenderError::Mismatch(error.to_string()))
}
