//! Latent consistency models: the network says the image, and noise leads back to the next level.

use candle_core::Tensor;

use super::{Network, alpha_sigma, sum};
use crate::Step;

/// Multistep consistency sampling, algorithm 3 of Luo et al. 2023 (arXiv:2310.04378), with the
/// boundary condition of its equations 9 and 10: at timestep 0 the latents are the image.
pub(super) fn lcm<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    timestep_scaling: f64,
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    const SIGMA_DATA: f64 = 0.5;
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let x0 = network.predict_x0(&x, step)?;
        let t = step.timestep * timestep_scaling;
        let c_skip = SIGMA_DATA.powi(2) / (t.powi(2) + SIGMA_DATA.powi(2));
        let c_out = t / t.hypot(SIGMA_DATA);
        let (alpha_next, sigma_next) = alpha_sigma(step.sigma_next);
        x = sum((alpha_next * c_out, &x0), (alpha_next * c_skip, &x))?;
        x = network.add_noise(x, sigma_next, index)?;
    }
    Ok(x)
}
