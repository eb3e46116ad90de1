//! Which timesteps a sampler visits where its schedule is [`Schedule::Uniform`]: `set_timesteps` of
//! diffusers' classes, each with its own roundings.
//!
//! Every function returns as many as there are steps, in descending order.

#[cfg(doc)]
use crate::Schedule;
use crate::config::single;
use crate::name::Family;
use crate::{SchedulerConfig, TimestepSpacing};

use super::levels::linspace;
use super::{number, whole};

/// Evenly, as the spacing says.
pub(super) fn spaced(
    config: &SchedulerConfig,
    family: Family,
    spacing: TimestepSpacing,
    steps: usize,
) -> Vec<f64> {
    let most = config.num_train_timesteps();
    match (spacing, family) {
        (_, Family::Consistency) => distilled(config, steps),
        (TimestepSpacing::Linspace, Family::Timesteps) => {
            linspace(most - 1, steps).map(f64::round_ties_even).collect()
        }
        (TimestepSpacing::Linspace, Family::Sigmas) => {
            linspace(most - 1, steps).map(|timestep| f64::from(single(timestep))).collect()
        }
        // One point more than there are steps, and the lowest isn't visited.
        (TimestepSpacing::Linspace, Family::Multistep) => {
            linspace(most - 1, steps + 1).map(f64::round_ties_even).take(steps).collect()
        }
        (TimestepSpacing::Leading, Family::Multistep) => {
            let ratio = most.div_euclid(steps + 1);
            (1..=steps).rev().map(|i| number(i * ratio + config.steps_offset)).collect()
        }
        (TimestepSpacing::Leading, Family::Timesteps | Family::Sigmas) => {
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

/// Some of the timesteps that a consistency model was distilled at, evenly from the noisiest.
fn distilled(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let original = config.original_inference_steps;
    let ratio = config.num_train_timesteps().div_euclid(original);
    let stride = number(original) / number(steps);
    (0..steps)
        .map(|i| original - whole(number(i) * stride).min(original - 1))
        .map(|nth| number(nth * ratio - 1))
        .collect()
}
