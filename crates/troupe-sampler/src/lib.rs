//! Noise schedules, and samplers over any denoiser.
//!
//! A diffusion network is trained at `num_train_timesteps` noise levels; [`SchedulerConfig`] says
//! which. [`NoiseSchedule`] chooses the few that a sampler visits, and is known before anything is
//! computed. [`NoiseSchedule::sample`] walks down them; all that it asks of a network is in
//! [`Callbacks`]. [`rescale_guidance`] tempers what guidance does, and [`TorchCpuGenerator`] draws
//! PyTorch's noise. Timesteps, noise levels and latents are those of diffusers 0.42.1, to rounding.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use troupe_sampler::{
//!     Callbacks, Method, NoiseSchedule, SamplingOptions, Schedule, SchedulerConfig,
//! };
//!
//! let config = SchedulerConfig::parse(r#"{ "beta_schedule": "scaled_linear" }"#)?;
//! let method: Method = "DPM++ 2M Karras".parse()?;
//! let schedule = method.schedule.unwrap_or(Schedule::Uniform);
//! let options = SamplingOptions::new(method.sampler, schedule, 20);
//! let noise_schedule = NoiseSchedule::new(&config, options)?;
//! assert_eq!(noise_schedule.steps().len(), 20); // As many passes through the network.
//!
//! let noise = Tensor::ones((1, 8, 8, 4), candle_core::DType::F32, &Device::Cpu)?;
//! let latents = noise_schedule.sample(&noise, Callbacks::<candle_core::Error> {
//!     denoise: &mut |latents, _timestep| latents.tanh(),
//!     step_noise: &mut |_step| unreachable!("DPM++ 2M is deterministic"),
//!     before_step: &mut |_step, latents| Ok(latents),
//! })?;
//! assert_eq!(latents.dims(), noise.dims());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod guidance;
mod name;
mod samplers;
mod schedule;
mod torch;

pub use config::{ConfigError, PredictionType, SchedulerConfig, TimestepSpacing};
pub use guidance::rescale_guidance;
pub use name::{Method, Sampler, Schedule, UnknownName};
pub use samplers::Callbacks;
pub use schedule::{NoiseSchedule, SamplingOptions, ScheduleError, Step};
pub use torch::TorchCpuGenerator;
