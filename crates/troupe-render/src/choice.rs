//! A choice among initial noises, for each box: a few steps of each, and then what the self-attentions tell of who is where.
//!
//! After ISAC's search without gradients (Jo et al. 2025, arXiv:2505.20935): where two people run together or nobody comes, the
//! tokens of a box listen to others or to the background. Each box keeps the noise with which it listens most to itself; what
//! is nobody's keeps the seed's own. Whole pictures choose; what is painted anew in one begins with its seed's noise.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use troupe_models::unet::{Listened, Probe, Wanted};
use troupe_sampler::{Callbacks, NoiseSchedule};

use crate::conditioning::{own_boxes, people};
use crate::denoiser::{Denoiser, Said};
use crate::noise::NoiseSource;
use crate::painter::latents_of;
use crate::repaint::Given;
use crate::{Job, Noise, Painter, RenderError, Watcher};

/// What every trial of a picture has in common.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) job: &'a Job,
    pub(crate) said: &'a Said<'a>,
    pub(crate) schedule: &'a NoiseSchedule,
    pub(crate) given: &'a Given,
}

impl Painter {
    /// The noise with which a picture begins: the job's `own`, or in each box that of several with which the person is
    /// best told apart. Given noise is never replaced.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn chosen_noise(
        &self,
        trial: Trial<'_>,
        own: Tensor,
        watcher: &mut dyn Watcher,
    ) -> Result<Tensor, RenderError> {
        let job = trial.job;
        let (grid, settings) = (latents_of(job.canvas), job.settings.regions);
        let people = people(job);
        let given = matches!(job.noise, Noise::Given { .. });
        if settings.noises < 2 || people.is_empty() || given {
            return Ok(own);
        }
        let owners = own_boxes(people, settings).map(grid).owner;
        let mut best = vec![f32::NEG_INFINITY; people.len()];
        let mut mixed = own;
        for number in 0..settings.noises {
            let noise = candidate(&job.noise, number);
            let (initial, listened) = self.tried(trial, &noise, watcher)?;
            let scores = own_shares(&listened, people.len());
            let better: Vec<bool> =
                best.iter().zip(&scores).map(|(before, now)| before < now).collect();
            let theirs = owners.iter().map(|owner| owner.is_some_and(|owner| better[owner]));
            mixed = put(&mixed, &initial, theirs)?;
            best = best.into_iter().zip(scores).map(|(before, now)| before.max(now)).collect();
        }
        Ok(mixed)
    }

    /// The initial noise of a source, and what self-attentions tell after its first steps.
    fn tried(
        &self,
        Trial { job, said, schedule, given }: Trial<'_>,
        noise: &Noise,
        watcher: &mut dyn Watcher,
    ) -> Result<(Tensor, Vec<Listened>), RenderError> {
        let (grid, steps) = (latents_of(job.canvas), schedule.steps().len());
        let last = job.settings.regions.noise_steps.min(steps - 1);
        let mut source = NoiseSource::new(noise, self.latent_channels(), grid, steps);
        let initial = source.initial()?;
        let probe = Arc::new(Probe::new(Wanted::Shares));
        let mut denoiser = Denoiser::new(self, (job, said), (schedule, &initial), given)?;
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
                    watcher.trial()?;
                    Ok(latents)
                },
            },
        )?;
        Ok((initial, probe.listened()))
    }
}

/// One of the noises that a job may begin with; the first is its own.
fn candidate(noise: &Noise, number: usize) -> Noise {
    if number == 0 { noise.clone() } else { noise.other(&format!("noise/choice/{number}")) }
}

/// How much each person's tokens listen to their own region, in the mean of the layers.
fn own_shares(listened: &[Listened], people: usize) -> Vec<f32> {
    let mut sums = vec![(0.0, 0.0); people];
    for (subject, shares) in listened.iter().flat_map(|it| &it.subjects) {
        if let Some((sum, count)) = sums.get_mut(*subject) {
            *sum += shares.own;
            *count += 1.0;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / f32::max(count, 1.0)).collect()
}

/// One tensor, with another's latents where it says so.
///
/// Two of shape `(1, height, width, channels)` → the same shape.
fn put(
    one: &Tensor,
    other: &Tensor,
    theirs: impl Iterator<Item = bool>,
) -> Result<Tensor, RenderError> {
    let (_, height, width, channels) = one.dims4()?;
    let theirs: Vec<u8> = theirs.map(u8::from).collect();
    let theirs = Tensor::from_vec(theirs, (1, height, width, 1), &Device::Cpu)?;
    let theirs = theirs.broadcast_as((1, height, width, channels))?;
    Ok(theirs.where_cond(other, one)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use troupe_core::seed::Seed;
    use troupe_models::unet::Shares;

    #[test]
    fn a_person_is_as_well_told_apart_as_its_tokens_listen_to_their_own_in_the_mean() {
        let of = |level: usize, own: &[(usize, f32)]| {
            let shares = |own: f32| Shares { own, others: 0.0, background: 1.0 - own };
            Listened { level, subjects: own.iter().map(|&(who, own)| (who, shares(own))).collect() }
        };
        // The second one is too small for the deeper level.
        let listened = [of(0, &[(0, 0.5), (1, 0.25)]), of(1, &[(0, 0.75)])];
        assert_eq!(own_shares(&listened, 2), [0.625, 0.25]);
    }

    #[test]
    fn the_first_noise_is_the_seeds_own_and_the_others_are_others() {
        let seeded = Noise::Seeded(Seed(4));
        let seed = |number: usize| match candidate(&seeded, number) {
            Noise::Seeded(seed) => seed,
            Noise::TorchCpu(_) | Noise::Given { .. } => panic!("seeded noise stays seeded"),
        };
        assert_eq!(seed(0), Seed(4));
        assert!(seed(1) != seed(0) && seed(2) != seed(1));
    }

    #[test]
    fn latents_are_put_where_they_are_wanted() {
        let of = |value: f32| Tensor::full(value, (1, 2, 2, 3), &Device::Cpu).unwrap();
        let mixed = put(&of(1.0), &of(2.0), [false, true, false, false].into_iter()).unwrap();
        let mixed: Vec<f32> = mixed.flatten_all().unwrap().to_vec1().unwrap();
        let wanted = [1.0, 2.0, 1.0, 1.0].map(|latent: f32| [latent; 3]);
        assert_eq!(mixed, wanted.concat());
    }
}
