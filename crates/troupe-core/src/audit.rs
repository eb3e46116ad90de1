//! What was painted, beside what was planned: the audit of one picture; `audit.json`.

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::plan::ScenePlan;
use crate::region::BoundingBox;
use crate::seed::Seed;

/// What a judge found in one picture, box by box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The SHA-256 of the picture's file.
    pub picture: String,
    /// Who judged.
    pub judge: JudgedBy,
    /// One entry for each subject of the plan, in its order.
    pub subjects: Vec<SubjectAudit>,
    /// People where nobody was planned, the surest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Stranger>,
    /// The axes of the plan that this judge can't tell; they are in no subject's `values`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
    /// How people were painted again, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
}

/// One time that people of a picture were painted again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// The picture that came of it, by its path from the audit's folder.
    pub image: String,
    /// The seed of its noise.
    pub seed: Seed,
    /// Who was painted again.
    pub subjects: Vec<String>,
    /// Who was right then.
    pub right: Vec<String>,
    /// Whether it took the place of the picture before, because more people are right in it.
    pub kept: bool,
}

/// The judge of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedBy {
    /// Its name.
    pub name: String,
    /// The first ten digits of the SHA-256 of its weights.
    pub hash: String,
}

/// What was found in the box of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectAudit {
    /// The subject's id in the plan.
    pub id: String,
    /// How many people are there.
    pub presence: Presence,
    /// How probable that is, 0 to 1, as the judge has it.
    pub confidence: f32,
    /// What the person is; absent where the judge doesn't know the noun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun: Option<Reading>,
    /// Every value of the subject on an axis that the judge can tell.
    pub values: Vec<ValueAudit>,
}

/// How many people are in a box, of those that aren't another box's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Nobody.
    Nobody,
    /// One person.
    One,
    /// More than one.
    More,
    /// The judge can't tell.
    NotSure,
}

/// What was found of a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueAudit {
    /// The axis.
    pub axis: String,
    /// What was planned and found.
    #[serde(flatten)]
    pub reading: Reading,
    /// Other subjects of whom the value that was wrongly found was planned: from whom it may have leaked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned_of: Vec<String>,
}

/// What was planned and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// As the plan has it.
    pub planned: String,
    /// How the two agree.
    pub verdict: Verdict,
    /// What was found: a word of the plan where it has one for it, else the judge's. Absent unless right or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// How probable the judge's likeliest answer is, 0 to 1.
    pub confidence: f32,
}

/// How what was found agrees with what was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is what was planned.
    Right,
    /// It is something else.
    Wrong,
    /// The picture hides it.
    NotVisible,
    /// The judge can't tell.
    NotSure,
    /// There isn't one person in the box of whom it could be told.
    Absent,
}

/// Somebody where nobody was planned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// Where.
    #[serde(rename = "box")]
    pub bounds: BoundingBox,
    /// How probable the likeliest number of people there is, 0 to 1.
    pub confidence: f32,
}

/// An axis that a judge can't tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// The axis.
    pub axis: String,
    /// Why not.
    pub why: String,
}

impl Document for Audit {
    const SCHEMA: &'static str = "troupe.audit/1";

    fn check(&self) -> Result<(), String> {
        let readings = |subject: &SubjectAudit| {
            let values = subject.values.iter().map(|value| value.reading.confidence);
            let noun = subject.noun.iter().map(|noun| noun.confidence);
            noun.chain(values).chain([subject.confidence]).collect::<Vec<_>>()
        };
        let strangers = self.strangers.iter().map(|it| it.confidence);
        let mut all = self.subjects.iter().flat_map(readings).chain(strangers);
        if let Some(confidence) = all.find(|it| !(0.0..=1.0).contains(it)) {
            return Err(format!("a confidence takes 0 to 1, and is {confidence}"));
        }
        for (index, subject) in self.subjects.iter().enumerate() {
            if self.subjects[..index].iter().any(|other| other.id == subject.id) {
                return Err(format!("two subjects have the id `{}`", subject.id));
            }
        }
        Ok(())
    }
}

impl Audit {
    /// Whether it is of the picture with this SHA-256, and of the people of this plan.
    pub fn is_of(&self, picture: &str, plan: &ScenePlan) -> bool {
        let ids = self.subjects.iter().map(|it| &it.id);
        self.picture == picture && ids.eq(plan.subjects.iter().map(|it| &it.id))
    }

    /// Whether as many people are there as were planned, each in a box of their own.
    pub fn count_is_right(&self) -> bool {
        let alone = |subject: &SubjectAudit| subject.presence == Presence::One;
        self.subjects.iter().all(alone) && self.strangers.is_empty()
    }
}

impl SubjectAudit {
    /// Whether there is one person, of whom nothing is wrong or in doubt. What the picture hides isn't wrong.
    pub fn is_right(&self) -> bool {
        let readings = self.noun.iter().chain(self.values.iter().map(|value| &value.reading));
        let right = |it: &Reading| matches!(it.verdict, Verdict::Right | Verdict::NotVisible);
        self.presence == Presence::One && readings.into_iter().all(right)
    }
}
