//! Noise levels: from one to the other end, and between whole timesteps.
//!
//! `table` is `σ` at each timestep of the training, ascending.

use super::{number, whole};

/// Equation 5 of Karras et al. 2022 (arXiv:2206.00364), from loud to quiet.
///
/// Shape `(steps,)`.
pub(super) fn karras(sigma_max: f64, sigma_min: f64, steps: usize) -> Vec<f64> {
    let rho = 7.0; // The value of the paper.
    let (max, min) = (sigma_max.powf(1.0 / rho), sigma_min.powf(1.0 / rho));
    ramp(steps).map(|ramp| (max + ramp * (min - max)).powf(rho)).collect()
}

/// Evenly in `ln σ`, from loud to quiet: `get_sigmas_exponential` of k-diffusion.
///
/// Shape `(steps,)`.
pub(super) fn exponential(sigma_max: f64, sigma_min: f64, steps: usize) -> Vec<f64> {
    let (max, min) = (sigma_max.ln(), sigma_min.ln());
    ramp(steps).map(|ramp| (max + ramp * (min - max)).exp()).collect()
}

/// The noise level at a timestep, interpolated linearly between whole ones.
pub(super) fn sigma_at(timestep: f64, table: &[f32]) -> f64 {
    let (below, weight) = split(timestep, table.len());
    let (low, high) = (f64::from(table[below]), f64::from(table[below + 1]));
    low + (high - low) * weight
}

/// The noise level at a timestep, interpolated linearly in `ln σ` between whole ones: `t_to_sigma`
/// of k-diffusion.
pub(super) fn log_sigma_at(timestep: f64, table: &[f32]) -> f64 {
    let (below, weight) = split(timestep, table.len());
    let (low, high) = (f64::from(table[below]).ln(), f64::from(table[below + 1]).ln());
    (low + (high - low) * weight).exp()
}

/// The timestep of a noise level, interpolated linearly in `ln σ` between whole ones.
pub(super) fn timestep_at(sigma: f64, table: &[f32]) -> f64 {
    let log_sigma = sigma.ln();
    let log = |index: usize| crate::config::single(f64::from(table[index]).ln());
    let below = table.partition_point(|&level| {
        f64::from(crate::config::single(f64::from(level).ln())) <= log_sigma
    });
    let below = below.saturating_sub(1).min(table.len() - 2);
    let (low, high) = (log(below), log(below + 1));
    let weight = ((f64::from(low) - log_sigma) / f64::from(low - high)).clamp(0.0, 1.0);
    (1.0 - weight) * number(below) + weight * number(below + 1)
}

/// `count` numbers from `last` down to 0; one alone is 0.
pub(super) fn linspace(last: usize, count: usize) -> impl Iterator<Item = f64> {
    let step = if count == 1 { 0.0 } else { number(last) / number(count - 1) };
    (0..count)
        .rev()
        .map(move |i| if 0 < i && i == count - 1 { number(last) } else { number(i) * step })
}

/// From 0 to 1; one alone is 0.
fn ramp(steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |i| if steps == 1 { 0.0 } else { number(i) / number(steps - 1) })
}

/// The whole timestep below, and how far above it.
fn split(timestep: f64, timesteps: usize) -> (usize, f64) {
    let below = whole(timestep).min(timesteps - 2);
    (below, timestep - number(below))
}
