//! The network with all that it is told in each step, as a sampler asks it.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use troupe_core::region::TokenGrid;
use troupe_models::unet::{Isolation, PreparedContext, Probe, UNet, Wanted};
use troupe_sampler::{NoiseSchedule, rescale_guidance};

use crate::composition::Composition;
use crate::conditioning::{guided, own_boxes, people, regions};
use crate::outline::Outlines;
use crate::painter::finite;
use crate::repaint::Given;
use crate::{Job, Painter, Person, RegionSettings, RenderError};

/// What answers a sampler.
pub(crate) struct Denoiser<'a> {
    unet: &'a UNet,
    given: &'a Given,
    /// For each step, what it is told.
    steps: Vec<PreparedContext>,
    /// In how many steps people don't see one another, and from which level on.
    isolated: (usize, usize),
    guidance: Guidance,
    rescale: f64,
    composition: Option<Composition>,
    outline: Option<Outline<'a>>,
}

/// When boxes become outlines, and of whom.
struct Outline<'a> {
    /// After so many steps, at least one.
    after: usize,
    people: &'a [Person],
    settings: RegionSettings,
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

impl<'a> Denoiser<'a> {
    /// With what there is to say of a picture as long as it isn't noise: things worth a person's attention.
    pub(crate) fn new(
        painter: &'a Painter,
        job: &'a Job,
        (schedule, noise): (&NoiseSchedule, &Tensor),
        given: &'a Given,
        grid: TokenGrid,
    ) -> Result<(Self, Vec<String>), RenderError> {
        let settings = job.settings.regions;
        let steps = schedule.steps().len();
        let (context, notes) = painter.context(job, grid)?;
        let people = people(job);
        let composition =
            Composition::new(painter, job, (schedule, noise), shares(settings.compose, steps))?;
        painter.texts.release();
        let denoiser = Self {
            unet: painter.unet()?,
            given,
            steps: in_each_step(&context, people, settings, steps)?,
            isolated: (shares(settings.isolate, steps), settings.isolate_level),
            guidance: Guidance::new(job, grid)?,
            rescale: job.settings.guidance_rescale,
            composition,
            outline: (0.0 < settings.outline && !people.is_empty()).then(|| Outline {
                after: shares(settings.outline, steps).max(1),
                people,
                settings,
            }),
        };
        Ok((denoiser, notes))
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
        if let Some(composition) = self.composition.as_ref().filter(|it| step < it.steps) {
            return composition.output(latents, step, &mut |latents, context| {
                self.ask(latents, timestep, step, (context, Isolation::Free))
            });
        }
        let isolation = if step < self.isolated.0 {
            Isolation::IsolatedFrom(self.isolated.1)
        } else {
            Isolation::Free
        };
        let Some(outline) = self.outline.take_if(|it| it.after <= step + 1) else {
            return self.ask(latents, timestep, step, (self.told(step)?, isolation));
        };
        let probe = Arc::new(Probe::new(Wanted::Keys));
        let probed = self.told(step)?.probed(Arc::clone(&probe));
        let output = self.ask(latents, timestep, step, (&probed, isolation))?;
        self.refine(&probe.keys(), step + 1, &outline)?;
        Ok(output)
    }

    /// Puts outlines in place of boxes, from a step on.
    fn refine(
        &mut self,
        keys: &[(usize, Tensor)],
        from: usize,
        outline: &Outline<'_>,
    ) -> Result<(), RenderError> {
        let Outline { people, settings, .. } = *outline;
        let steps = self.steps.len();
        let levels = self.told(0)?.levels().to_vec();
        let boxes = regions(people, settings, 0, steps);
        let Some(outlines) = Outlines::new(keys, &levels, &boxes)? else { return Ok(()) };
        for (step, context) in self.steps.iter_mut().enumerate().skip(from) {
            let regions = regions(people, settings, step, steps);
            let maps = levels.iter().map(|&level| outlines.map(&regions, level)).collect();
            *context = context.with_maps(maps, settings.mixing)?;
        }
        Ok(())
    }

    /// The same of a step in which people see one another, which a probe looks at.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn looked_at(
        &self,
        latents: &Tensor,
        timestep: f64,
        step: usize,
        probe: &Arc<Probe>,
    ) -> Result<Tensor, RenderError> {
        let probed = self.told(step)?.probed(Arc::clone(probe));
        self.ask(latents, timestep, step, (&probed, Isolation::Free))
    }

    /// What the network is told in a step.
    fn told(&self, step: usize) -> Result<&PreparedContext, RenderError> {
        self.steps
            .get(step)
            .ok_or_else(|| RenderError::Mismatch("there is no step to be told anything".to_owned()))
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
            let steps = self.steps.len();
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
        Ok(rescale_guidance(&guided, &with, self.rescale)?)
    }
}

impl Guidance {
    fn new(job: &Job, grid: TokenGrid) -> Result<Self, RenderError> {
        let (people, everywhere) = (people(job), job.settings.guidance);
        if !guided(job) {
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

/// The context of each step: the prepared one, or with other regions.
fn in_each_step(
    context: &PreparedContext,
    people: &[Person],
    settings: RegionSettings,
    steps: usize,
) -> Result<Vec<PreparedContext>, RenderError> {
    let ratio = settings.base_ratio;
    let mut contexts: Vec<PreparedContext> = Vec::with_capacity(steps);
    for step in 0..steps {
        let same = people.is_empty() || 0 < step && ratio.from.to_bits() == ratio.to.to_bits();
        contexts.push(match contexts.last() {
            Some(before) if same => before.clone(),
            _ if people.is_empty() => context.clone(),
            _ => {
                let regions = regions(people, settings, step, steps);
                let maps = context.levels().iter().map(|&level| regions.map(level)).collect();
                context.with_maps(maps, settings.mixing)?
            }
        });
    }
    Ok(contexts)
}

/// How many of the first steps a share of them is: `ceil(share · steps)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 0 to the number of steps"
)]
pub(crate) fn shares(share: f64, steps: usize) -> usize {
    // A share such as 0.3 is a little more than three tenths; of ten steps it still means three.
    ((share * steps as f64) - 1e-9).ceil().max(0.0) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "guidance is at most 50")]
fn single(guidance: f64) -> f32 {
    guidance as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolation_holds_in_the_first_share_of_the_steps_rounded_up() {
        let of = [(0.0, 20), (0.5, 20), (0.5, 5), (1.0, 20), (0.3, 10)];
        assert_eq!(of.map(|(share, steps)| shares(share, steps)), [0, 10, 3, 20, 3]);
    }
}
