//! The names of samplers and schedules, in everybody's spelling.
//!
//! The canonical spellings are those of stable-diffusion.cpp. A1111, ComfyUI, k-diffusion and
//! diffusers are understood too: "DPM++ 2M", `dpmpp_2m`, `sample_dpmpp_2m` and
//! `DPMSolverMultistepScheduler` are `dpm++2m`. A name that isn't known is an error that says
//! which known one is nearest.

use std::fmt;
use std::str::FromStr;

/// An algorithm that turns noise into latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampler {
    /// DDIM without added noise, of Song et al. 2020.
    Ddim,
    /// Euler's method on the probability flow of Karras et al. 2022.
    Euler,
    /// Euler's method with new noise in every step, of k-diffusion.
    EulerAncestral,
    /// DPM-Solver++(2M) of Lu et al. 2022.
    DpmPlusPlus2M,
}

/// How the noise levels of the steps are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Evenly in timesteps, as the network's configuration says.
    Normal,
    /// Evenly in `σ^(1/7)`, of Karras et al. 2022.
    Karras,
}

/// A sampler, and a schedule where the name includes one: "DPM++ 2M Karras".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The sampler.
    pub sampler: Sampler,
    /// The schedule that the name ends with, if any.
    pub schedule: Option<Schedule>,
}

/// A name that belongs to no sampler or schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`, the nearest is `{nearest}` (known: {known})")]
pub struct UnknownName {
    /// "sampler" or "schedule".
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
    pub const ALL: [Self; 4] = [Self::Ddim, Self::Euler, Self::EulerAncestral, Self::DpmPlusPlus2M];

    /// The name as A1111 writes it in an image's `parameters`.
    pub fn a1111_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler a",
            Self::DpmPlusPlus2M => "DPM++ 2M",
        }
    }

    /// The canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler_a",
            Self::DpmPlusPlus2M => "dpm++2m",
        }
    }

    /// Its names as [`plain`] leaves them.
    fn plain_names(self) -> &'static [&'static str] {
        match self {
            Self::Ddim => &["ddim"],
            Self::Euler => &["euler", "eulerdiscrete"],
            Self::EulerAncestral => &["eulera", "eulerancestral", "eulerancestraldiscrete"],
            Self::DpmPlusPlus2M => &["dpmpp2m", "dpmsolvermultistep"],
        }
    }
}

impl Schedule {
    /// Every schedule.
    pub const ALL: [Self; 2] = [Self::Normal, Self::Karras];

    /// The name as A1111 writes it in an image's `parameters`.
    pub fn a1111_name(self) -> &'static str {
        match self {
            Self::Normal => "Uniform",
            Self::Karras => "Karras",
        }
    }

    /// The canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Karras => "karras",
        }
    }

    /// Its names as [`plain`] leaves them.
    fn plain_names(self) -> &'static [&'static str] {
        match self {
            Self::Normal => &["normal", "plain", "discrete", "uniform"],
            Self::Karras => &["karras"],
        }
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

impl FromStr for Sampler {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = Self::ALL.map(|it| (it, it.name(), it.plain_names()));
        find("sampler", name, &plain(name), &all)
    }
}

impl FromStr for Schedule {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = Self::ALL.map(|it| (it, it.name(), it.plain_names()));
        find("schedule", name, &plain(name), &all)
    }
}

impl FromStr for Method {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let plain = plain(name);
        let karras = plain.strip_suffix("karras");
        let all = Sampler::ALL.map(|it| (it, it.name(), it.plain_names()));
        let sampler = find("sampler", name, karras.unwrap_or(&plain), &all)?;
        Ok(Self { sampler, schedule: karras.map(|_| Schedule::Karras) })
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

/// The one of `all` (itself, its canonical name, its plain names) that is called `plain`.
fn find<T: Copy>(
    kind: &'static str,
    name: &str,
    plain: &str,
    all: &[(T, &'static str, &[&str])],
) -> Result<T, UnknownName> {
    if let Some(&(found, ..)) = all.iter().find(|(_, _, names)| names.contains(&plain)) {
        return Ok(found);
    }
    let plain: Vec<char> = plain.chars().take(SHOWN).collect();
    let nearest = all
        .iter()
        .flat_map(|&(_, canonical, names)| names.iter().map(move |name| (canonical, name)))
        .min_by_key(|(_, name)| edit_distance(&plain, name))
        .map_or("", |(canonical, _)| canonical);
    let known: Vec<&str> = all.iter().map(|&(_, canonical, _)| canonical).collect();
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
            assert_eq!(name.parse(), Ok(Method { sampler, schedule }), "{name}");
            if schedule.is_none() {
                assert_eq!(name.parse(), Ok(sampler), "{name}");
            }
        }
    }

    #[test]
    fn everybody_s_spelling_is_understood() {
        check(&["ddim", "DDIM", "DDIMScheduler"], Sampler::Ddim, None);
        check(&["euler", "Euler", "EulerDiscreteScheduler"], Sampler::Euler, None);
        check(
            &[
                "euler_a",
                "Euler a",
                "euler_ancestral",
                "EulerAncestralDiscreteScheduler",
                "sample_euler_ancestral",
            ],
            Sampler::EulerAncestral,
            None,
        );
        check(
            &["dpm++2m", "DPM++ 2M", "dpmpp_2m", "DPMSolverMultistepScheduler", "dpmpp2m"],
            Sampler::DpmPlusPlus2M,
            None,
        );
        check(
            &["DPM++ 2M Karras", "dpmpp_2m_karras"],
            Sampler::DpmPlusPlus2M,
            Some(Schedule::Karras),
        );
        check(&["Euler a Karras"], Sampler::EulerAncestral, Some(Schedule::Karras));
        for name in ["normal", "Normal", "discrete", "Uniform"] {
            assert_eq!(name.parse(), Ok(Schedule::Normal), "{name}");
        }
        assert_eq!("Karras".parse(), Ok(Schedule::Karras));
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
    }

    #[test]
    fn other_names_are_refused_with_the_nearest() {
        let nearest = |name: &str| name.parse::<Method>().unwrap_err().nearest;
        assert_eq!(nearest("eulr"), "euler");
        assert_eq!(nearest("DPM++ 2M SDE"), "dpm++2m");
        assert_eq!(nearest("dpm++2mv2"), "dpm++2m");
        assert_eq!(nearest("eular_a Karras"), "euler_a");
        assert_eq!(nearest("dim"), "ddim");
        assert_eq!("karas".parse::<Schedule>().unwrap_err().nearest, "karras");
        assert!("".parse::<Method>().is_err());
        assert!("karras".parse::<Method>().is_err());
        assert!("euler karras".parse::<Sampler>().is_err());

        let error = "Eulre".parse::<Sampler>().unwrap_err().to_string();
        let expected = "unknown sampler `Eulre`, the nearest is `euler` (known: ddim, euler, euler_a, dpm++2m)";
        assert_eq!(error, expected);
        assert!("x".repeat(100_000).parse::<Sampler>().unwrap_err().to_string().len() < 200);
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
