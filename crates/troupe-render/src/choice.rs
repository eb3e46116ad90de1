//! A choice among initial noises: a few steps of each, and then what the self-attentions tell of who is where.
//!
//! After ISAC's search without gradients (Jo et al. 2025, arXiv:2505.20935): where two people run together or nobody comes, the
//! tokens of a box listen to others or to the background.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_models::unet::{Listened, Probe};
use troupe_sampler::{Callbacks, NoiseSchedule};

use crate::denoiser::Denoiser;
use crate::noise::NoiseSource;
use crate::painter::latents_of;
use crate::repaint::Given;
use crate::{Job, Noise, Painter, RenderError};

impl Painter {
    /// The noise with which a picture begins: the job's, or of several the one with which everybody is best told apart.
    ///
    /// The first is the job's own; given noise is never replaced.
    pub(crate) fn chosen_noise(
        &self,
        job: &Job,
        schedule: &NoiseSchedule,
    ) -> Result<Noise, RenderError> {
        let settings = job.settings.regions;
        let mut best: Option<(f32, Noise)> = None;
        for number in 0..settings.noises {
            let Some(noise) = candidate(&job.noise, number) else { break };
            let score = self.score(job, schedule, &noise)?;
            if best.as_ref().is_none_or(|(most, _)| *most < score) {
                best = Some((score, noise));
            }
        }
        Ok(best.map_or_else(|| job.noise.clone(), |(_, noise)| noise))
    }

    /// How well the people are told apart after the first steps from a noise.
    fn score(
        &self,
        job: &Job,
        schedule: &NoiseSchedule,
        noise: &Noise,
    ) -> Result<f32, RenderError> {
        let grid = latents_of(job.canvas);
        let last = job.settings.regions.noise_steps.min(schedule.steps().len() - 1);
        let mut source =
            NoiseSource::new(noise, self.latent_channels(), grid, schedule.steps().len());
        let initial = source.initial()?;
        let given = Given::Nothing;
        let probe = Arc::new(Probe::default());
        let (denoiser, _) = Denoiser::new(self, job, (schedule, &initial), &given, grid)?;
        let step_now = std::cell::Cell::new(0);
        schedule.first(last + 1).sample::<RenderError>(
            &initial,
            Callbacks {
                denoise: &mut |latents: &Tensor, timestep| {
                    if step_now.get() == last {
                        return denoiser.looked_at(latents, timestep, last, &probe);
                    }
                    denoiser.output(latents, timestep, step_now.get())
                },
                step_noise: &mut |step| source.step(step),
                before_step: &mut |step, latents| {
                    step_now.set(step);
                    Ok(latents)
                },
            },
        )?;
        Ok(apart(&probe.take()))
    }
}

/// One of the noises that a job may begin with.
fn candidate(noise: &Noise, number: usize) -> Option<Noise> {
    if number == 0 {
        return Some(noise.clone());
    }
    let other = format!("noise/choice/{number}");
    match noise {
        Noise::Seeded(seed) => Some(Noise::Seeded(seed.repainting(&other))),
        Noise::TorchCpu(seed) => Some(Noise::TorchCpu(seed.repainting(&other))),
        Noise::Given { .. } => None,
    }
}

/// The mean logarithm of what each person's tokens hear of their own region, over people and layers: one who is lost costs
/// more than a little more of all others brings.
fn apart(listened: &[Listened]) -> f32 {
    let shares = listened.iter().flat_map(|it| &it.subjects);
    let (mut sum, mut count) = (0.0, 0.0);
    for (_, shares) in shares {
        sum += shares.own.max(1e-6).ln();
        count += 1.0;
    }
    if 0.0 < count { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use troupe_core::seed::Seed;
    use troupe_models::unet::Shares;

    #[test]
    fn one_who_is_lost_costs_more_than_the_others_bring() {
        let of = |own: [f32; 2]| {
            let shares = own.map(|own| Shares { own, others: 0.0, background: 1.0 - own });
            let subjects = shares.into_iter().enumerate().collect();
            apart(&[Listened { level: 0, subjects }])
        };
        assert!(of([0.9, 0.05]) < of([0.4, 0.4]));
        assert!(of([0.4, 0.4]) < of([0.5, 0.4]));
    }

    #[test]
    fn the_first_noise_is_the_seeds_own_and_given_noise_is_alone() {
        let seeded = Noise::Seeded(Seed(4));
        let seed = |number: usize| match candidate(&seeded, number) {
            Some(Noise::Seeded(seed)) => seed,
            _ => panic!("seeded noise stays seeded"),
        };
        assert_eq!(seed(0), Seed(4));
        assert!(seed(1) != seed(0) && seed(2) != seed(1));
    }
}
