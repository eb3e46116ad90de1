//! DDIM and DDPM: from the image and the noise that the network sees, straight to the next level.

use candle_core::Tensor;

use super::{Network, alpha_sigma, sum};
use crate::Step;

/// Equation 12 of Song et al. 2020 (arXiv:2010.02502), whose `σ_t` (equation 16) is `added` here.
/// With `eta` 0 it is deterministic, with 1 it is the ancestral sampling of Ho et al. 2020
/// (arXiv:2006.11239) with the smaller of the two variances.
pub(super) fn ddim<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    eta: f64,
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let x0 = network.predict_x0(&x, step)?;
        let (alpha, sigma) = alpha_sigma(step.sigma);
        let (alpha_next, sigma_next) = alpha_sigma(step.sigma_next);
        let epsilon = sum((1.0 / sigma, &x), (-alpha / sigma, &x0))?;
        let ratio = alpha / alpha_next;
        let added = eta * sigma_next / sigma * (1.0 - ratio * ratio).max(0.0).sqrt();
        let kept = (sigma_next * sigma_next - added * added).max(0.0).sqrt();
        x = sum((alpha_next, &x0), (kept, &epsilon))?;
        x = network.add_noise(x, added, index)?;
    }
    Ok(x)
}
