//! The samplers: one algorithm, one function, in the letters of its paper.
//!
//! Two scales of latents occur. A network always sees `α·x₀ + σ_t·ε` with `α² + σ_t² = 1`; there
//! DDIM, LCM and the multistep solvers work. Euler's and Heun's methods work where the scale of the
//! image stays 1, `x₀ + σ·ε`, and divide by `√(σ² + 1)` before they ask the network. In both,
//! `σ = σ_t / α`.

mod ddim;
mod dpm_solver;
mod euler;
mod lcm;
#[cfg(test)]
mod tests;
mod unipc;

use candle_core::{Result as TensorResult, Tensor};

use crate::{NoiseSchedule, PredictionType, Sampler, Step};

/// What a sampler asks of its caller.
///
/// An error of any of them ends the sampling, which is also how to cancel it.
pub struct Callbacks<'a, E> {
    /// The output of the network for scaled latents at a timestep, guidance included.
    ///
    /// Shape of the latents → the same shape.
    pub denoise: &'a mut dyn FnMut(&Tensor, f64) -> Result<Tensor, E>,
    /// New noise of unit variance for a step, counted from 0; asked for by ancestral samplers only,
    /// in the order of the steps, and not where none of it would be added, which is in the last.
    ///
    /// Shape of the latents.
    pub step_noise: &'a mut dyn FnMut(usize) -> Result<Tensor, E>,
    /// Told before each step, counted from 0, which latents are to enter it, before they are scaled
    /// for the network: those that diffusers' pipelines hold there. What it returns enters; see
    /// [`NoiseSchedule::noised`].
    ///
    /// Shape of the latents → the same shape.
    pub before_step: &'a mut dyn FnMut(usize, Tensor) -> Result<Tensor, E>,
}

impl NoiseSchedule {
    /// Takes all steps from `noise`, which has unit variance, and returns the final latents.
    ///
    /// Any shape → the same shape.
    ///
    /// # Errors
    ///
    /// What a callback returns, and an error of candle's where a tensor has another shape or
    /// element type than `noise`.
    pub fn sample<E: From<candle_core::Error>>(
        &self,
        noise: &Tensor,
        callbacks: Callbacks<'_, E>,
    ) -> Result<Tensor, E> {
        let latents = (noise * self.initial_sigma)?;
        self.sample_from(latents, callbacks)
    }

    /// Takes all steps from latents as they enter the first: those of [`noised`](Self::noised). Steps are counted from the
    /// first of this schedule.
    ///
    /// Any shape → the same shape.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    pub fn sample_from<E: From<candle_core::Error>>(
        &self,
        latents: Tensor,
        callbacks: Callbacks<'_, E>,
    ) -> Result<Tensor, E> {
        let steps = &self.steps;
        let network = Network { callbacks, prediction_type: self.prediction_type };
        match self.sampler {
            Sampler::Ddim => ddim::ddim(latents, steps, self.eta, network),
            Sampler::Ddpm => ddim::ddim(latents, steps, 1.0, network),
            Sampler::Euler => euler::euler(latents, steps, 0.0, network),
            Sampler::EulerAncestral => euler::euler(latents, steps, 1.0, network),
            Sampler::Heun => euler::heun(latents, (steps, self.ahead), network),
            Sampler::DpmPlusPlus2M => dpm_solver::dpm_plus_plus_2m(latents, steps, 0.0, network),
            Sampler::DpmPlusPlus2MSde => dpm_solver::dpm_plus_plus_2m(latents, steps, 1.0, network),
            Sampler::UniPc => unipc::unipc(latents, steps, network),
            Sampler::Lcm => lcm::lcm(latents, steps, self.timestep_scaling, network),
        }
    }
}

impl NoiseSchedule {
    /// An image with as much noise as enters a step, counted from 0, in the scale in which the sampler
    /// holds its latents there; behind the last step it is the image alone. `noise` has unit variance.
    ///
    /// Two tensors of one shape → the same shape.
    ///
    /// # Errors
    ///
    /// If the tensors have two shapes.
    pub fn noised(&self, image: &Tensor, noise: &Tensor, step: usize) -> TensorResult<Tensor> {
        let Some(step) = self.steps.get(step) else { return Ok(image.clone()) };
        match self.sampler {
            Sampler::Euler | Sampler::EulerAncestral | Sampler::Heun => {
                sum((1.0, image), (step.sigma, noise))
            }
            Sampler::Ddim
            | Sampler::Ddpm
            | Sampler::DpmPlusPlus2M
            | Sampler::DpmPlusPlus2MSde
            | Sampler::UniPc
            | Sampler::Lcm => {
                let (alpha, sigma) = alpha_sigma(step.sigma);
                sum((alpha, image), (sigma, noise))
            }
        }
    }

    /// The image that the network sees in noise alone, asked once as in the first step; `noise` has unit variance, and `denoise`
    /// is that of [`Callbacks`].
    ///
    /// Any shape → the same shape.
    ///
    /// # Errors
    ///
    /// What `denoise` returns, and an error of candle's where its tensor has another shape or element type.
    pub fn seen_in<E: From<candle_core::Error>>(
        &self,
        noise: &Tensor,
        denoise: &mut dyn FnMut(&Tensor, f64) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let Some(step) = self.steps.first() else { return Ok(noise.clone()) };
        let x = (noise * alpha_sigma(step.sigma).1)?;
        Ok(self.prediction_type.x0(&x, &denoise(&x, step.timestep)?, step)?)
    }
}

/// The network, and what its output means.
struct Network<'a, E> {
    callbacks: Callbacks<'a, E>,
    prediction_type: PredictionType,
}

impl<E: From<candle_core::Error>> Network<'_, E> {
    /// The image that the network sees in `x = α·x₀ + σ_t·ε`.
    fn predict_x0(&mut self, x: &Tensor, step: &Step) -> Result<Tensor, E> {
        let output = (self.callbacks.denoise)(x, step.timestep)?;
        Ok(self.prediction_type.x0(x, &output, step)?)
    }

    /// The image that the network sees in `x = x₀ + σ·ε`.
    fn denoise(&mut self, x: &Tensor, step: &Step) -> Result<Tensor, E> {
        let (alpha, _) = alpha_sigma(step.sigma);
        self.predict_x0(&(x * alpha)?, step)
    }

    /// Adds new noise, unless it is none.
    fn add_noise(&mut self, x: Tensor, scale: f64, index: usize) -> Result<Tensor, E> {
        if scale <= 0.0 {
            return Ok(x);
        }
        Ok(sum((1.0, &x), (scale, &(self.callbacks.step_noise)(index)?))?)
    }
}

impl PredictionType {
    /// The image `x₀` of `x = α·x₀ + σ_t·ε`, by what the network says of `x`.
    fn x0(self, x: &Tensor, output: &Tensor, step: &Step) -> TensorResult<Tensor> {
        let (alpha, sigma) = alpha_sigma(step.sigma);
        match self {
            Self::Epsilon => sum((1.0 / alpha, x), (-sigma / alpha, output)),
            Self::VPrediction => sum((alpha, x), (-sigma, output)),
            Self::Sample => Ok(output.clone()),
        }
    }
}

/// `α` and `σ_t` with `α² + σ_t² = 1` of a `σ = σ_t / α`, which may be infinite.
fn alpha_sigma(sigma: f64) -> (f64, f64) {
    if sigma.is_infinite() {
        return (0.0, 1.0);
    }
    let alpha = 1.0 / sigma.hypot(1.0);
    (alpha, sigma * alpha)
}

/// `λ = ln(α / σ_t)`.
fn lambda(sigma: f64) -> f64 {
    -sigma.ln()
}

/// `a·x + b·y`.
fn sum((a, x): (f64, &Tensor), (b, y): (f64, &Tensor)) -> TensorResult<Tensor> {
    (x * a)? + (y * b)?
}
