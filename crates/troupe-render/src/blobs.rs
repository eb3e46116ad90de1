//! Initial noise in which there is one blob for each box.
//!
//! The noisiest step of most models still holds a little of the picture, of which only what is largest can be seen: that is
//! how much they are used to when they begin, and what they go by (the signal leak, Everaert et al. 2023, arXiv:2309.15842). Noise
//! alone has accidents there, from which come people whom nobody asked for. So the network is asked what it sees in several
//! noises with everybody's prompt in its box, and the mean of that, in which the accidents are gone and each box has its blob, is
//! what the picture's own noise is put on.

use candle_core::Tensor;

use crate::choice::Trial;
use crate::conditioning::people;
use crate::denoiser::Denoiser;
use crate::noise::NoiseSource;
use crate::painter::latents_of;
use crate::{Noise, Painter, RenderError, Watcher};

/// In how many noises people are looked for, one pass each.
const NOISES: usize = 4;

impl Painter {
    /// A picture of blobs for the noise to be put on, or `None` where there are to be none. Given noise begins as it is.
    ///
    /// Shape `(1, height, width, channels)`.
    pub(crate) fn blobs(
        &self,
        Trial { job, said, schedule, given }: Trial<'_>,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Tensor>, RenderError> {
        let strength = job.settings.regions.blobs;
        let given_noise = matches!(job.noise, Noise::Given { .. });
        if strength <= 0.0 || people(job).is_empty() || given_noise {
            return Ok(None);
        }
        let (grid, steps) = (latents_of(job.canvas), schedule.steps().len());
        let mut sum: Option<Tensor> = None;
        for number in 0..NOISES {
            watcher.trial()?;
            let noise = job.noise.other(&format!("noise/blob/{number}"));
            let noise = NoiseSource::new(&noise, self.latent_channels(), grid, steps).initial()?;
            let mut denoiser = Denoiser::new(self, (job, said), (schedule, &noise), given)?;
            let seen = schedule.seen_in::<RenderError>(&noise, &mut |latents, timestep| {
                denoiser.output(latents, timestep, 0)
            })?;
            sum = Some(match sum {
                Some(sum) => (sum + seen)?,
                None => seen,
            });
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let share = strength / NOISES as f64;
        Ok(sum.map(|sum| sum * share).transpose()?)
    }
}
