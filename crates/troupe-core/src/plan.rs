//! Who is in the picture: the cast of one picture with its proof; `plan.json`.

use serde::{Deserialize, Serialize};

use crate::axis::Scope;
use crate::brief::{Brief, MAXIMUM_SUBJECTS};
use crate::document::Document;
use crate::seed::Seed;

/// The most LoRAs that one person may have.
const MOST_LORAS: usize = 8;

/// The cast of one picture, its sub-prompts, and the proof of its proportions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenePlan {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The prompt, without its LoRA tags.
    pub prompt: String,
    /// The LoRAs that the prompt asks for, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraTag>,
    /// Which picture of the run this is, from 1.
    pub picture: u64,
    /// The seed of the run, from which every choice of the cast comes.
    pub run_seed: Seed,
    /// The seed of this picture, from which its noise comes.
    pub seed: Seed,
    /// Whether a person has changed the plan since it was cast.
    #[serde(default)]
    pub edited: bool,
    /// What the language model read.
    pub brief: Brief,
    /// The scene: who is there by noun and number, and where; no attribute of anybody.
    pub base_prompt: String,
    /// The people, from left to right as far as the layout follows it.
    pub subjects: Vec<Subject>,
    /// For each axis, what was due and what was dealt.
    pub axes: Vec<AxisProof>,
    /// What a person should know: conflicts between prompt and configuration, words that no axis knows.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A LoRA that a user's own prompt asks for: `<lora:name:weight>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraTag {
    /// The name, as it stands in the tag.
    pub name: String,
    /// The weight; 1 when the tag has none.
    pub weight: f64,
}

/// A LoRA that one person alone has. Only a person writes it, into a plan: the language model's brief has no place for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectLora {
    /// The name, as it would stand in a tag: a plan says no path.
    pub name: String,
    /// What its change is multiplied by, -10 to 10.
    #[serde(default = "whole")]
    pub scale: f64,
}

/// The scale of a LoRA that says none.
fn whole() -> f64 {
    1.0
}

/// One person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// A name that stays when others come or go: "s1".
    pub id: String,
    /// Which entry of the brief's `people` this person comes from.
    pub kind: usize,
    /// What the person is.
    pub noun: String,
    /// What the person has on each axis that applies, in the order of the axes.
    pub values: Vec<Assigned>,
    /// What the prompt states of this person and no axis knows; it goes into the sub-prompt as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The LoRAs that this person has and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<SubjectLora>,
    /// How this person is painted, where it differs from the others.
    #[serde(default, skip_serializing_if = "Manner::is_usual")]
    pub paint: Manner,
    /// What the painter is told about this person.
    pub sub_prompt: String,
    /// Whether the sub-prompt was written by a person and is to stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
}

/// How one person is painted; for people to write into a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manner {
    /// What shouldn't be seen of this person, beside what shouldn't be seen at all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub negative: String,
    /// Strength of classifier-free guidance where this person is, 1 to 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// What the person's part in the box is multiplied by, 0 to 1; the base prompt gets the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
}

/// A value that a person has on an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assigned {
    /// The axis.
    pub axis: String,
    /// The value.
    pub value: String,
    /// Whether the prompt states it, so that no dice were rolled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stated: bool,
}

/// What was due on an axis and what was dealt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisProof {
    /// The axis.
    pub axis: String,
    /// The nouns of the kinds that have it; absent where everybody does. All numbers below are of these people alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<Vec<String>>,
    /// Over what its rounding is carried.
    pub scope: Scope,
    /// The stream of random numbers that dealt it.
    pub stream: String,
    /// Words of the prompt that ask for variety on this axis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixed: Vec<String>,
    /// Every value of the axis, with the words that say it.
    pub values: Vec<ValueDefinition>,
    /// The proof, one cell for each condition that held for somebody; none where nobody has the axis.
    pub cells: Vec<Cell>,
    /// The sums over the cells, where there are several; no bound holds for these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marginal: Vec<Tally>,
}

/// A value of an axis as sub-prompts and layout need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueDefinition {
    /// What it is called.
    pub name: String,
    /// The words that say it; see [`crate::axis::AxisValue::phrase`].
    pub phrase: String,
    /// Words by which a noun says it already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Height relative to an adult's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stature: Option<f64>,
}

/// The people of one picture for whom the same shares hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The condition, such as "age is older"; absent where none holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// How many people these are.
    pub people: u32,
    /// What each value got.
    pub tallies: Vec<Tally>,
}

/// What one value got in one cell. Numbers of people; quotas are rounded to six decimals here and exact inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// The value.
    pub value: String,
    /// Its share of the whole, in `[0, 1]`.
    pub share: f64,
    /// `share · people`.
    pub target: f64,
    /// Of how many the prompt states it.
    pub stated: u32,
    /// What is due: those stated, and this value's part of the free seats.
    pub quota: f64,
    /// What it got; the quota rounded down or up.
    pub dealt: u32,
    /// The sum of quotas over the pictures before this one; scope `batch` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
}

/// Sums over the pictures of a batch, before and after a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Quotas of the pictures before.
    pub quota_before: f64,
    /// People dealt in the pictures before.
    pub dealt_before: u64,
    /// Quotas up to and with this picture.
    pub quota_after: f64,
    /// People dealt up to and with this picture.
    pub dealt_after: u64,
}

impl Document for ScenePlan {
    const SCHEMA: &'static str = "troupe.plan/1";

    fn check(&self) -> Result<(), String> {
        let most = MAXIMUM_SUBJECTS as usize;
        if !(1..=most).contains(&self.subjects.len()) {
            return Err(format!(
                "`subjects` takes 1 to {most} people, and has {}",
                self.subjects.len()
            ));
        }
        for (index, subject) in self.subjects.iter().enumerate() {
            if self.subjects[..index].iter().any(|other| other.id == subject.id) {
                return Err(format!("two subjects have the id `{}`", subject.id));
            }
            subject.check_loras()?;
            subject.paint.check().map_err(|what| format!("subject `{}`: {what}", subject.id))?;
            for assigned in &subject.values {
                let known = self.axes.iter().find(|proof| proof.axis == assigned.axis).ok_or_else(
                    || {
                        format!(
                            "subject `{}` has the axis `{}`, which `axes` doesn't list",
                            subject.id, assigned.axis
                        )
                    },
                )?;
                if !known.values.iter().any(|value| value.name == assigned.value) {
                    let names: Vec<&str> = known.values.iter().map(|it| it.name.as_str()).collect();
                    return Err(format!(
                        "subject `{}` has `{}` on the axis `{}`, whose values are {}",
                        subject.id,
                        assigned.value,
                        assigned.axis,
                        names.join(", ")
                    ));
                }
            }
        }
        let statures =
            self.axes.iter().flat_map(|axis| &axis.values).filter_map(|value| value.stature);
        for stature in statures {
            if !(0.2..=2.0).contains(&stature) {
                return Err(format!("`stature` takes 0.2 to 2, and is {stature}"));
            }
        }
        for tag in &self.loras {
            if !(-10.0..=10.0).contains(&tag.weight) {
                let LoraTag { name, weight } = tag;
                return Err(format!(
                    "the weight of the LoRA `{name}` takes -10 to 10, and is {weight}"
                ));
            }
        }
        Ok(())
    }
}

/// What can't be given to a subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}`; wanted one of {known}")]
pub struct NotAssignable {
    /// What there isn't.
    pub what: String,
    /// As it was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

impl Manner {
    /// Whether it says nothing.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Option<f64>, least: f64, most: f64| match value {
            Some(value) if !(least..=most).contains(&value) => {
                Err(format!("`paint.{name}` takes {least} to {most}, and is {value}"))
            }
            Some(_) | None => Ok(()),
        };
        within("guidance", self.guidance, 1.0, 50.0)?;
        within("strength", self.strength, 0.0, 1.0)
    }
}

impl Subject {
    fn check_loras(&self) -> Result<(), String> {
        let (id, loras) = (&self.id, &self.loras);
        if MOST_LORAS < loras.len() {
            return Err(format!(
                "subject `{id}` has {} LoRAs, and {MOST_LORAS} are the most",
                loras.len()
            ));
        }
        match loras.iter().find(|lora| !(-10.0..=10.0).contains(&lora.scale)) {
            None => Ok(()),
            Some(SubjectLora { name, scale }) => Err(format!(
                "the scale of the LoRA `{name}` of subject `{id}` takes -10 to 10, and is {scale}"
            )),
        }
    }
}

impl ScenePlan {
    /// Gives a subject another value on an axis that it has.
    ///
    /// # Errors
    ///
    /// If there is no such subject, it doesn't have the axis, or the axis has no such value.
    pub fn assign(&mut self, id: &str, axis: &str, value: &str) -> Result<(), NotAssignable> {
        let list = |names: Vec<&str>| names.join(", ");
        let subjects = || list(self.subjects.iter().map(|it| it.id.as_str()).collect());
        let unknown = |what: &str, name: &str, known: String| NotAssignable {
            what: what.to_owned(),
            name: name.to_owned(),
            known,
        };
        let Some(at) = self.subjects.iter().position(|subject| subject.id == id) else {
            return Err(unknown("subject", id, subjects()));
        };
        let own = &self.subjects[at].values;
        let Some(place) = own.iter().position(|assigned| assigned.axis == axis) else {
            let axes = own.iter().map(|it| it.axis.as_str()).collect();
            return Err(unknown(&format!("axis of `{id}`"), axis, list(axes)));
        };
        let values = self.axes.iter().filter(|proof| proof.axis == axis).flat_map(|it| &it.values);
        if !values.clone().any(|known| known.name == value) {
            let known = values.map(|it| it.name.as_str()).collect();
            return Err(unknown(&format!("value of `{axis}`"), value, list(known)));
        }
        let assigned = &mut self.subjects[at].values[place];
        assigned.stated &= assigned.value == value;
        value.clone_into(&mut assigned.value);
        Ok(())
    }

    /// Height of a subject relative to an adult's: the product of what its values say.
    pub fn stature(&self, subject: &Subject) -> f64 {
        let of = |assigned: &Assigned| {
            let axis = self.axes.iter().find(|axis| axis.axis == assigned.axis)?;
            axis.values.iter().find(|value| value.name == assigned.value)?.stature
        };
        subject.values.iter().filter_map(of).product()
    }
}
