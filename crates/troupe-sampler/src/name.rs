//! The names of samplers and schedules, in everybody's spelling.
//!
//! The canonical spellings are those of stable-diffusion.cpp, as far as it has them. A1111, ComfyUI,
//! k-diffusion and diffusers are understood too: "DPM++ 2M", `dpmpp_2m`, `sample_dpmpp_2m` and
//! `DPMSolverMultistepScheduler` are `dpm++2m`; the tables are in [`tables`]. A name
//! that isn't known is an error that says which known one is nearest. An alias means the same
//! algorithm, not the same bits: A1111 and ComfyUI draw other noise, and their `UniPC` is of third
//! order with `B(h) = h`, where diffusers' and ours is of second with `B(h) = exp(h) − 1`.

mod tables;

use std::fmt;
use std::str::FromStr;

use crate::TimestepSpacing;

use tables::{A1111_ENDINGS, Names, SAMPLERS, SCHEDULES, SPACINGS};

/// An algorithm that turns noise into latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampler {
    /// DDIM of Song et al. 2020; its η is 0 unless said otherwise.
    Ddim,
    /// Ancestral sampling of Ho et al. 2020, which is DDIM with η = 1 from step to step.
    Ddpm,
    /// Euler's method on the probability flow of Karras et al. 2022.
    Euler,
    /// Euler's method with new noise in every step, of k-diffusion.
    EulerAncestral,
    /// Heun's method on the probability flow of Karras et al. 2022: two passes a step.
    Heun,
    /// DPM-Solver++(2M) of Lu et al. 2022.
    DpmPlusPlus2M,
    /// SDE-DPM-Solver++(2M) of Lu et al. 2022, with new noise in every step.
    DpmPlusPlus2MSde,
    /// `UniPC` of Zhao et al. 2023, of second order.
    UniPc,
    /// Multistep consistency sampling of Luo et al. 2023, for networks distilled for it.
    Lcm,
}

/// How the noise levels of the steps are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Evenly in timesteps, as the network's configuration and the sampler's class in diffusers say.
    Uniform,
    /// Evenly in timesteps, from the noisiest to the quietest one, whatever the configuration says.
    Normal,
    /// Evenly in `σ^(1/7)`, of Karras et al. 2022.
    Karras,
    /// Evenly in `ln σ`.
    Exponential,
    /// As [`Self::Normal`] with one step more, of which the last isn't taken.
    SgmUniform,
    /// Every so many levels of the training, from the noisiest.
    Simple,
}

/// A sampler, with a schedule and a spacing where the name includes them: "DPM++ 2M Karras",
/// `ddim_trailing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The sampler.
    pub sampler: Sampler,
    /// The schedule that the name ends with, if any.
    pub schedule: Option<Schedule>,
    /// The spacing that the name ends with, if any.
    pub spacing: Option<TimestepSpacing>,
}

/// How a sampler thinks of noise levels: what diffusers' classes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// It goes from timestep to timestep of the training.
    Timesteps,
    /// The same, among those that a consistency model was distilled at.
    Consistency,
    /// It goes down `σ`, with latents in which the image keeps its scale.
    Sigmas,
    /// It goes down `σ`, with latents of variance 1, and looks back at the steps before.
    Multistep,
}

/// A name that belongs to no sampler or schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`, the nearest is `{nearest}` (known: {known})")]
pub struct UnknownName {
    /// "sampler", "schedule" or "spacing".
    pub kind: &'static str,
    /// The name, shortened.
    pub name: String,
    /// The canonical name that is nearest in spelling.
    pub nearest: &'static str,
    /// All canonical names.
    pub known: String,
}

impl Sampler {
    /// Every sampler.
    pub const ALL: [Self; 9] = [
        Self::Ddim,
        Self::Ddpm,
        Self::Euler,
        Self::EulerAncestral,
        Self::Heun,
        Self::DpmPlusPlus2M,
        Self::DpmPlusPlus2MSde,
        Self::UniPc,
        Self::Lcm,
    ];

    /// The name as A1111 writes it in an image's `parameters`.
    pub fn a1111_name(self) -> &'static str {
        named(self, &SAMPLERS).map_or("", |names| names.a1111)
    }

    /// The canonical name.
    pub fn name(self) -> &'static str {
        named(self, &SAMPLERS).map_or("", |names| names.canonical)
    }

    /// Whether [`crate::SamplingOptions::eta`] changes anything.
    pub fn uses_eta(self) -> bool {
        self == Self::Ddim
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Ddim | Self::Ddpm => Family::Timesteps,
            Self::Lcm => Family::Consistency,
            Self::Euler | Self::EulerAncestral | Self::Heun => Family::Sigmas,
            Self::DpmPlusPlus2M | Self::DpmPlusPlus2MSde | Self::UniPc => Family::Multistep,
        }
    }
}

impl Schedule {
    /// Every schedule.
    pub const ALL: [Self; 6] = [
        Self::Uniform,
        Self::Normal,
        Self::Karras,
        Self::Exponential,
        Self::SgmUniform,
        Self::Simple,
    ];

    /// The name as A1111 writes it in an image's `parameters`.
    pub fn a1111_name(self) -> &'static str {
        named(self, &SCHEDULES).map_or("", |names| names.a1111)
    }

    /// The canonical name.
    pub fn name(self) -> &'static str {
        named(self, &SCHEDULES).map_or("", |names| names.canonical)
    }

    /// Whether [`crate::SamplingOptions::spacing`] changes anything.
    pub fn uses_spacing(self) -> bool {
        matches!(self, Self::Uniform | Self::Karras | Self::Exponential)
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for TimestepSpacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(named(*self, &SPACINGS).map_or("", |names| names.canonical))
    }
}

impl FromStr for Sampler {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find("sampler", name, &plain(name), &SAMPLERS)
    }
}

impl FromStr for Schedule {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find("schedule", name, &plain(name), &SCHEDULES)
    }
}

impl FromStr for TimestepSpacing {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find("spacing", name, &plain(name), &SPACINGS)
    }
}

impl FromStr for Method {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let plain = plain(name);
        if let Some(sampler) = known(&plain, &SAMPLERS) {
            return Ok(Self { sampler, schedule: None, spacing: None });
        }
        let (rest, schedule) = ending(&plain, &SCHEDULES);
        let (rest, schedule) = match A1111_ENDINGS.iter().find(|(end, _)| rest.ends_with(end)) {
            Some(&(end, short)) if schedule.is_none() => {
                (rest.strip_suffix(end).unwrap_or(rest), Some(short))
            }
            Some(_) | None => (rest, schedule),
        };
        let (rest, spacing) = ending(rest, &SPACINGS);
        let sampler = find("sampler", name, rest, &SAMPLERS)?;
        Ok(Self { sampler, schedule, spacing })
    }
}

/// How many letters of an unknown name are compared and shown.
const SHOWN: usize = 60;

/// A spelling without what tells one project's from another's.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase().replace("++", "pp");
    let letters: String = lower.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
    let letters = letters.strip_suffix("scheduler").unwrap_or(&letters);
    letters.strip_prefix("sample").unwrap_or(letters).to_owned()
}

fn named<T: Copy + PartialEq>(itself: T, all: &'static [Names<T>]) -> Option<&'static Names<T>> {
    all.iter().find(|names| names.itself == itself)
}

fn known<T: Copy>(plain: &str, all: &[Names<T>]) -> Option<T> {
    all.iter().find(|names| names.plain.contains(&plain)).map(|names| names.itself)
}

/// The longest name of `all` that a plain spelling ends with, and what is before it.
fn ending<'a, T: Copy>(plain: &'a str, all: &[Names<T>]) -> (&'a str, Option<T>) {
    let endings = all.iter().flat_map(|names| {
        names.plain.iter().filter_map(|name| Some((plain.strip_suffix(name)?, names.itself)))
    });
    let shortest = endings.min_by_key(|(rest, _)| rest.len());
    shortest.map_or((plain, None), |(rest, itself)| (rest, Some(itself)))
}

/// The one of `all` that is called `plain`.
fn find<T: Copy>(
    kind: &'static str,
    name: &str,
    plain: &str,
    all: &'static [Names<T>],
) -> Result<T, UnknownName> {
    if let Some(found) = known(plain, all) {
        return Ok(found);
    }
    let plain: Vec<char> = plain.chars().take(SHOWN).collect();
    let nearest = all
        .iter()
        .flat_map(|names| names.plain.iter().map(move |name| (names.canonical, name)))
        .min_by_key(|(_, name)| edit_distance(&plain, name))
        .map_or("", |(canonical, _)| canonical);
    let known: Vec<&str> = all.iter().map(|names| names.canonical).collect();
    Err(UnknownName {
        kind,
        name: name.chars().take(SHOWN).collect(),
        nearest,
        known: known.join(", "),
    })
}

/// How many letters must be inserted, left out or replaced (Levenshtein 1966).
fn edit_distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (i, letter) in to.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &other) in from.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], sampler: Sampler, schedule: Option<Schedule>) {
        for name in names {
            assert_eq!(name.parse(), Ok(Method { sampler, schedule, spacing: None }), "{name}");
            if schedule.is_none() {
                assert_eq!(name.parse(), Ok(sampler), "{name}");
            }
        }
    }

    #[test]
    fn everybody_s_spelling_of_samplers_is_understood() {
        let cases: [(Sampler, &[&str]); 9] = [
            (Sampler::Ddim, &["ddim", "DDIM", "DDIMScheduler"]),
            (Sampler::Ddpm, &["ddpm", "DDPM", "DDPMScheduler"]),
            (Sampler::Euler, &["euler", "Euler", "EulerDiscreteScheduler", "k_euler"]),
            (
                Sampler::EulerAncestral,
                &[
                    "euler_a",
                    "Euler a",
                    "euler_ancestral",
                    "EulerAncestralDiscreteScheduler",
                    "sample_euler_ancestral",
                    "k_euler_a",
                ],
            ),
            (Sampler::Heun, &["heun", "Heun", "HeunDiscreteScheduler", "sample_heun"]),
            (
                Sampler::DpmPlusPlus2M,
                &["dpm++2m", "DPM++ 2M", "dpmpp_2m", "DPMSolverMultistepScheduler", "k_dpmpp_2m"],
            ),
            (
                Sampler::DpmPlusPlus2MSde,
                &["dpm++2m_sde", "DPM++ 2M SDE", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"],
            ),
            (Sampler::UniPc, &["unipc", "UniPC", "uni_pc", "UniPCMultistepScheduler"]),
            (Sampler::Lcm, &["lcm", "LCM", "LCMScheduler"]),
        ];
        for (sampler, names) in cases {
            check(names, sampler, None);
        }
        assert_eq!("sde-dpmsolver++".parse(), Ok(Sampler::DpmPlusPlus2MSde));
    }

    #[test]
    fn everybody_s_spelling_of_schedules_is_understood() {
        let cases: [(Schedule, &[&str]); 6] = [
            (Schedule::Uniform, &["uniform", "Uniform", "Automatic"]),
            (Schedule::Normal, &["normal", "Normal", "discrete"]),
            (Schedule::Karras, &["karras", "Karras", "use_karras_sigmas"]),
            (Schedule::Exponential, &["exponential", "Exponential", "use_exponential_sigmas"]),
            (Schedule::SgmUniform, &["sgm_uniform", "SGM Uniform", "SGMUniform"]),
            (Schedule::Simple, &["simple", "Simple"]),
        ];
        for (schedule, names) in cases {
            for name in names {
                assert_eq!(name.parse(), Ok(schedule), "{name}");
            }
        }
    }

    #[test]
    fn a_name_may_end_with_a_schedule_or_a_spacing() {
        check(
            &["DPM++ 2M Karras", "dpmpp_2m_karras", "k_dpmpp_2m_ka"],
            Sampler::DpmPlusPlus2M,
            Some(Schedule::Karras),
        );
        check(&["Euler a Karras"], Sampler::EulerAncestral, Some(Schedule::Karras));
        check(
            &["DPM++ 2M SDE Exponential", "k_dpmpp_2m_sde_exp"],
            Sampler::DpmPlusPlus2MSde,
            Some(Schedule::Exponential),
        );
        check(&["Euler SGMUniform"], Sampler::Euler, Some(Schedule::SgmUniform));
        check(&["lcm simple"], Sampler::Lcm, Some(Schedule::Simple));
        let trailing = Method {
            sampler: Sampler::Ddim,
            schedule: None,
            spacing: Some(TimestepSpacing::Trailing),
        };
        assert_eq!("ddim_trailing".parse(), Ok(trailing));
    }

    #[test]
    fn what_is_displayed_can_be_parsed() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.to_string().parse(), Ok(sampler));
            assert_eq!(sampler.a1111_name().parse(), Ok(sampler));
        }
        for schedule in Schedule::ALL {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
            assert_eq!(schedule.a1111_name().parse(), Ok(schedule));
        }
        for spacing in SPACINGS {
            assert_eq!(spacing.itself.to_string().parse(), Ok(spacing.itself));
        }
    }

    #[test]
    fn no_name_means_two_things() {
        let mut all: Vec<&str> = SAMPLERS.iter().flat_map(|names| names.plain).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        let mut all: Vec<&str> = SCHEDULES.iter().flat_map(|names| names.plain).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn other_names_are_refused_with_the_nearest() {
        let nearest = |name: &str| name.parse::<Method>().unwrap_err().nearest;
        assert_eq!(nearest("eulr"), "euler");
        assert_eq!(nearest("DPM++ 3M SDE"), "dpm++2m_sde");
        assert_eq!(nearest("DPM++ 2M SDE Heun"), "dpm++2m_sde");
        assert_eq!(nearest("dpm++2mv2"), "dpm++2m");
        assert_eq!(nearest("eular_a Karras"), "euler_a");
        assert_eq!(nearest("dim"), "ddim");
        assert_eq!("karas".parse::<Schedule>().unwrap_err().nearest, "karras");
        assert!("".parse::<Method>().is_err());
        assert!("karras".parse::<Method>().is_err());
        assert!("ka".parse::<Method>().is_err());
        assert!("euler karras".parse::<Sampler>().is_err());

        let error = "Eulre".parse::<Sampler>().unwrap_err().to_string();
        let expected = "unknown sampler `Eulre`, the nearest is `euler` (known: ddim, ddpm, euler, euler_a, heun, dpm++2m, dpm++2m_sde, unipc, lcm)";
        assert_eq!(error, expected);
        assert!("x".repeat(100_000).parse::<Sampler>().unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn edit_distance_counts_each_kind_of_edit() {
        let distance = |from: &str, to| edit_distance(&from.chars().collect::<Vec<_>>(), to);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
        assert_eq!(distance("flaw", "lawn"), 2);
        assert_eq!(distance("abc", "ac"), 1);
        assert_eq!(distance("ac", "abc"), 1);
    }
}
