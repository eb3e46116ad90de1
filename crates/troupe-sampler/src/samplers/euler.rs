//! Euler's and Heun's methods down `σ`, where the scale of the image stays 1.

use candle_core::Tensor;

use super::{Network, sum};
use crate::Step;

/// Algorithm 2 of Karras et al. 2022 (arXiv:2206.00364) without churn and without its second-order
/// correction: Euler's method down `σ`. `eta` is that of `sample_euler_ancestral` of k-diffusion: down to
/// `sigma_down`, and then new noise of `sigma_up`, which together make `sigma_next`; with 0 there is none.
pub(super) fn euler<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    eta: f64,
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let denoised = network.denoise(&x, step)?;
        let Step { timestep: _, sigma, sigma_next } = *step;
        let (renewed, ratio) = (eta * eta, (sigma_next / sigma).powi(2));
        let sigma_up = sigma_next * (renewed * (1.0 - ratio)).sqrt();
        // √(sigma_next² − sigma_up²), without the difference of two numbers that are nearly the same.
        let sigma_down = sigma_next * (1.0 - renewed + renewed * ratio).sqrt();
        x = go(&x, &denoised, sigma, sigma_down)?;
        x = network.add_noise(x, sigma_up, index)?;
    }
    Ok(x)
}

/// Algorithm 2 of Karras et al. 2022 (arXiv:2206.00364) without churn: the slope is the mean of that
/// before the step and that after it. The last step, which ends without noise, is Euler's; it is `ahead` of the others where they
/// were taken from more.
pub(super) fn heun<E: From<candle_core::Error>>(
    mut x: Tensor,
    (steps, ahead): (&[Step], Option<Step>),
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let denoised = network.denoise(&x, step)?;
        let there = go(&x, &denoised, step.sigma, step.sigma_next)?;
        let Some(next) = steps.get(index + 1).copied().or(ahead) else { return Ok(there) };
        let denoised_ahead = network.denoise(&there, &next)?;
        // The slope at the begin, (x − denoised) / σ, is (there − denoised) / σ_next too.
        let correction = sum((1.0, &denoised_ahead), (-1.0, &denoised))?;
        let weight = (step.sigma - step.sigma_next) / (2.0 * step.sigma_next);
        x = sum((1.0, &there), (weight, &correction))?;
    }
    Ok(x)
}

/// `x + (σ_next − σ)·(x − denoised) / σ`, ordered so that a large `σ` doesn't drown the image.
fn go(x: &Tensor, denoised: &Tensor, sigma: f64, sigma_next: f64) -> candle_core::Result<Tensor> {
    let kept = sigma_next / sigma;
    sum((kept, x), (1.0 - kept, denoised))
}
