//! Which noise levels a sampler visits: computed before anything is painted.
//!
//! Each of diffusers' scheduler classes chooses its timesteps in its own way, down to where it
//! rounds; what differs between them is in [`timesteps`] and [`NoiseSchedule::new`]. Two things are
//! ours: a schedule has exactly as many steps as were asked for (diffusers 0.42.1 adds one below
//! timestep 0 where the spacing is `trailing` and the quotient of two floats rounds up, as for 61 of
//! 1000), and one whose noise doesn't decrease is refused.

mod levels;
#[cfg(test)]
mod tests;
mod timesteps;

use crate::config::single;
use crate::name::Family;
use crate::{PredictionType, Sampler, Schedule, SchedulerConfig, TimestepSpacing};

use levels::{exponential, karras, linspace, log_sigma_at, sigma_at, timestep_at};

/// How a network's noise levels are walked down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// The algorithm.
    pub sampler: Sampler,
    /// The noise levels.
    pub schedule: Schedule,
    /// How many steps.
    pub steps: usize,
    /// How much new noise DDIM adds, from 0 (none) to 1 (as much as DDPM); others don't heed it.
    pub eta: f64,
    /// How timesteps are spaced; `None` is what the network's configuration says, and where it says
    /// nothing, the default of the sampler's class in diffusers. Only [`Schedule::Uniform`],
    /// [`Schedule::Karras`] and [`Schedule::Exponential`] heed it.
    pub spacing: Option<TimestepSpacing>,
}

impl SamplingOptions {
    /// Without new noise in DDIM, spaced as the network's configuration says.
    pub fn new(sampler: Sampler, schedule: Schedule, steps: usize) -> Self {
        Self { sampler, schedule, steps, eta: 0.0, spacing: None }
    }
}

/// The steps of one sampler from noise to latents.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    pub(crate) sampler: Sampler,
    pub(crate) prediction_type: PredictionType,
    // Invariant: from 0 to 1.
    pub(crate) eta: f64,
    pub(crate) timestep_scaling: f64,
    pub(crate) initial_sigma: f64,
    // Invariant: at least one step. In each, 0 ≤ sigma_next ≤ sigma, 0 < sigma, and sigma_next is
    // finite; except where DDIM goes by timesteps, sigma_next < sigma and sigma_next is the sigma of
    // the next step or, after the last one of all (`first` leaves those out), 0. Only the first sigma of DDIM, DDPM and LCM may be
    // infinite, and not where the network predicts the noise.
    pub(crate) steps: Vec<Step>,
    /// The step after the last, where [`first`](Self::first) left it out: Heun's method looks there.
    pub(crate) ahead: Option<Step>,
}

/// One step down the noise levels; one pass through the network, with Heun's method two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The time at which the network is asked; not always a whole number.
    pub timestep: f64,
    /// The noise before the step, as standard deviation beside an image of scale 1; infinite where
    /// nothing of the image is left.
    pub sigma: f64,
    /// The noise after the step.
    pub sigma_next: f64,
}

/// Why a sampler can't go down the noise levels of a network in so many steps.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No step at all, or more than the network has noise levels.
    #[error("the number of steps is {steps}, expected 1 to {most}")]
    StepCount {
        /// What was asked for.
        steps: usize,
        /// How many noise levels there are.
        most: usize,
    },
    /// A share of noise that isn't one.
    #[error("eta is {0}, expected 0 to 1")]
    Eta(f64),
    /// The offset of the configuration moves the first step out of the training's range.
    #[error(
        "{steps} steps begin at timestep {timestep}, and the network was trained up to {last}; fewer steps begin earlier"
    )]
    BeyondTraining {
        /// How many steps were asked for.
        steps: usize,
        /// The timestep of the first.
        timestep: f64,
        /// The last timestep of the training.
        last: usize,
    },
    /// Rounding makes two steps fall on the same timestep.
    #[error("{steps} steps are too many for {sampler}: step {step} has the noise of the next one")]
    NoDescent {
        /// How many steps were asked for.
        steps: usize,
        /// The sampler.
        sampler: Sampler,
        /// The first step, counted from 0, that removes no noise.
        step: usize,
    },
    /// The first step has nothing of the image, and the network predicts the noise, from which then
    /// nothing follows.
    #[error(
        "{sampler} begins at timestep {timestep}, where this network's noise hides all of the image, and predicting the noise doesn't help there; the spacing `leading` or another sampler begins below"
    )]
    NoSignal {
        /// The sampler.
        sampler: Sampler,
        /// The timestep of the first step.
        timestep: f64,
    },
}

impl NoiseSchedule {
    /// Chooses the noise levels of a network.
    ///
    /// # Errors
    ///
    /// If there is no step or more than the network has noise levels (for LCM: was distilled at), if
    /// so many steps can't be told apart, or if the first one can't be taken.
    pub fn new(config: &SchedulerConfig, options: SamplingOptions) -> Result<Self, ScheduleError> {
        let SamplingOptions { sampler, schedule, steps: count, eta, spacing } = options;
        let family = sampler.family();
        let most = match (family, schedule) {
            (Family::Consistency, Schedule::Uniform) => config.original_inference_steps,
            _ => config.num_train_timesteps(),
        };
        if !(1..=most).contains(&count) {
            return Err(ScheduleError::StepCount { steps: count, most });
        }
        if !(0.0..=1.0).contains(&eta) {
            return Err(ScheduleError::Eta(eta));
        }
        // The defaults of the classes' constructors.
        let spacing = spacing.or(config.timestep_spacing).unwrap_or(match family {
            Family::Timesteps | Family::Consistency => TimestepSpacing::Leading,
            Family::Sigmas | Family::Multistep => TimestepSpacing::Linspace,
        });

        let steps = match schedule {
            Schedule::Uniform => uniform(config, sampler, spacing, count)?,
            Schedule::Karras | Schedule::Exponential => bent(config, options, spacing)?,
            Schedule::Normal | Schedule::SgmUniform | Schedule::Simple => plain(config, options),
        };
        let by_timesteps = sampler == Sampler::Ddim && schedule == Schedule::Uniform;
        if let Some(step) = steps.iter().position(|step| step.sigma <= step.sigma_next)
            && !by_timesteps
        {
            return Err(ScheduleError::NoDescent { steps: count, sampler, step });
        }
        let first = steps[0];
        if first.sigma.is_infinite() && config.prediction_type == PredictionType::Epsilon {
            return Err(ScheduleError::NoSignal { sampler, timestep: first.timestep });
        }

        let initial_sigma = match (family, schedule, spacing) {
            (Family::Timesteps | Family::Consistency | Family::Multistep, _, _) => 1.0,
            (
                Family::Sigmas,
                Schedule::Uniform | Schedule::Karras | Schedule::Exponential,
                TimestepSpacing::Leading,
            ) => first.sigma.hypot(1.0),
            (Family::Sigmas, _, _) => first.sigma,
        };
        let prediction_type = config.prediction_type;
        let timestep_scaling = config.timestep_scaling;
        Ok(Self {
            sampler,
            prediction_type,
            eta,
            timestep_scaling,
            initial_sigma,
            steps,
            ahead: None,
        })
    }

    /// The steps in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The first steps of it, at least one: what they leave has noise in it still.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let last = count.clamp(1, self.steps.len());
        let ahead = self.steps.get(last).copied().or(self.ahead);
        Self { steps: self.steps[..last].to_vec(), ahead, ..self.clone() }
    }

    /// The last steps of it, at least one: for latents that begin with less noise.
    #[must_use]
    pub fn last(&self, count: usize) -> Self {
        let first = self.steps.len() - count.clamp(1, self.steps.len());
        Self { steps: self.steps[first..].to_vec(), ..self.clone() }
    }

    /// The sampler that takes these steps.
    pub fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// The standard deviation of the latents that enter the first step; the noise given to
    /// [`NoiseSchedule::sample`] is multiplied by it.
    pub fn initial_sigma(&self) -> f64 {
        self.initial_sigma
    }
}

/// [`Schedule::Uniform`].
fn uniform(
    config: &SchedulerConfig,
    sampler: Sampler,
    spacing: TimestepSpacing,
    steps: usize,
) -> Result<Vec<Step>, ScheduleError> {
    let family = sampler.family();
    let timesteps = timesteps::spaced(config, family, spacing, steps);
    within_training(config, &timesteps)?;
    let exact = |timestep: f64| sigma(config.alphas_cumprod[whole(timestep)]);
    Ok(match (family, sampler) {
        (Family::Timesteps, Sampler::Ddim) => ddim_steps(config, &timesteps),
        (Family::Timesteps | Family::Consistency, _) => {
            let levels: Vec<f64> = timesteps.iter().map(|&timestep| exact(timestep)).collect();
            descend(&timesteps, &levels)
        }
        (Family::Sigmas | Family::Multistep, _) => {
            let table = config.sigmas();
            let levels: Vec<f64> =
                timesteps.iter().map(|&t| rounded(sigma_at(t, &table))).collect();
            descend(&timesteps, &levels)
        }
    })
}

/// [`Schedule::Karras`] and [`Schedule::Exponential`].
fn bent(
    config: &SchedulerConfig,
    options: SamplingOptions,
    spacing: TimestepSpacing,
) -> Result<Vec<Step>, ScheduleError> {
    let SamplingOptions { sampler, schedule, steps, .. } = options;
    let family = sampler.family();
    let table = config.sigmas();
    let (max, min) = if family == Family::Sigmas {
        // Between the ends of the spaced timesteps.
        let timesteps = timesteps::spaced(config, family, spacing, steps);
        within_training(config, &timesteps)?;
        (sigma_at(timesteps[0], &table), sigma_at(timesteps[steps - 1], &table))
    } else {
        (f64::from(table[table.len() - 1]), f64::from(table[0]))
    };
    let levels = if schedule == Schedule::Karras {
        karras(max, min, steps)
    } else {
        exponential(max, min, steps)
    };
    let timesteps: Vec<f64> = levels
        .iter()
        .map(|&level| match (family, schedule) {
            (Family::Multistep, Schedule::Karras) => timestep_at(level, &table).round_ties_even(),
            (Family::Multistep, _) => timestep_at(level, &table).floor(),
            (Family::Timesteps | Family::Consistency | Family::Sigmas, _) => {
                rounded(timestep_at(level, &table))
            }
        })
        .collect();
    let levels: Vec<f64> = levels.into_iter().map(rounded).collect();
    Ok(descend(&timesteps, &levels))
}

/// [`Schedule::Normal`], [`Schedule::SgmUniform`] and [`Schedule::Simple`].
fn plain(config: &SchedulerConfig, options: SamplingOptions) -> Vec<Step> {
    let (table, steps) = (config.sigmas(), options.steps);
    let last = table.len() - 1;
    let timesteps: Vec<f64> = match options.schedule {
        Schedule::SgmUniform => linspace(last, steps + 1).take(steps).collect(),
        Schedule::Simple => {
            let stride = number(table.len()) / number(steps);
            (0..steps).map(|i| number(last - whole(number(i) * stride).min(last))).collect()
        }
        // One alone is the noisiest.
        Schedule::Normal | Schedule::Uniform | Schedule::Karras | Schedule::Exponential => {
            if steps == 1 { vec![number(last)] } else { linspace(last, steps).collect() }
        }
    };
    let levels: Vec<f64> = timesteps.iter().map(|&t| rounded(log_sigma_at(t, &table))).collect();
    descend(&timesteps, &levels)
}

/// The offset of a configuration may lead beyond what there is.
fn within_training(config: &SchedulerConfig, timesteps: &[f64]) -> Result<(), ScheduleError> {
    let last = config.num_train_timesteps() - 1;
    match timesteps.iter().find(|&&timestep| number(last) < timestep) {
        None => Ok(()),
        Some(&timestep) => {
            Err(ScheduleError::BeyondTraining { steps: timesteps.len(), timestep, last })
        }
    }
}

/// DDIM goes to the timestep `num_train_timesteps / steps` earlier, which isn't always that of the
/// next step, and from the last one to no noise or to that of timestep 0.
fn ddim_steps(config: &SchedulerConfig, timesteps: &[f64]) -> Vec<Step> {
    let stride = config.num_train_timesteps().div_euclid(timesteps.len());
    let final_alpha_cumprod = if config.set_alpha_to_one { 1.0 } else { config.alphas_cumprod[0] };
    timesteps
        .iter()
        .map(|&timestep| {
            let t = whole(timestep);
            let previous =
                t.checked_sub(stride).map_or(final_alpha_cumprod, |t| config.alphas_cumprod[t]);
            Step { timestep, sigma: sigma(config.alphas_cumprod[t]), sigma_next: sigma(previous) }
        })
        .collect()
}

/// Steps from each level to the next, and from the last to 0.
fn descend(timesteps: &[f64], levels: &[f64]) -> Vec<Step> {
    let next = levels.iter().copied().skip(1).chain([0.0]);
    timesteps
        .iter()
        .zip(levels.iter().zip(next))
        .map(|(&timestep, (&sigma, sigma_next))| Step { timestep, sigma, sigma_next })
        .collect()
}

/// `σ` of an `ᾱ`; infinite for 0.
fn sigma(alpha_cumprod: f32) -> f64 {
    let alpha_cumprod = f64::from(alpha_cumprod);
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

/// As PyTorch keeps it.
fn rounded(level: f64) -> f64 {
    f64::from(single(level))
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 100,000 timesteps")]
fn number(timestep: usize) -> f64 {
    timestep as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "timesteps are at least 0 and at most 100,000, and the part before the point is wanted"
)]
fn whole(timestep: f64) -> usize {
    timestep as usize
}
