//! Tests of the samplers.

use candle_core::{Device, Error, Shape};
use troupe_testkit::{Golden, assert_close, golden_path, relative_error};

use super::*;
use crate::{SamplingOptions, Schedule, SchedulerConfig, TorchCpuGenerator};

/// Of the latents of 1, 2, 4, 7 and 20 steps.
const TOLERANCE: f64 = 1e-5;
/// The same of Heun, whose correction is multiplied by up to `(σ − σ_next) / 2σ_next`: by 7850 in two
/// steps of `linspace`.
const TOLERANCE_OF_HEUN: f64 = 1e-4;
const STEPS: [usize; 5] = [1, 2, 4, 7, 20];
const PREDICTIONS: [&str; 3] = ["epsilon", "v_prediction", "sample"];
const SPACINGS: [&str; 3] = ["trailing", "leading", "linspace"];

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

/// `spacing` names the configuration.
fn config(spacing: &str, prediction: &str) -> SchedulerConfig {
    let text = std::fs::read_to_string(golden_path(&format!("sampler/{spacing}.json"))).unwrap();
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    keys.insert("prediction_type".to_owned(), prediction.into());
    SchedulerConfig::parse(&serde_json::to_string(&keys).unwrap()).unwrap()
}

/// `sampler` as it is called in the golden.
fn options(sampler: &str, schedule: &str, steps: usize) -> SamplingOptions {
    let plain = sampler.strip_suffix("_eta").unwrap_or(sampler);
    let eta = if plain == sampler { 0.0 } else { 0.6 };
    let (sampler, schedule) = (plain.parse().unwrap(), schedule.parse().unwrap());
    SamplingOptions { eta, ..SamplingOptions::new(sampler, schedule, steps) }
}

/// Every sampler with every schedule, without zero terminal SNR.
fn methods() -> Vec<(Sampler, Schedule)> {
    let all = Sampler::ALL.into_iter();
    all.flat_map(|sampler| Schedule::ALL.map(|schedule| (sampler, schedule))).collect()
}

fn draws_noise(sampler: Sampler) -> bool {
    matches!(
        sampler,
        Sampler::Ddpm | Sampler::EulerAncestral | Sampler::DpmPlusPlus2MSde | Sampler::Lcm
    )
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
                entering.extend(values(&latents));
                Ok(latents)
            },
        },
    );
    (values(&latents.unwrap()), entering)
}

/// Fails if any coefficient of a sampler changes by a thousandth.
#[test]
fn latents_are_those_of_diffusers_and_of_the_definitions() {
    let golden = golden();
    let mut worst: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    let mut compared = 0;
    for name in golden.names() {
        let Some(key) = name.strip_suffix(".latents") else { continue };
        let [sampler, schedule, spacing, prediction] =
            key.split('.').collect::<Vec<_>>().try_into().unwrap();
        let config = config(spacing, prediction);
        let tolerance = if sampler == "heun" { TOLERANCE_OF_HEUN } else { TOLERANCE };
        let (expected, shape) = golden.tensor(&name);
        assert_eq!(shape[0], STEPS.len());
        for (steps, expected) in STEPS.iter().zip(expected.chunks(expected.len().div_euclid(5))) {
            let options = options(sampler, schedule, *steps);
            let (latents, entering) = run(&golden, &NoiseSchedule::new(&config, options).unwrap());
            let case = format!("{key}.{steps}");
            assert_close(&case, &latents, &(expected.to_vec(), shape[1..].to_vec()), tolerance);
            let error = relative_error(&latents, expected);
            let kind = if spacing == "zero_snr" { spacing } else { schedule };
            let most = worst.entry(format!("{sampler} {kind}")).or_default();
            *most = most.max(error);
            let name = format!("{key}.entering");
            if *steps == 4 && prediction == "v_prediction" {
                assert_close(&name, &entering, &golden.tensor(&name), tolerance);
            }
            compared += 1;
        }
    }
    assert!(1000 < compared, "{compared} cases");
    // `cargo test -- --nocapture` shows them; docs/parity.md lists them.
    #[expect(clippy::print_stdout, reason = "shown only when asked for")]
    for (case, error) in worst {
        println!("parity sampler {case} {error:.1e}");
    }
}

#[test]
fn the_golden_has_every_sampler_schedule_spacing_and_prediction() {
    let names = golden().names();
    for (sampler, schedule) in methods() {
        for prediction in PREDICTIONS {
            if sampler == Sampler::EulerAncestral && prediction == "sample" {
                continue; // Not implemented in diffusers.
            }
            let has = |spacing: &str| {
                names.contains(&format!("{sampler}.{schedule}.{spacing}.{prediction}.latents"))
            };
            assert!(has("trailing"), "{sampler} {schedule} {prediction}");
            if schedule == Schedule::Uniform {
                assert!(SPACINGS.iter().all(|spacing| has(spacing)), "{sampler} {prediction}");
                assert!(prediction == "epsilon" || has("zero_snr"), "{sampler} {prediction}");
            }
        }
    }
}

/// What a network says of `x` that knows the image.
fn knowing(
    image: &Tensor,
    x: &Tensor,
    step: Step,
    prediction: PredictionType,
) -> TensorResult<Tensor> {
    let (alpha, sigma) = alpha_sigma(step.sigma);
    let epsilon = sum((1.0 / sigma, x), (-alpha / sigma, image))?;
    match prediction {
        PredictionType::Epsilon => Ok(epsilon),
        PredictionType::VPrediction => sum((alpha, &epsilon), (-sigma, image)),
        PredictionType::Sample => Ok(image.clone()),
    }
}

/// In the scale in which the network sees latents, whatever the sampler's own is.
#[test]
fn what_is_seen_in_noise_is_what_the_network_knows() {
    let image = Tensor::new(&[[0.3_f32, -1.2], [0.8, 0.0]], &Device::Cpu).unwrap();
    let noise = Tensor::new(&[[-0.5_f32, 0.7], [1.9, -0.1]], &Device::Cpu).unwrap();
    for (sampler, schedule) in methods() {
        for prediction in PREDICTIONS {
            let options = SamplingOptions::new(sampler, schedule, 4);
            let schedule = NoiseSchedule::new(&config("trailing", prediction), options).unwrap();
            let first = schedule.steps[0];
            let seen = schedule.seen_in::<Error>(&noise, &mut |x, timestep| {
                assert!((timestep - first.timestep).abs() < 1e-9);
                let entering = (&noise * alpha_sigma(first.sigma).1)?;
                assert!(relative_error(&values(x), &values(&entering)) < 1e-6);
                knowing(&image, x, first, schedule.prediction_type)
            });
            let error = relative_error(&values(&seen.unwrap()), &values(&image));
            assert!(error < 1e-4, "{options:?} {prediction}: {error}");
        }
    }
}

/// A network that knows the image is right about it in one step as in many, whatever it predicts;
/// this holds without a golden, and for Euler a with `sample` too.
#[test]
fn every_sampler_finds_the_image_that_the_network_knows() {
    let image = Tensor::new(&[[0.3_f32, -1.2], [0.8, 0.0]], &Device::Cpu).unwrap();
    let noise = Tensor::new(&[[-0.5_f32, 0.7], [1.9, -0.1]], &Device::Cpu).unwrap();
    for (sampler, schedule) in methods() {
        for prediction in PREDICTIONS {
            for steps in [1, 2, 4, 30] {
                let options = SamplingOptions::new(sampler, schedule, steps);
                let schedule =
                    NoiseSchedule::new(&config("trailing", prediction), options).unwrap();
                // DDIM ends at the noise of timestep 0 in this configuration.
                let (alpha_end, sigma_end) = alpha_sigma(schedule.steps[steps - 1].sigma_next);
                // And LCM takes what reaches timestep 0 for the image.
                let last = schedule.steps[steps - 1];
                let takes = sampler == Sampler::Lcm && last.timestep < 1.0;
                let sigma_end = if takes { last.sigma } else { sigma_end };
                let mut passes = 0;
                let latents = schedule.sample::<Error>(
                    &noise,
                    Callbacks {
                        denoise: &mut |x, timestep| {
                            // Heun's second pass of a step is at the level of the next one.
                            let halves = if sampler == Sampler::Heun { 2 } else { 1 };
                            let step = schedule.steps[usize::div_ceil(passes, halves)];
                            assert!((step.timestep - timestep).abs() < 1e-9);
                            passes += 1;
                            knowing(&image, x, step, schedule.prediction_type)
                        },
                        step_noise: &mut |_| Ok(noise.clone()),
                        before_step: &mut |_, latents| Ok(latents),
                    },
                );
                assert_eq!(passes, if sampler == Sampler::Heun { 2 * steps - 1 } else { steps });
                let expected = values(&(&image * alpha_end).unwrap());
                let error = relative_error(&values(&latents.unwrap()), &expected);
                assert!(
                    error < 1e-4 + 10.0 * sigma_end,
                    "{options:?} {prediction} {steps}: {error}"
                );
            }
        }
    }
}

/// What is put back into the latents is what a deterministic sampler holds of an image that the
/// network knows: neither the scale nor the level is another.
#[test]
fn a_noised_image_lies_on_the_way_of_a_sampler_that_knows_it() {
    let image = Tensor::new(&[[0.3_f32, -1.2], [0.8, 0.0]], &Device::Cpu).unwrap();
    let noise = Tensor::new(&[[-0.5_f32, 0.7], [1.9, -0.1]], &Device::Cpu).unwrap();
    for sampler in Sampler::ALL {
        let options = SamplingOptions::new(sampler, Schedule::Uniform, 4);
        let schedule = NoiseSchedule::new(&config("trailing", "sample"), options).unwrap();
        let mut compared = 0;
        let latents = schedule.sample::<Error>(
            &noise,
            Callbacks {
                denoise: &mut |_, _| Ok(image.clone()),
                step_noise: &mut |_| Ok(noise.clone()),
                before_step: &mut |step, latents| {
                    let noised = schedule.noised(&image, &noise, step)?;
                    // Noise that is drawn on the way is added to what is left of the first.
                    if 0 < step && (!draws_noise(sampler) || sampler == Sampler::Lcm) {
                        let error = relative_error(&values(&latents), &values(&noised));
                        assert!(error < 1e-4, "{options:?}, step {step}: {error}");
                        compared += 1;
                    }
                    Ok(noised)
                },
            },
        );
        assert!(latents.is_ok());
        assert_eq!(compared, if draws_noise(sampler) && sampler != Sampler::Lcm { 0 } else { 3 });
        assert_eq!(values(&schedule.noised(&image, &noise, 4).unwrap()), values(&image));
    }
}

#[test]
fn only_ancestral_samplers_ask_for_noise_and_not_for_the_last_step() {
    let golden = golden();
    for (sampler, schedule) in methods() {
        let options = SamplingOptions::new(sampler, schedule, 4);
        let schedule = NoiseSchedule::new(&config("linspace", "v_prediction"), options).unwrap();
        let mut asked = Vec::new();
        let latents = schedule.sample::<Error>(
            &tensor(&golden, "noise"),
            Callbacks {
                denoise: &mut |x, timestep| network(x, timestep),
                step_noise: &mut |step| {
                    asked.push(step);
                    tensor(&golden, "step_noise").get(step)
                },
                before_step: &mut |_, latents| Ok(latents),
            },
        );
        assert!(latents.is_ok());
        let expected: &[usize] = if draws_noise(sampler) { &[0, 1, 2] } else { &[] };
        assert_eq!(asked, expected, "{options:?}");
    }
}

/// DDPM's variance is DDIM's with η = 1, and steps of trailing DDIM end where DDPM's do.
#[test]
fn ddpm_is_ddim_with_all_of_its_noise() {
    let golden = golden();
    let config = config("linspace", "epsilon"); // Its DDIM ends without noise, too.
    let trailing = |sampler, eta| {
        let options = SamplingOptions::new(sampler, Schedule::Uniform, 20);
        let spacing = Some(crate::TimestepSpacing::Trailing);
        run(
            &golden,
            &NoiseSchedule::new(&config, SamplingOptions { eta, spacing, ..options }).unwrap(),
        )
        .0
    };
    let ddpm = trailing(Sampler::Ddpm, 0.0);
    assert!(relative_error(&trailing(Sampler::Ddim, 1.0), &ddpm) < TOLERANCE);
    assert!(1e-2 < relative_error(&trailing(Sampler::Ddim, 0.9), &ddpm));
}

/// One generator draws the latents and then the steps' noise, in the order of the steps.
#[test]
fn a_seed_of_torch_gives_what_diffusers_gives() {
    let golden = Golden::read(golden_path("sampler/torch_cpu.safetensors"));
    let shape = (1, 4, 3, 5);
    for sampler in ["ddim_eta", "ddpm", "euler_a", "dpm++2m_sde", "lcm"] {
        let options = options(sampler, "uniform", 4);
        let schedule = NoiseSchedule::new(&config("leading", "epsilon"), options).unwrap();
        let mut generator = TorchCpuGenerator::new(7);
        let mut draw = || Tensor::from_vec(generator.normals(60), shape, &Device::Cpu);
        let noise = draw().unwrap();
        let latents = schedule.sample::<Error>(
            &noise,
            Callbacks {
                denoise: &mut |x, timestep| network(x, timestep),
                step_noise: &mut |_| draw(),
                before_step: &mut |_, latents| Ok(latents),
            },
        );
        let name = format!("picture.{sampler}");
        assert_close(&name, &values(&latents.unwrap()), &golden.tensor(&name), TOLERANCE);
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
    for (sampler, schedule) in methods() {
        let options = SamplingOptions::new(sampler, schedule, 4);
        let schedule = NoiseSchedule::new(&config("trailing", "v_prediction"), options).unwrap();
        let mut passes = 0;
        let result = schedule.sample(
            &noise,
            Callbacks {
                denoise: &mut |x, timestep| {
                    passes += 1;
                    Ok(network(x, timestep)?)
                },
                step_noise: &mut |_| Ok(noise.clone()),
                before_step: &mut |step, latents| {
                    if step < 2 { Ok(latents) } else { Err(Stop::Cancelled) }
                },
            },
        );
        assert!(matches!(result, Err(Stop::Cancelled)), "{options:?}");
        assert_eq!(passes, if sampler == Sampler::Heun { 4 } else { 2 }, "{options:?}");

        let result = schedule.sample(
            &noise,
            Callbacks {
                denoise: &mut |x, _| Ok(x.flatten_all()?),
                step_noise: &mut |_| Ok(noise.clone()),
                before_step: &mut |_, latents| Ok(latents),
            },
        );
        assert!(matches!(result, Err(Stop::Candle)), "{options:?}: an output of another shape");
    }
}
