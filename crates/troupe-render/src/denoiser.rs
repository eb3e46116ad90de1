//! The network with all that it is told in each step, as a sampler asks it.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use troupe_core::region::TokenGrid;
use troupe_models::unet::{Isolation, PreparedContext, Probe, UNet, Wanted};
use troupe_sampler::{NoiseSchedule, Step, rescale_guidance};

use crate::alone::steps_alone;
use crate::composition::{Composition, Noised};
use crate::conditioning::{own_boxes, people, regions};
use crate::outline::Outlines;
use crate::painter::{finite, latents_of};
use crate::repaint::Given;
use crate::{Job, Painter, RegionSettings, RenderError};

/// What a job says, encoded once, whatever noise it is painted from.
pub(crate) struct Said<'a> {
    pub(crate) context: PreparedContext,
    pub(crate) composition: Option<Composition<'a>>,
    /// What a person should know, such as words that didn't fit.
    pub(crate) notes: Vec<String>,
}

/// What answers a sampler.
pub(crate) struct Denoiser<'a> {
    unet: &'a UNet,
    job: &'a Job,
    said: &'a Said<'a>,
    schedule: &'a NoiseSchedule,
    /// What the picture begins with, of unit variance.
    noise: &'a Tensor,
    given: &'a Given,
    guidance: Guidance,
    /// After how many steps boxes become outlines; `None` where they don't, or have.
    outline: Option<usize>,
    outlines: Option<Outlines>,
    /// What was told last, and with which base ratio.
    told: Option<(f64, PreparedContext)>,
}

/// Classifier-free guidance (arXiv:2207.12598).
enum Guidance {
    /// The prompts alone are asked.
    None,
    /// The same everywhere.
    Even(f64),
    /// Shape `(1, height, width, 1)`.
    Uneven(Tensor),
}

impl Painter {
    /// Encodes all that a job says, for its steps from `first` on.
    pub(crate) fn said<'a>(&self, job: &'a Job, first: usize) -> Result<Said<'a>, RenderError> {
        let (context, notes) = self.context(job, latents_of(job.canvas))?;
        let composition = Composition::new(self, job, first)?;
        self.texts.release();
        Ok(Said { context, composition, notes })
    }
}

impl<'a> Denoiser<'a> {
    pub(crate) fn new(
        painter: &'a Painter,
        (job, said): (&'a Job, &'a Said<'a>),
        (schedule, noise): (&'a NoiseSchedule, &'a Tensor),
        given: &'a Given,
    ) -> Result<Self, RenderError> {
        let settings = job.settings.regions;
        let refined = 0.0 < settings.outline && !people(job).is_empty();
        // Who is painted alone first is in the picture only after that.
        let together = steps_alone(job, schedule.steps().len()) + 1;
        let after = first_steps(settings.outline, schedule.steps().len()).max(together);
        Ok(Self {
            unet: painter.unet()?,
            job,
            said,
            schedule,
            noise,
            given,
            guidance: Guidance::new(job, said.context.rows(), latents_of(job.canvas))?,
            outline: refined.then_some(after),
            outlines: None,
            told: None,
        })
    }

    /// What the network says of latents in the scale in which it sees them, guidance included.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn output(
        &mut self,
        latents: &Tensor,
        timestep: f64,
        step: usize,
    ) -> Result<Tensor, RenderError> {
        if let Some(composition) = self.said.composition.as_ref().filter(|it| step < it.steps) {
            let noised = Noised {
                noise: self.noise,
                sigma: sigma_at(self.schedule.steps(), step, timestep),
            };
            return composition.output(latents, step, noised, &mut |latents, context| {
                self.ask(latents, timestep, step, (context, Isolation::Free))
            });
        }
        let RegionSettings { isolate, isolate_level, .. } = self.job.settings.regions;
        let isolation = if step < first_steps(isolate, self.schedule.steps().len()) {
            Isolation::Isolated { from_level: isolate_level }
        } else {
            Isolation::Free
        };
        let context = self.told(step)?;
        if self.outline.take_if(|after| *after <= step + 1).is_none() {
            return self.ask(latents, timestep, step, (&context, isolation));
        }
        let probe = Arc::new(Probe::new(Wanted::Keys));
        let probed = context.probed(Arc::clone(&probe));
        let output = self.ask(latents, timestep, step, (&probed, isolation))?;
        let boxes = own_boxes(people(self.job), self.job.settings.regions);
        self.outlines = Outlines::new(&probe.keys(), context.levels(), &boxes)?;
        self.told = None;
        Ok(output)
    }

    /// The same of a step in which people see one another, which a probe looks at.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn looked_at(
        &mut self,
        latents: &Tensor,
        timestep: f64,
        step: usize,
        probe: &Arc<Probe>,
    ) -> Result<Tensor, RenderError> {
        let probed = self.told(step)?.probed(Arc::clone(probe));
        self.ask(latents, timestep, step, (&probed, Isolation::Free))
    }

    /// What the network is told in a step.
    fn told(&mut self, step: usize) -> Result<PreparedContext, RenderError> {
        let (people, settings) = (people(self.job), self.job.settings.regions);
        if people.is_empty() {
            return Ok(self.said.context.clone());
        }
        let steps = self.schedule.steps().len();
        let ratio = settings.base_ratio.at(step, steps);
        if let Some((before, context)) = &self.told
            && before.to_bits() == ratio.to_bits()
        {
            return Ok(context.clone());
        }
        let regions = regions(people, settings, step, steps);
        let maps = self.said.context.levels().iter().map(|&level| {
            let map = regions.map(level);
            match &self.outlines {
                Some(outlines) => outlines.refined(map, level),
                None => map,
            }
        });
        let context = self.said.context.with_maps(maps.collect(), settings.mixing)?;
        self.told = Some((ratio, context.clone()));
        Ok(context)
    }

    fn ask(
        &self,
        latents: &Tensor,
        timestep: f64,
        step: usize,
        (context, isolation): (&PreparedContext, Isolation),
    ) -> Result<Tensor, RenderError> {
        let entering = match self.given {
            Given::Beside(beside) => Tensor::cat(&[latents, beside], 3)?,
            Given::Kept(_) | Given::Nothing => latents.clone(),
        };
        let checked = |output: Tensor| {
            let steps = self.schedule.steps().len();
            finite(&output, || format!("what the UNet says in step {} of {steps}", step + 1))?;
            Ok::<_, RenderError>(output)
        };
        if let Guidance::None = self.guidance {
            return checked(self.unet.forward(&entering, timestep, context, isolation)?);
        }
        let both = Tensor::cat(&[&entering, &entering], 0)?;
        let both = checked(self.unet.forward(&both, timestep, context, isolation)?)?;
        let (without, with) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
        let apart = (&with - &without)?;
        let guided = match &self.guidance {
            Guidance::None => with.clone(),
            Guidance::Even(guidance) => (&without + (apart * *guidance)?)?,
            Guidance::Uneven(guidance) => (&without + apart.broadcast_mul(guidance)?)?,
        };
        Ok(rescale_guidance(&guided, &with, self.job.settings.guidance_rescale)?)
    }
}

impl Guidance {
    /// For a network that is asked in so many rows: the prompts alone, or without them too.
    fn new(job: &Job, rows: usize, grid: TokenGrid) -> Result<Self, RenderError> {
        let (people, everywhere) = (people(job), job.settings.guidance);
        if rows < 2 {
            return Ok(Self::None);
        }
        if people.iter().all(|person| person.guidance.is_none()) {
            return Ok(Self::Even(everywhere));
        }
        let map = own_boxes(people, job.settings.regions).map(grid);
        let mut guidance: Vec<f32> = vec![single(everywhere); grid.tokens()];
        for (person, weights) in people.iter().zip(&map.regions) {
            let more = single(person.guidance.unwrap_or(everywhere) - everywhere);
            guidance.iter_mut().zip(weights).for_each(|(it, weight)| *it += more * weight);
        }
        let shape = (1, grid.height, grid.width, 1);
        Ok(Self::Uneven(Tensor::from_vec(guidance, shape, &Device::Cpu)?))
    }
}

/// The noise in the latents that the network is asked about at a time: that of the step, or, where a sampler looks ahead, of the
/// next one.
fn sigma_at(steps: &[Step], step: usize, timestep: f64) -> f64 {
    let mut near = steps.iter().skip(step).take(2);
    let asked = near.find(|it| it.timestep.to_bits() == timestep.to_bits());
    asked.or(steps.get(step)).map_or(0.0, |it| it.sigma)
}

/// How many of the first steps a share of them is: `ceil(share · steps)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 0 to the number of steps"
)]
pub(crate) fn first_steps(share: f64, steps: usize) -> usize {
    // A share such as 0.3 is a little more than three tenths; of ten steps it still means three.
    ((share * steps as f64) - 1e-9).ceil().max(0.0) as usize
}

/// In the precision of tensors.
#[expect(clippy::cast_possible_truncation, reason = "settings and colours are small numbers")]
pub(crate) fn single(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_that_looks_ahead_asks_at_the_noise_of_the_next_step() {
        let step = |timestep: f64, sigma: f64| Step { timestep, sigma, sigma_next: 0.0 };
        let steps = [step(900.0, 9.0), step(500.0, 3.0), step(100.0, 0.5)];
        let at = [(0, 900.0), (0, 500.0), (1, 500.0), (2, 100.0)];
        let found: Vec<f64> = at.into_iter().map(|(at, time)| sigma_at(&steps, at, time)).collect();
        assert_eq!(found, vec![9.0, 3.0, 3.0, 0.5]);
    }

    #[test]
    fn a_share_of_the_steps_is_rounded_up() {
        let of = [(0.0, 20), (0.5, 20), (0.5, 5), (1.0, 20), (0.3, 10)];
        assert_eq!(of.map(|(share, steps)| first_steps(share, steps)), [0, 10, 3, 20, 3]);
    }
}
