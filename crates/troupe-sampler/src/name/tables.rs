//! Who calls what how.

use super::{Sampler, Schedule};
use crate::TimestepSpacing;

/// What something is called.
pub(super) struct Names<T: 'static> {
    pub(super) itself: T,
    pub(super) canonical: &'static str,
    /// As A1111 writes it in an image's `parameters`.
    pub(super) a1111: &'static str,
    /// All its names as [`plain`](super::plain) leaves them, the canonical and A1111's among them.
    pub(super) plain: &'static [&'static str],
}

/// Every sampler.
///
/// Sources: `modules/sd_samplers_*.py` of AUTOMATIC1111's web UI (with the aliases `k_…`),
/// `comfy/samplers.py` of ComfyUI, `sample_method_to_str` of stable-diffusion.cpp, `sampling.py` of
/// k-diffusion, and the classes of diffusers.
pub(super) const SAMPLERS: [Names<Sampler>; 9] = [
    Names { itself: Sampler::Ddim, canonical: "ddim", a1111: "DDIM", plain: &["ddim"] },
    Names { itself: Sampler::Ddpm, canonical: "ddpm", a1111: "DDPM", plain: &["ddpm"] },
    Names {
        itself: Sampler::Euler,
        canonical: "euler",
        a1111: "Euler",
        plain: &["euler", "eulerdiscrete", "keuler"],
    },
    Names {
        itself: Sampler::EulerAncestral,
        canonical: "euler_a",
        a1111: "Euler a",
        plain: &[
            "eulera",
            "eulerancestral",
            "eulerancestraldiscrete",
            "keulera",
            "keulerancestral",
        ],
    },
    Names {
        itself: Sampler::Heun,
        canonical: "heun",
        a1111: "Heun",
        plain: &["heun", "heundiscrete", "kheun"],
    },
    Names {
        itself: Sampler::DpmPlusPlus2M,
        canonical: "dpm++2m",
        a1111: "DPM++ 2M",
        plain: &["dpmpp2m", "dpmsolvermultistep", "kdpmpp2m"],
    },
    Names {
        itself: Sampler::DpmPlusPlus2MSde,
        canonical: "dpm++2m_sde",
        a1111: "DPM++ 2M SDE",
        // ComfyUI's `_gpu` draws its noise elsewhere; the last is an `algorithm_type` of diffusers.
        plain: &["dpmpp2msde", "dpmpp2msdegpu", "kdpmpp2msde", "sdedpmsolverpp"],
    },
    Names {
        itself: Sampler::UniPc,
        canonical: "unipc",
        a1111: "UniPC",
        plain: &["unipc", "unipcbh2", "unipcmultistep"],
    },
    Names { itself: Sampler::Lcm, canonical: "lcm", a1111: "LCM", plain: &["lcm"] },
];

/// Every schedule.
///
/// Sources: `modules/sd_schedulers.py` of AUTOMATIC1111's web UI, `comfy/samplers.py` of ComfyUI,
/// `schedule_to_str` of stable-diffusion.cpp, and the switches of diffusers' classes. What A1111
/// calls "Uniform" is [`Schedule::Normal`] there, and is written for [`Schedule::Uniform`] too, which
/// it hasn't got; "Automatic" there may be Karras.
pub(super) const SCHEDULES: [Names<Schedule>; 6] = [
    Names {
        itself: Schedule::Uniform,
        canonical: "uniform",
        a1111: "Uniform",
        plain: &["uniform", "automatic", "auto", "default"],
    },
    Names {
        itself: Schedule::Normal,
        canonical: "normal",
        a1111: "Normal",
        plain: &["normal", "discrete"],
    },
    Names {
        itself: Schedule::Karras,
        canonical: "karras",
        a1111: "Karras",
        plain: &["karras", "usekarrassigmas"],
    },
    Names {
        itself: Schedule::Exponential,
        canonical: "exponential",
        a1111: "Exponential",
        plain: &["exponential", "useexponentialsigmas"],
    },
    Names {
        itself: Schedule::SgmUniform,
        canonical: "sgm_uniform",
        a1111: "SGM Uniform",
        plain: &["sgmuniform"],
    },
    Names { itself: Schedule::Simple, canonical: "simple", a1111: "Simple", plain: &["simple"] },
];

/// The `timestep_spacing` of diffusers.
pub(super) const SPACINGS: [Names<TimestepSpacing>; 3] = [
    Names {
        itself: TimestepSpacing::Leading,
        canonical: "leading",
        a1111: "leading",
        plain: &["leading"],
    },
    Names {
        itself: TimestepSpacing::Trailing,
        canonical: "trailing",
        a1111: "trailing",
        plain: &["trailing"],
    },
    Names {
        itself: TimestepSpacing::Linspace,
        canonical: "linspace",
        a1111: "linspace",
        plain: &["linspace"],
    },
];

/// How A1111's aliases end: `k_dpmpp_2m_ka`, `k_dpmpp_2m_sde_exp`.
pub(super) const A1111_ENDINGS: [(&str, Schedule); 2] =
    [("ka", Schedule::Karras), ("exp", Schedule::Exponential)];
