//! The samplers: one algorithm, one function, in the letters of its paper.
//!
//! Two scales of latents occur. A network always sees `α·x₀ + σ_t·ε` with `α² + σ_t² = 1`; there
//! DDIM and DPM-Solver++ work. Euler's method works where the scale of the image stays 1,
//! `x₀ + σ·ε`, and divides by `√(σ² + 1)` before it asks the network. In both, `σ = σ_t / α`.

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
    /// and not for the last step.
    ///
    /// Shape of the latents.
    pub step_noise: &'a mut dyn FnMut(usize) -> Result<Tensor, E>,
    /// Told before each step, counted from 0, which latents enter it, before they are scaled for
    /// the network: those that diffusers' pipelines hold there.
    pub before_step: &'a mut dyn FnMut(usize, &Tensor) -> Result<(), E>,
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
        let network = Network { callbacks, prediction_type: self.prediction_type };
        match self.sampler {
            Sampler::Ddim => ddim(latents, &self.steps, network),
            Sampler::Euler => euler(latents, &self.steps, network),
            Sampler::EulerAncestral => euler_ancestral(latents, &self.steps, network),
            Sampler::DpmPlusPlus2M => dpm_plus_plus_2m(latents, &self.steps, network),
        }
    }
}

/// Equation 12 of Song et al. 2020 (arXiv:2010.02502) with `σ_t` = 0: no new noise.
fn ddim<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, step) in steps.iter().enumerate() {
        (network.callbacks.before_step)(index, &x)?;
        let x0 = network.predict_x0(&x, step)?;
        let (alpha, sigma) = alpha_sigma(step.sigma);
        let (alpha_next, sigma_next) = alpha_sigma(step.sigma_next);
        let epsilon = sum((1.0 / sigma, &x), (-alpha / sigma, &x0))?;
        x = sum((alpha_next, &x0), (sigma_next, &epsilon))?;
    }
    Ok(x)
}

/// Algorithm 2 of Karras et al. 2022 (arXiv:2206.00364) without churn and without its second-order
/// correction: Euler's method down `σ`.
fn euler<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, step) in steps.iter().enumerate() {
        (network.callbacks.before_step)(index, &x)?;
        let (alpha, _) = alpha_sigma(step.sigma);
        let denoised = network.predict_x0(&(&x * alpha)?, step)?;
        let d = (sum((1.0, &x), (-1.0, &denoised))? / step.sigma)?; // dx/dσ
        x = sum((1.0, &x), (step.sigma_next - step.sigma, &d))?;
    }
    Ok(x)
}

/// `sample_euler_ancestral` of k-diffusion with η = 1: Euler's method down to `sigma_down`, and then
/// new noise of `sigma_up`, which together make `sigma_next`.
fn euler_ancestral<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    for (index, &Step { timestep: _, sigma, sigma_next }) in steps.iter().enumerate() {
        (network.callbacks.before_step)(index, &x)?;
        let (alpha, _) = alpha_sigma(sigma);
        let denoised = network.predict_x0(&(&x * alpha)?, &steps[index])?;
        let sigma_up = sigma_next * (1.0 - (sigma_next / sigma).powi(2)).sqrt();
        let sigma_down = sigma_next * sigma_next / sigma; // √(sigma_next² − sigma_up²)
        let d = (sum((1.0, &x), (-1.0, &denoised))? / sigma)?; // dx/dσ
        x = sum((1.0, &x), (sigma_down - sigma, &d))?;
        if 0.0 < sigma_up {
            x = sum((1.0, &x), (sigma_up, &(network.callbacks.step_noise)(index)?))?;
        }
    }
    Ok(x)
}

/// Algorithm 2 of Lu et al. 2022 (arXiv:2211.01095), DPM-Solver++(2M). The first step, which has
/// none before it, and the last, whose `h` is infinite, are of first order.
fn dpm_plus_plus_2m<E: From<candle_core::Error>>(
    mut x: Tensor,
    steps: &[Step],
    mut network: Network<'_, E>,
) -> Result<Tensor, E> {
    let lambda = |sigma: f64| -sigma.ln(); // λ = ln(α / σ_t)
    let mut before: Option<(Tensor, f64)> = None; // x_θ and h of the step before.
    for (index, step) in steps.iter().enumerate() {
        (network.callbacks.before_step)(index, &x)?;
        let x_theta = network.predict_x0(&x, step)?;
        let (_, sigma) = alpha_sigma(step.sigma);
        let (alpha_next, sigma_next) = alpha_sigma(step.sigma_next);
        let h = lambda(step.sigma_next) - lambda(step.sigma);
        let d = match &before {
            Some((x_theta_before, h_before)) if h.is_finite() => {
                let r = h_before / h;
                sum((1.0 + 1.0 / (2.0 * r), &x_theta), (-1.0 / (2.0 * r), x_theta_before))?
            }
            Some(_) | None => x_theta.clone(),
        };
        x = sum((sigma_next / sigma, &x), (-alpha_next * (-h).exp_m1(), &d))?;
        before = Some((x_theta, h));
    }
    Ok(x)
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
        let (alpha, sigma) = alpha_sigma(step.sigma);
        Ok(match self.prediction_type {
            PredictionType::Epsilon => sum((1.0 / alpha, x), (-sigma / alpha, &output))?,
            PredictionType::VPrediction => sum((alpha, x), (-sigma, &output))?,
            PredictionType::Sample => output,
        })
    }
}

/// `α` and `σ_t` with `α² + σ_t² = 1` of a `σ = σ_t / α`.
fn alpha_sigma(sigma: f64) -> (f64, f64) {
    let alpha = 1.0 / sigma.hypot(1.0);
    (alpha, sigma * alpha)
}

/// `a·x + b·y`.
fn sum((a, x): (f64, &Tensor), (b, y): (f64, &Tensor)) -> TensorResult<Tensor> {
    (x * a)? + (y * b)?
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Error, Shape};
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;
    use crate::{Method, Schedule, SchedulerConfig};

    const METHODS: [&str; 7] = [
        "ddim.normal",
        "euler.normal",
        "euler.karras",
        "euler_a.normal",
        "euler_a.karras",
        "dpm++2m.normal",
        "dpm++2m.karras",
    ];

    /// The network of tests/reference/sampler.py.
    fn network(x: &Tensor, timestep: f64) -> TensorResult<Tensor> {
        sum((0.7, &x.tanh()?), (0.5 * (timestep / 1000.0).sin(), x))
    }

    fn golden() -> Golden {
        Golden::read(golden_path("sampler/sampler.safetensors"))
    }

    fn tensor(golden: &Golden, name: &str) -> Tensor {
        let (values, shape) = golden.tensor(name);
        Tensor::from_vec(values, Shape::from(shape), &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// `method` is "sampler.schedule", and `spacing` names the configuration.
    fn schedule(method: &str, spacing: &str, prediction: &str, steps: usize) -> NoiseSchedule {
        let text =
            std::fs::read_to_string(golden_path(&format!("sampler/{spacing}.json"))).unwrap();
        let mut keys: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        keys.insert("prediction_type".to_owned(), prediction.into());
        let config = SchedulerConfig::parse(&serde_json::to_string(&keys).unwrap()).unwrap();
        let (sampler, schedule) = method.split_once('.').unwrap();
        let (sampler, schedule) = (sampler.parse().unwrap(), schedule.parse().unwrap());
        NoiseSchedule::new(&config, sampler, schedule, steps).unwrap()
    }

    /// The final latents, and those that entered each step.
    fn run(golden: &Golden, schedule: &NoiseSchedule) -> (Vec<f32>, Vec<f32>) {
        let step_noise = tensor(golden, "step_noise");
        let mut entering = Vec::new();
        let latents = schedule.sample::<Error>(
            &tensor(golden, "noise"),
            Callbacks {
                denoise: &mut |x, timestep| network(x, timestep),
                step_noise: &mut |step| step_noise.get(step),
                before_step: &mut |step, latents| {
                    assert_eq!(entering.len(), step * latents.elem_count());
                    entering.extend(values(latents));
                    Ok(())
                },
            },
        );
        (values(&latents.unwrap()), entering)
    }

    /// Fails if any coefficient of a sampler changes by a thousandth.
    #[test]
    fn final_latents_are_those_of_diffusers() {
        let golden = golden();
        let mut compared = 0;
        for method in METHODS {
            for spacing in ["trailing", "leading", "linspace"] {
                for steps in [1, 2, 5, 7, 20] {
                    for prediction in ["epsilon", "v_prediction", "sample"] {
                        if method.starts_with("euler_a") && prediction == "sample" {
                            continue; // Not implemented in diffusers.
                        }
                        let name = format!("{method}.{spacing}.{steps}.{prediction}.latents");
                        let schedule = schedule(method, spacing, prediction, steps);
                        let (latents, _) = run(&golden, &schedule);
                        assert_close(&name, &latents, &golden.tensor(&name), 1e-5);
                        compared += 1;
                    }
                }
            }
        }
        assert_eq!(compared, golden.names().iter().filter(|it| it.ends_with(".latents")).count());
    }

    #[test]
    fn latents_that_enter_each_step_are_those_of_diffusers() {
        let golden = golden();
        for method in METHODS {
            for spacing in ["trailing", "leading", "linspace"] {
                let name = format!("{method}.{spacing}.5.v_prediction.entering");
                let (_, entering) = run(&golden, &schedule(method, spacing, "v_prediction", 5));
                assert_close(&name, &entering, &golden.tensor(&name), 1e-5);
            }
        }
    }

    /// A network that knows the image is right about it in one step as in many, whatever it
    /// predicts; this holds without a golden, and for Euler a with `sample` too.
    #[test]
    fn every_sampler_finds_the_image_that_the_network_knows() {
        let image = Tensor::new(&[[0.3_f32, -1.2], [0.8, 0.0]], &Device::Cpu).unwrap();
        let noise = Tensor::new(&[[-0.5_f32, 0.7], [1.9, -0.1]], &Device::Cpu).unwrap();
        for method in METHODS {
            for prediction in ["epsilon", "v_prediction", "sample"] {
                for steps in [1, 4, 30] {
                    let schedule = schedule(method, "trailing", prediction, steps);
                    // DDIM ends at the noise of timestep 0 in this configuration.
                    let (alpha_end, sigma_end) = alpha_sigma(schedule.steps[steps - 1].sigma_next);
                    let mut pass = 0;
                    let latents = schedule.sample::<Error>(
                        &noise,
                        Callbacks {
                            denoise: &mut |x, timestep| {
                                let step = schedule.steps[pass];
                                assert!((step.timestep - timestep).abs() < 1e-9);
                                pass += 1;
                                let (alpha, sigma) = alpha_sigma(step.sigma);
                                let epsilon = sum((1.0 / sigma, x), (-alpha / sigma, &image))?;
                                match schedule.prediction_type {
                                    PredictionType::Epsilon => Ok(epsilon),
                                    PredictionType::VPrediction => {
                                        sum((alpha, &epsilon), (-sigma, &image))
                                    }
                                    PredictionType::Sample => Ok(image.clone()),
                                }
                            },
                            step_noise: &mut |_| Ok(noise.clone()),
                            before_step: &mut |_, _| Ok(()),
                        },
                    );
                    assert_eq!(pass, steps);
                    let expected = values(&(&image * alpha_end).unwrap());
                    let error =
                        troupe_testkit::relative_error(&values(&latents.unwrap()), &expected);
                    assert!(
                        error < 1e-4 + 10.0 * sigma_end,
                        "{method} {prediction} {steps}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_ancestral_samplers_ask_for_noise_and_not_for_the_last_step() {
        let golden = golden();
        for method in METHODS {
            let schedule = schedule(method, "trailing", "v_prediction", 4);
            let mut asked = Vec::new();
            let latents = schedule.sample::<Error>(
                &tensor(&golden, "noise"),
                Callbacks {
                    denoise: &mut |x, timestep| network(x, timestep),
                    step_noise: &mut |step| {
                        asked.push(step);
                        tensor(&golden, "step_noise").get(step)
                    },
                    before_step: &mut |_, _| Ok(()),
                },
            );
            assert!(latents.is_ok());
            let expected: &[usize] = if method.starts_with("euler_a") { &[0, 1, 2] } else { &[] };
            assert_eq!(asked, expected, "{method}");
        }
    }

    /// The error type of a caller that cancels.
    #[derive(Debug)]
    enum Stop {
        Cancelled,
        Candle,
    }

    impl From<Error> for Stop {
        fn from(_: Error) -> Self {
            Self::Candle
        }
    }

    #[test]
    fn an_error_of_a_callback_ends_the_sampling() {
        let noise = tensor(&golden(), "noise");
        for method in METHODS {
            let schedule = schedule(method, "trailing", "v_prediction", 4);
            let mut passes = 0;
            let result = schedule.sample(
                &noise,
                Callbacks {
                    denoise: &mut |x, timestep| {
                        passes += 1;
                        Ok(network(x, timestep)?)
                    },
                    step_noise: &mut |_| Ok(noise.clone()),
                    before_step: &mut |step, _| {
                        if step < 2 { Ok(()) } else { Err(Stop::Cancelled) }
                    },
                },
            );
            assert!(matches!(result, Err(Stop::Cancelled)), "{method}");
            assert_eq!(passes, 2, "{method}");

            let result = schedule.sample(
                &noise,
                Callbacks {
                    denoise: &mut |x, _| Ok(x.flatten_all()?),
                    step_noise: &mut |_| Ok(noise.clone()),
                    before_step: &mut |_, _| Ok(()),
                },
            );
            assert!(matches!(result, Err(Stop::Candle)), "{method}: an output of another shape");
        }
    }

    #[test]
    fn names_of_methods_are_canonical() {
        for method in METHODS {
            let (sampler, schedule) = method.split_once('.').unwrap();
            assert_eq!(sampler.parse::<Method>().unwrap().sampler.to_string(), sampler);
            assert_eq!(schedule.parse::<Schedule>().unwrap().to_string(), schedule);
        }
    }
}
