//! `scheduler_config.json` of a diffusers folder: at which noise levels a network was trained.
//!
//! The file describes two things. What belongs to the network (betas, prediction type, spacing,
//! offset) is read here, and a value that we can't follow is refused. What names an algorithm
//! (`_class_name`, `use_karras_sigmas`, `algorithm_type`, …) is not: the caller chooses the sampler.
//! Defaults are those of diffusers' classes, but an absent `clip_sample` means no clipping:
//! latents have no range to be clipped to.

use serde_json::{Map, Value};

/// Noise levels of the training, and what the network predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    pub(crate) prediction_type: PredictionType,
    /// `None` where the file leaves it to the sampler's class.
    pub(crate) timestep_spacing: Option<TimestepSpacing>,
    // Invariant: less than `alphas_cumprod.len()`.
    pub(crate) steps_offset: usize,
    pub(crate) set_alpha_to_one: bool,
    /// Whether nothing of the image is left at the last timestep (`rescale_betas_zero_snr`).
    pub(crate) zero_terminal_snr: bool,
    /// How many timesteps a consistency model was distilled at; of LCM only.
    // Invariant: 1 to `alphas_cumprod.len()`.
    pub(crate) original_inference_steps: usize,
    /// By which LCM multiplies timesteps before it weighs its output.
    // Invariant: finite and greater than 0.
    pub(crate) timestep_scaling: f64,
    /// `ᾱ_t` of Ho et al. 2020 (arXiv:2006.11239), the share of the image in the variance.
    ///
    /// Shape `(num_train_timesteps,)`.
    // Invariant: at least two, in (0, 1), and the noise levels of `sigmas` strictly ascend; with
    // `zero_terminal_snr` the last is 0.
    pub(crate) alphas_cumprod: Vec<f32>,
}

/// What the output of the network means, in terms of the image `x₀` and the noise `ε`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise `ε`.
    Epsilon,
    /// The velocity `α·ε − σ·x₀` of Salimans and Ho 2022 (arXiv:2202.00512).
    VPrediction,
    /// The image `x₀`.
    Sample,
}

/// How few timesteps are chosen from many: table 2 of Lin et al. 2023 (arXiv:2305.08891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// From timestep 0 (plus `steps_offset`) upwards, so that the noisiest may be left out.
    Leading,
    /// From the noisiest timestep downwards.
    Trailing,
    /// From end to end.
    Linspace,
}

/// Why a `scheduler_config.json` can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text isn't a JSON object.
    #[error("the scheduler's configuration must be a JSON object")]
    Json(#[source] serde_json::Error),
    /// A key has a value of the wrong type, out of range, or that no sampler here supports.
    #[error("`{key}` in the scheduler's configuration is {found}, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value as JSON, shortened.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// The betas are valid, and their noise levels too close to 0, to infinity or to each other.
    #[error(
        "the betas in the scheduler's configuration leave no usable noise level at timestep {timestep}"
    )]
    NoiseLevel {
        /// The first timestep whose noise isn't finite and greater than that of the one before it.
        timestep: usize,
    },
}

/// The most training timesteps accepted; every published model has 1000.
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

/// The greatest `timestep_scaling` accepted; every published model has 10.
const MAX_SCALING: f64 = 1e6;

/// Keys by which a file changes the noise levels or the outputs in a way that isn't supported, with
/// the one value, in JSON, that changes nothing.
const NEUTRAL: [(&str, &str); 12] = [
    ("clip_sample", "false"),
    ("final_sigmas_type", r#""zero""#),
    ("interpolation_type", r#""linear""#),
    ("lambda_min_clipped", "null"),
    ("sigma_max", "null"),
    ("sigma_min", "null"),
    ("thresholding", "false"),
    ("timestep_type", r#""discrete""#),
    ("trained_betas", "null"),
    ("use_beta_sigmas", "false"),
    ("use_flow_sigmas", "false"),
    ("use_lu_lambdas", "false"),
];

impl SchedulerConfig {
    /// Reads the text of a `scheduler_config.json`.
    ///
    /// # Errors
    ///
    /// If the text isn't a JSON object, or a value is of the wrong type, out of range or not
    /// supported; the message names key and value.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // Python writes `lambda_min_clipped`, where it clips nothing, in a way that isn't JSON.
        let text = text.replace("-Infinity", "null");
        let keys: Map<String, Value> = serde_json::from_str(&text).map_err(ConfigError::Json)?;
        for (key, neutral) in NEUTRAL {
            let value = keys.get(key).unwrap_or(&Value::Null);
            let found = value.to_string();
            if !value.is_null() && found != neutral {
                return Err(refuse(key, value, neutral));
            }
        }

        let timesteps = integer(&keys, "num_train_timesteps", 1000, 2..MAX_TRAIN_TIMESTEPS + 1)?;
        let beta_start = beta(&keys, "beta_start", 0.0001)?;
        let beta_end = beta(&keys, "beta_end", 0.02)?;
        let beta_schedule = [("linear", false), ("scaled_linear", true)];
        let scaled = choice(&keys, "beta_schedule", &beta_schedule)?.unwrap_or(false);
        let prediction_type = [
            ("epsilon", PredictionType::Epsilon),
            ("v_prediction", PredictionType::VPrediction),
            ("sample", PredictionType::Sample),
        ];
        let timestep_spacing = [
            ("leading", TimestepSpacing::Leading),
            ("trailing", TimestepSpacing::Trailing),
            ("linspace", TimestepSpacing::Linspace),
        ];
        let truth = [("true", true), ("false", false)];
        let zero_terminal_snr = choice(&keys, "rescale_betas_zero_snr", &truth)?.unwrap_or(false);

        let betas: Vec<f32> = if scaled {
            linspace(beta_start.sqrt(), beta_end.sqrt(), timesteps)
                .map(|root| root * root)
                .collect()
        } else {
            linspace(beta_start, beta_end, timesteps).collect()
        };
        let betas = if zero_terminal_snr { rescale_zero_terminal_snr(&betas) } else { betas };
        let config = Self {
            prediction_type: choice(&keys, "prediction_type", &prediction_type)?
                .unwrap_or(PredictionType::Epsilon),
            timestep_spacing: choice(&keys, "timestep_spacing", &timestep_spacing)?,
            steps_offset: integer(&keys, "steps_offset", 0, 0..timesteps)?,
            set_alpha_to_one: choice(&keys, "set_alpha_to_one", &truth)?.unwrap_or(true),
            zero_terminal_snr,
            original_inference_steps: integer(
                &keys,
                "original_inference_steps",
                50.min(timesteps),
                1..timesteps + 1,
            )?,
            timestep_scaling: scaling(&keys, "timestep_scaling", 10.0)?,
            alphas_cumprod: alphas_cumprod(&betas),
        };
        let sigmas = config.sigmas();
        let mut quieter = 0.0;
        for (timestep, &sigma) in sigmas.iter().enumerate() {
            if !(sigma.is_finite() && quieter < sigma) {
                return Err(ConfigError::NoiseLevel { timestep });
            }
            quieter = sigma;
        }
        Ok(config)
    }

    /// What the network predicts.
    pub fn prediction_type(&self) -> PredictionType {
        self.prediction_type
    }

    /// How many noise levels the network was trained at.
    pub fn num_train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// `σ_t = √((1 − ᾱ_t) / ᾱ_t)`, the standard deviation of the noise beside an image of scale 1.
    ///
    /// Where nothing of the image is left, diffusers puts an `ᾱ` of 2⁻²⁴, and so do we: the level is
    /// 4096, and not infinite.
    ///
    /// Shape `(num_train_timesteps,)`.
    pub(crate) fn sigmas(&self) -> Vec<f32> {
        const LEAST: f32 = 1.0 / 16_777_216.0;
        let mut alphas = self.alphas_cumprod.clone();
        if self.zero_terminal_snr
            && let Some(last) = alphas.last_mut()
        {
            *last = LEAST;
        }
        alphas.into_iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
    }
}

/// `count` values from `start` to `end` as PyTorch computes them: each half from its own end, and
/// rounded once.
fn linspace(start: f64, end: f64, count: usize) -> impl Iterator<Item = f32> {
    let (start, end) = (single(start), single(end));
    let step = (end - start) / index(count - 1);
    (0..count).map(move |i| {
        if i < count.div_euclid(2) {
            step.mul_add(index(i), start)
        } else {
            (-step).mul_add(index(count - 1 - i), end)
        }
    })
}

/// The products of `1 − β`, accumulated in f64 as PyTorch does on the CPU.
///
/// Shape `(num_train_timesteps,)` → `(num_train_timesteps,)`.
fn alphas_cumprod(betas: &[f32]) -> Vec<f32> {
    let products = betas.iter().scan(1.0, |product: &mut f64, &beta| {
        *product *= f64::from(1.0 - beta);
        Some(single(*product))
    });
    products.collect()
}

/// Algorithm 1 of Lin et al. 2023 (arXiv:2305.08891): shifts and scales `√ᾱ` so that the last is 0
/// and the first stays.
///
/// Shape `(num_train_timesteps,)` → `(num_train_timesteps,)`.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = alphas_cumprod(betas).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let products = roots.into_iter().map(|root| {
        let root = (root - last) * scale;
        root * root
    });
    let mut before = 1.0;
    products
        .map(|product| {
            let beta = 1.0 - product / before;
            before = product;
            beta
        })
        .collect()
}

fn scaling(keys: &Map<String, Value>, key: &'static str, default: f64) -> Result<f64, ConfigError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|&scaling| 0.0 < scaling && scaling <= MAX_SCALING)
            .ok_or_else(|| refuse(key, value, "a number above 0, at most 1000000")),
    }
}

fn beta(keys: &Map<String, Value>, key: &'static str, default: f64) -> Result<f64, ConfigError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|&beta| 0.0 < beta && beta < 1.0)
            .ok_or_else(|| refuse(key, value, "a number between 0 and 1")),
    }
}

fn integer(
    keys: &Map<String, Value>,
    key: &'static str,
    default: usize,
    range: std::ops::Range<usize>,
) -> Result<usize, ConfigError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (from, to) = (range.start, range.end - 1);
                refuse(key, value, &format!("a whole number from {from} to {to}"))
            }),
    }
}

/// The choice that a string or a truth value names; `None` where the key is absent.
fn choice<T: Copy>(
    keys: &Map<String, Value>,
    key: &'static str,
    choices: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let Some(value) = keys.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(&(_, chosen)) = choices.iter().find(|(choice, _)| *choice == name) {
        return Ok(Some(chosen));
    }
    let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
    Err(refuse(key, value, &names.join(" or ")))
}

fn refuse(key: &'static str, value: &Value, expected: &str) -> ConfigError {
    const SHOWN: usize = 60;
    let text = value.to_string();
    let mut found: String = text.chars().take(SHOWN).collect();
    if found.len() < text.len() {
        found.push('…');
    }
    ConfigError::Value { key, found, expected: expected.to_owned() }
}

#[expect(clippy::cast_possible_truncation, reason = "noise levels are kept in f32, as in PyTorch")]
pub(crate) fn single(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 100,000 timesteps")]
fn index(timestep: usize) -> f32 {
    timestep as f32
}

#[cfg(test)]
mod tests {
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = SchedulerConfig::parse(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn alphas_cumprod_are_those_of_diffusers() {
        let golden = Golden::read(golden_path("sampler/sampler.safetensors"));
        // To the bit, but not where PyTorch takes square roots: its own aren't always the nearest.
        for (spacing, tolerance) in [("trailing", 0.0), ("linspace", 0.0), ("zero_snr", 3e-7)] {
            let text = std::fs::read_to_string(golden_path(&format!("sampler/{spacing}.json")));
            let config = SchedulerConfig::parse(&text.unwrap()).unwrap();
            let name = format!("{spacing}.alphas_cumprod");
            assert_close(&name, &config.alphas_cumprod, &golden.tensor(&name), tolerance);
        }
    }

    #[test]
    fn absent_keys_have_the_defaults_of_diffusers() {
        let config = SchedulerConfig::parse(r#"{ "trained_betas": null }"#).unwrap();
        let spelt_out = r#"{ "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
            "num_train_timesteps": 1000, "prediction_type": "epsilon", "steps_offset": 0,
            "set_alpha_to_one": true, "clip_sample": false }"#;
        assert_eq!(config, SchedulerConfig::parse(spelt_out).unwrap());
        assert_eq!(config.timestep_spacing, None);
        assert_eq!(config.num_train_timesteps(), 1000);
    }

    #[test]
    fn python_s_infinity_is_read() {
        let text = r#"{ "lambda_min_clipped": -Infinity, "prediction_type": "sample" }"#;
        let config = SchedulerConfig::parse(text).unwrap();
        assert_eq!(config.prediction_type(), PredictionType::Sample);
    }

    #[test]
    fn what_we_cannot_follow_is_refused_by_key_and_value() {
        let prefix = "in the scheduler's configuration is";
        let cases = [
            (r#"{"clip_sample": true}"#, format!("`clip_sample` {prefix} true, expected false")),
            (
                r#"{"rescale_betas_zero_snr": 1}"#,
                format!("`rescale_betas_zero_snr` {prefix} 1, expected true or false"),
            ),
            (
                r#"{"original_inference_steps": 0}"#,
                format!(
                    "`original_inference_steps` {prefix} 0, expected a whole number from 1 to 1000"
                ),
            ),
            (
                r#"{"timestep_scaling": 0}"#,
                format!(
                    "`timestep_scaling` {prefix} 0, expected a number above 0, at most 1000000"
                ),
            ),
            (
                r#"{"timestep_type": "continuous"}"#,
                format!(r#"`timestep_type` {prefix} "continuous", expected "discrete""#),
            ),
            (
                r#"{"trained_betas": [0.1, 0.2]}"#,
                format!("`trained_betas` {prefix} [0.1,0.2], expected null"),
            ),
            (
                r#"{"beta_schedule": "squaredcos_cap_v2"}"#,
                format!(
                    r#"`beta_schedule` {prefix} "squaredcos_cap_v2", expected linear or scaled_linear"#
                ),
            ),
            (
                r#"{"prediction_type": 3}"#,
                format!("`prediction_type` {prefix} 3, expected epsilon or v_prediction or sample"),
            ),
            (
                r#"{"timestep_spacing": "Trailing"}"#,
                format!(
                    r#"`timestep_spacing` {prefix} "Trailing", expected leading or trailing or linspace"#
                ),
            ),
            (
                r#"{"set_alpha_to_one": "yes"}"#,
                format!(r#"`set_alpha_to_one` {prefix} "yes", expected true or false"#),
            ),
            (
                r#"{"beta_start": -1}"#,
                format!("`beta_start` {prefix} -1, expected a number between 0 and 1"),
            ),
            (
                r#"{"beta_end": "0.02"}"#,
                format!(r#"`beta_end` {prefix} "0.02", expected a number between 0 and 1"#),
            ),
            (
                r#"{"num_train_timesteps": 100001}"#,
                format!(
                    "`num_train_timesteps` {prefix} 100001, expected a whole number from 2 to 100000"
                ),
            ),
            (
                r#"{"num_train_timesteps": 10, "steps_offset": 10}"#,
                format!("`steps_offset` {prefix} 10, expected a whole number from 0 to 9"),
            ),
        ];
        for (text, expected) in cases {
            check_refused(text, &expected);
        }
        check_refused("[]", "the scheduler's configuration must be a JSON object");
        let long = format!(r#"{{"prediction_type": "{}"}}"#, "é".repeat(100_000));
        let message = SchedulerConfig::parse(&long).unwrap_err().to_string();
        assert!(message.len() < 300 && message.contains("éé…,"), "{message}");
    }

    #[test]
    fn betas_that_leave_no_noise_level_are_refused() {
        let message =
            "the betas in the scheduler's configuration leave no usable noise level at timestep";
        let silent = r#"{"beta_start": 1e-12, "beta_end": 1e-12}"#; // 1 − β is 1 in f32.
        check_refused(silent, &format!("{message} 0"));
        let deafening = // ᾱ is 0 in f32 at the last timestep.
            r#"{"beta_start": 0.5, "beta_end": 0.999999999, "num_train_timesteps": 2}"#;
        check_refused(deafening, &format!("{message} 1"));
    }
}
