//! DPM-Solver++ of second order, deterministic and stochastic.

use candle_core::Tensor;

use super::{Network, alpha_sigma, lambda, sum};
use crate::Step;

/// `x_θ` and `h` of the step before.
type Before = Option<(Tensor, f64)>;

/// With `eta` 0 DPM-Solver++(2M), algorithm 2 of Lu et al. 2022 (arXiv:2211.01095); with 1
/// SDE-DPM-Solver++(2M) of its section 4.3, with new noise in every step but the last. Between them as
/// `sample_dpmpp_2m_sde` of k-diffusion.
pub(super) fn dpm_plus_plus_2m<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    eta: f64,
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    let mut before: Before = None;
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let x_theta = network.predict_x0(&x, step)?;
        let (_, sigma) = alpha_sigma(step.sigma);
        let (alpha_next, sigma_next) = alpha_sigma(step.sigma_next);
        let h = lambda(step.sigma_next) - lambda(step.sigma);
        let d = extrapolate(&x_theta, h, before.as_ref())?;
        // How much of the noise that is there makes room for new noise; `h` may be infinite.
        let renewed = if 0.0 < eta { eta * h } else { 0.0 };
        let kept = sigma_next / sigma * (-renewed).exp();
        x = sum((kept, &x), (-alpha_next * (-h - renewed).exp_m1(), &d))?;
        // √(1 − e^(−2·renewed))
        let added = (-(-2.0 * renewed).exp_m1()).sqrt();
        x = network.add_noise(x, sigma_next * added, index)?;
        before = Some((x_theta, h));
    }
    Ok(x)
}

/// The image in the middle of the step, from this step's and the one before. The first step, which
/// has none before it, and the last, whose `h` is infinite, are of first order.
fn extrapolate(
    x_theta: &Tensor,
    h: f64,
    before: Option<&(Tensor, f64)>,
) -> candle_core::Result<Tensor> {
    match before {
        Some((x_theta_before, h_before)) if h.is_finite() => {
            let r = h_before / h;
            sum((1.0 + 1.0 / (2.0 * r), x_theta), (-1.0 / (2.0 * r), x_theta_before))
        }
        Some(_) | None => Ok(x_theta.clone()),
    }
}
