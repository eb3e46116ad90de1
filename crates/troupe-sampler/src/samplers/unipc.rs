//! `UniPC` of second order: a predictor, and a corrector that uses the next step's pass of the network.

use candle_core::{Result as TensorResult, Tensor};

use super::{Network, alpha_sigma, lambda, sum};
use crate::Step;

/// A step that was taken: what its corrector needs.
struct Taken {
    /// Where it began, corrected.
    x: Tensor,
    step: Step,
    h: f64,
    /// The image that the network saw at its begin.
    x_theta: Tensor,
    /// That of the step before, if this one is of second order, and `r₁`, which is below 0.
    before: Option<(Tensor, f64)>,
}

/// Algorithms 5 to 8 of Zhao et al. 2023 (arXiv:2302.04867) for networks that see the image, with
/// `B(h) = exp(h) − 1` (called `bh2`): of first order in the first step and the last.
pub(super) fn unipc<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    let mut taken: Option<Taken> = None;
    for (index, step) in steps.iter().enumerate() {
        x = (network.callbacks.before_step)(index, x)?;
        let x_theta = network.predict_x0(&x, step)?;
        if let Some(taken) = &taken {
            x = correct(taken, &x_theta)?;
        }
        let h = lambda(step.sigma_next) - lambda(step.sigma);
        let before = taken.filter(|_| h.is_finite()).map(|it| (it.x_theta, -it.h / h));
        let now = Taken { x, step: *step, h, x_theta, before };
        x = predict(&now)?;
        taken = Some(now);
    }
    Ok(x)
}

/// `UniP`: from the begin of a step to its end.
fn predict(taken: &Taken) -> TensorResult<Tensor> {
    let (weight, base) = first_order(taken)?;
    match &taken.before {
        None => Ok(base),
        Some((before, r)) => {
            sum((1.0, &base), (weight * 0.5 / r, &sum((1.0, before), (-1.0, &taken.x_theta))?))
        }
    }
}

/// `UniC`: the end of a step once more, now that the network has seen it.
fn correct(taken: &Taken, x_theta_next: &Tensor) -> TensorResult<Tensor> {
    let (weight, base) = first_order(taken)?;
    let ahead = sum((1.0, x_theta_next), (-1.0, &taken.x_theta))?;
    let Some((before, r)) = &taken.before else {
        return sum((1.0, &base), (weight * 0.5, &ahead));
    };
    // Equation 13 for p = 2 with −h: ρ₁ + ρ₂ = b₁ and r₁·ρ₁ + ρ₂ = b₂.
    let h = -taken.h;
    let phi_1 = h.exp_m1() / h;
    let phi_2 = (phi_1 - 1.0) / h;
    let phi_3 = (phi_2 - 0.5) / h;
    let scale = h / h.exp_m1();
    let (b1, b2) = (phi_2 * scale, 2.0 * phi_3 * scale);
    let rho_1 = (b1 - b2) / (1.0 - r);
    let rho_2 = b1 - rho_1;
    let behind = sum((1.0, before), (-1.0, &taken.x_theta))?;
    let change = sum((rho_1 / r, &behind), (rho_2, &ahead))?;
    sum((1.0, &base), (weight, &change))
}

/// The factor of all corrections, `−α·B(−h)`, and the end of a step of first order.
fn first_order(taken: &Taken) -> TensorResult<(f64, Tensor)> {
    let (_, sigma) = alpha_sigma(taken.step.sigma);
    let (alpha_next, sigma_next) = alpha_sigma(taken.step.sigma_next);
    let weight = -alpha_next * (-taken.h).exp_m1();
    Ok((weight, sum((sigma_next / sigma, &taken.x), (weight, &taken.x_theta))?))
}
