//! Which noise levels a sampler visits: computed before anything is painted.
//!
//! Each of diffusers' scheduler classes chooses its timesteps in its own way, down to where it
//! rounds; what differs between them is in [`timesteps`] and [`NoiseSchedule::new`], with the class
//! named beside it. Two things are ours: a schedule has exactly as many steps as were asked for
//! (diffusers 0.42.1 adds one below timestep 0 where the spacing is `trailing` and the quotient of
//! two floats rounds up, as for 61 of 1000), and one whose noise doesn't decrease is refused.

use crate::config::single;
use crate::{PredictionType, Sampler, Schedule, SchedulerConfig, TimestepSpacing};

/// The steps of one sampler from noise to latents.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    pub(crate) sampler: Sampler,
    pub(crate) prediction_type: PredictionType,
    pub(crate) initial_sigma: f64,
    // Invariant: at least one step. In each, 0 ≤ sigma_next ≤ sigma, 0 < sigma, all finite; with
    // samplers other than DDIM, sigma_next < sigma and sigma_next is the sigma of the next step or,
    // after the last one, 0.
    pub(crate) steps: Vec<Step>,
}

/// One step down the noise levels; one pass through the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The time at which the network is asked; not always a whole number.
    pub timestep: f64,
    /// The noise before the step, as standard deviation beside an image of scale 1.
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
    /// DDIM steps from timestep to timestep, and knows no other noise levels.
    #[error("the sampler {sampler} has no schedule `{schedule}`, it has `normal` only")]
    NotForSampler {
        /// The sampler.
        sampler: Sampler,
        /// The schedule.
        schedule: Schedule,
    },
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
}

impl NoiseSchedule {
    /// Chooses `steps` noise levels of a network.
    ///
    /// # Errors
    ///
    /// If `steps` is 0 or more than the network has noise levels, if the sampler doesn't have the
    /// schedule, or if so many steps can't be told apart.
    pub fn new(
        config: &SchedulerConfig,
        sampler: Sampler,
        schedule: Schedule,
        steps: usize,
    ) -> Result<Self, ScheduleError> {
        let most = config.num_train_timesteps();
        if !(1..=most).contains(&steps) {
            return Err(ScheduleError::StepCount { steps, most });
        }
        if sampler == Sampler::Ddim && schedule == Schedule::Karras {
            return Err(ScheduleError::NotForSampler { sampler, schedule });
        }
        // The defaults of the classes' constructors.
        let spacing = config.timestep_spacing.unwrap_or(match sampler {
            Sampler::Ddim => TimestepSpacing::Leading,
            Sampler::Euler | Sampler::EulerAncestral | Sampler::DpmPlusPlus2M => {
                TimestepSpacing::Linspace
            }
        });

        let timesteps = timesteps(config, sampler, spacing, steps);
        if let Some(&timestep) = timesteps.iter().find(|&&timestep| number(most - 1) < timestep) {
            return Err(ScheduleError::BeyondTraining { steps, timestep, last: most - 1 });
        }
        let table = config.sigmas();
        let levels: Vec<f64> = timesteps.iter().map(|&t| sigma_at(t, &table)).collect();
        let steps = match (sampler, schedule) {
            (Sampler::Ddim, _) => ddim_steps(config, &timesteps),
            (_, Schedule::Normal) => descend(&timesteps, &levels),
            (Sampler::Euler | Sampler::EulerAncestral, Schedule::Karras) => {
                let levels = karras(levels[0], levels[steps - 1], steps);
                let timesteps: Vec<f64> =
                    levels.iter().map(|&s| f64::from(single(timestep_at(s, &table)))).collect();
                descend(&timesteps, &levels)
            }
            (Sampler::DpmPlusPlus2M, Schedule::Karras) => {
                let levels = karras(table[most - 1].into(), table[0].into(), steps);
                let timesteps: Vec<f64> =
                    levels.iter().map(|&s| timestep_at(s, &table).round_ties_even()).collect();
                descend(&timesteps, &levels)
            }
        };
        if let Some(step) = steps.iter().position(|step| step.sigma <= step.sigma_next)
            && sampler != Sampler::Ddim
        {
            return Err(ScheduleError::NoDescent { steps: steps.len(), sampler, step });
        }

        let initial_sigma = match (sampler, spacing) {
            (Sampler::Ddim | Sampler::DpmPlusPlus2M, _) => 1.0,
            (_, TimestepSpacing::Leading) => steps[0].sigma.hypot(1.0),
            (_, TimestepSpacing::Trailing | TimestepSpacing::Linspace) => steps[0].sigma,
        };
        let prediction_type = config.prediction_type;
        Ok(Self { sampler, prediction_type, initial_sigma, steps })
    }

    /// The steps in their order; the network is called once in each.
    pub fn steps(&self) -> &[Step] {
        &self.steps
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

/// `steps` timesteps in descending order: `set_timesteps` of the three classes.
fn timesteps(
    config: &SchedulerConfig,
    sampler: Sampler,
    spacing: TimestepSpacing,
    steps: usize,
) -> Vec<f64> {
    let most = config.num_train_timesteps();
    match (spacing, sampler) {
        (TimestepSpacing::Linspace, Sampler::Ddim) => {
            linspace(most - 1, steps).map(f64::round_ties_even).collect()
        }
        (TimestepSpacing::Linspace, Sampler::Euler | Sampler::EulerAncestral) => {
            linspace(most - 1, steps).map(|timestep| f64::from(single(timestep))).collect()
        }
        // One point more than there are steps, and the lowest isn't visited.
        (TimestepSpacing::Linspace, Sampler::DpmPlusPlus2M) => {
            linspace(most - 1, steps + 1).map(f64::round_ties_even).take(steps).collect()
        }
        (TimestepSpacing::Leading, Sampler::DpmPlusPlus2M) => {
            let ratio = most.div_euclid(steps + 1);
            (1..=steps).rev().map(|i| number(i * ratio + config.steps_offset)).collect()
        }
        (TimestepSpacing::Leading, Sampler::Ddim | Sampler::Euler | Sampler::EulerAncestral) => {
            let ratio = most.div_euclid(steps);
            (0..steps).rev().map(|i| number(i * ratio + config.steps_offset)).collect()
        }
        (TimestepSpacing::Trailing, _) => {
            // NumPy's `arange` multiplies the difference of its first two elements.
            let start = number(most);
            let difference = (start - start / number(steps)) - start;
            (0..steps).map(|i| (start + number(i) * difference).round_ties_even() - 1.0).collect()
        }
    }
}

/// DDIM goes to the timestep `num_train_timesteps / steps` earlier, which isn't always that of the
/// next step, and from the last one to no noise or to that of timestep 0.
fn ddim_steps(config: &SchedulerConfig, timesteps: &[f64]) -> Vec<Step> {
    let sigma = |alpha_cumprod: f32| {
        let alpha_cumprod = f64::from(alpha_cumprod);
        ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
    };
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

/// Steps from each level to the next, and from the last to 0; levels are kept in f32.
fn descend(timesteps: &[f64], levels: &[f64]) -> Vec<Step> {
    let sigmas = || levels.iter().map(|&level| f64::from(single(level)));
    let next = sigmas().skip(1).chain([0.0]);
    timesteps
        .iter()
        .zip(sigmas().zip(next))
        .map(|(&timestep, (sigma, sigma_next))| Step { timestep, sigma, sigma_next })
        .collect()
}

/// Equation 5 of Karras et al. 2022 (arXiv:2206.00364).
fn karras(sigma_max: f64, sigma_min: f64, steps: usize) -> Vec<f64> {
    let rho = 7.0; // The value of the paper.
    let (max, min) = (sigma_max.powf(1.0 / rho), sigma_min.powf(1.0 / rho));
    let ramp = (0..steps).map(|i| if steps == 1 { 0.0 } else { number(i) / number(steps - 1) });
    ramp.map(|ramp| (max + ramp * (min - max)).powf(rho)).collect()
}

/// The noise level at a timestep, interpolated linearly between whole ones.
fn sigma_at(timestep: f64, table: &[f32]) -> f64 {
    let below = whole(timestep).min(table.len() - 2);
    let (low, high) = (f64::from(table[below]), f64::from(table[below + 1]));
    low + (high - low) * (timestep - number(below))
}

/// The timestep of a noise level, interpolated linearly in `ln σ` between whole ones.
fn timestep_at(sigma: f64, table: &[f32]) -> f64 {
    let log_sigma = sigma.ln();
    let logs: Vec<f32> = table.iter().map(|&sigma| sigma.ln()).collect();
    let below = logs.partition_point(|&log| f64::from(log) <= log_sigma).saturating_sub(1);
    let below = below.min(logs.len() - 2);
    let (low, high) = (logs[below], logs[below + 1]);
    let weight = ((f64::from(low) - log_sigma) / f64::from(low - high)).clamp(0.0, 1.0);
    (1.0 - weight) * number(below) + weight * number(below + 1)
}

/// `count` numbers from `last` down to 0; one alone is 0.
fn linspace(last: usize, count: usize) -> impl Iterator<Item = f64> {
    let step = if count == 1 { 0.0 } else { number(last) / number(count - 1) };
    (0..count)
        .rev()
        .map(move |i| if 0 < i && i == count - 1 { number(last) } else { number(i) * step })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    const METHODS: [(Sampler, Schedule); 7] = [
        (Sampler::Ddim, Schedule::Normal),
        (Sampler::Euler, Schedule::Normal),
        (Sampler::Euler, Schedule::Karras),
        (Sampler::EulerAncestral, Schedule::Normal),
        (Sampler::EulerAncestral, Schedule::Karras),
        (Sampler::DpmPlusPlus2M, Schedule::Normal),
        (Sampler::DpmPlusPlus2M, Schedule::Karras),
    ];
    const SPACINGS: [&str; 3] = ["trailing", "leading", "linspace"];

    fn config(spacing: &str) -> SchedulerConfig {
        let text = std::fs::read_to_string(golden_path(&format!("sampler/{spacing}.json")));
        SchedulerConfig::parse(&text.unwrap()).unwrap()
    }

    #[test]
    fn timesteps_and_sigmas_are_those_of_diffusers() {
        let golden = Golden::read(golden_path("sampler/sampler.safetensors"));
        for spacing in SPACINGS {
            let config = config(spacing);
            for (sampler, schedule) in METHODS {
                for steps in [1, 2, 5, 7, 13, 20, 50] {
                    let noise_schedule =
                        NoiseSchedule::new(&config, sampler, schedule, steps).unwrap();
                    let name = |what| format!("{sampler}.{schedule}.{spacing}.{steps}.{what}");
                    let steps = noise_schedule.steps();
                    let timesteps: Vec<f32> = steps.iter().map(|s| single(s.timestep)).collect();
                    let name_of_timesteps = name("timesteps");
                    assert_close(
                        &name_of_timesteps,
                        &timesteps,
                        &golden.tensor(&name_of_timesteps),
                        3e-7,
                    );
                    if sampler != Sampler::Ddim {
                        let levels = steps.iter().map(|step| step.sigma);
                        let sigmas: Vec<f32> =
                            levels.chain([steps[steps.len() - 1].sigma_next]).map(single).collect();
                        assert_close(
                            &name("sigmas"),
                            &sigmas,
                            &golden.tensor(&name("sigmas")),
                            3e-7,
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn spacing_left_open_is_that_of_the_sampler_s_class() {
        let open = SchedulerConfig::parse("{}").unwrap();
        for (sampler, expected) in [
            (Sampler::Ddim, [750.0, 500.0, 250.0, 0.0]),
            (Sampler::Euler, [999.0, 666.0, 333.0, 0.0]),
            (Sampler::EulerAncestral, [999.0, 666.0, 333.0, 0.0]),
            (Sampler::DpmPlusPlus2M, [999.0, 749.0, 500.0, 250.0]),
        ] {
            let schedule = NoiseSchedule::new(&open, sampler, Schedule::Normal, 4).unwrap();
            let timesteps: Vec<f64> = schedule.steps().iter().map(|step| step.timestep).collect();
            assert_eq!(timesteps, expected, "{sampler}");
        }
    }

    #[test]
    fn impossible_requests_are_refused() {
        let leading = config("leading");
        let new = |sampler, schedule, steps| NoiseSchedule::new(&leading, sampler, schedule, steps);
        let message =
            |result: Result<NoiseSchedule, ScheduleError>| result.unwrap_err().to_string();
        for (sampler, schedule) in METHODS {
            let none = message(new(sampler, schedule, 0));
            assert_eq!(none, "the number of steps is 0, expected 1 to 1000");
            let many = message(new(sampler, schedule, 1001));
            assert_eq!(many, "the number of steps is 1001, expected 1 to 1000");
        }
        assert_eq!(
            message(new(Sampler::Ddim, Schedule::Karras, 20)),
            "the sampler ddim has no schedule `karras`, it has `normal` only"
        );
        assert_eq!(
            message(new(Sampler::Euler, Schedule::Normal, 1000)),
            "1000 steps begin at timestep 1000, and the network was trained up to 999; fewer steps begin earlier"
        );
        assert_eq!(
            message(new(Sampler::DpmPlusPlus2M, Schedule::Normal, 1000)),
            "1000 steps are too many for dpm++2m: step 0 has the noise of the next one"
        );
    }

    /// What the invariant of [`NoiseSchedule`] says.
    fn check_descent(schedule: &NoiseSchedule, steps: usize) -> Result<(), TestCaseError> {
        prop_assert_eq!(schedule.steps().len(), steps);
        prop_assert!(schedule.initial_sigma().is_finite() && 0.0 < schedule.initial_sigma());
        for step in schedule.steps() {
            prop_assert!(step.sigma.is_finite() && step.sigma_next.is_finite(), "{step:?}");
            prop_assert!(0.0 <= step.timestep && step.timestep <= 999.0, "{step:?}");
            prop_assert!(0.0 < step.sigma && 0.0 <= step.sigma_next, "{step:?}");
        }
        let last = schedule.steps()[steps - 1];
        if schedule.sampler() == Sampler::Ddim {
            for step in schedule.steps() {
                prop_assert!(step.sigma_next <= step.sigma, "{step:?}");
            }
            for pair in schedule.steps().windows(2) {
                prop_assert!(pair[1].sigma < pair[0].sigma, "{pair:?}");
            }
        } else {
            prop_assert!(last.sigma_next <= 0.0, "{last:?}");
            for step in schedule.steps() {
                prop_assert!(step.sigma_next < step.sigma, "{step:?}");
            }
            for pair in schedule.steps().windows(2) {
                prop_assert!((pair[0].sigma_next - pair[1].sigma).abs() <= 0.0, "{pair:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn noise_descends_to_nothing_in_1_to_100_steps() {
        for spacing in SPACINGS {
            let config = config(spacing);
            for (sampler, schedule) in METHODS {
                for steps in 1..=100 {
                    let noise_schedule =
                        NoiseSchedule::new(&config, sampler, schedule, steps).unwrap();
                    check_descent(&noise_schedule, steps).unwrap();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_schedule_that_is_not_refused_descends(
            method in 0..METHODS.len(),
            spacing in 0..SPACINGS.len(),
            steps in 1..=1000_usize,
        ) {
            let (sampler, schedule) = METHODS[method];
            if let Ok(schedule) = NoiseSchedule::new(&config(SPACINGS[spacing]), sampler, schedule, steps) {
                check_descent(&schedule, steps)?;
            }
        }
    }
}
