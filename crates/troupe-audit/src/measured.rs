//! What was found in pictures, beside what was wanted; `measured.json`.

use serde::Serialize;
use troupe_core::audit::{JudgedBy, Unread, Verdict};

use crate::statistics::real;

/// What was found in one picture or several, beside what was wanted; `measured.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// `troupe.measured/1`.
    pub schema: &'static str,
    /// Who judged; several, if not all pictures were judged by the same.
    pub judges: Vec<JudgedBy>,
    /// How many pictures.
    pub pictures: u64,
    /// In how many of them every box has one person and nobody is beside them.
    pub pictures_of_right_count: u64,
    /// How many people were planned.
    pub people: u64,
    /// How many of them are there, each alone in their box, and have nothing wrong or in doubt.
    pub people_right: u64,
    /// What is in the boxes.
    pub boxes: Boxes,
    /// People where nobody was planned.
    pub strangers: u64,
    /// What the people are, of those whose noun the judge knows.
    pub nouns: Verdicts,
    /// Every axis that could be read.
    pub axes: Vec<AxisMeasured>,
    /// Every pair of axes of which one depends on the other (`given`).
    pub pairs: Vec<PairMeasured>,
    /// The axes that couldn't be read.
    pub unread: Vec<Unread>,
}

/// Numbers of boxes by what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Boxes {
    /// One person.
    pub one: u64,
    /// Nobody.
    pub nobody: u64,
    /// More than one.
    pub more: u64,
    /// The judge can't tell.
    pub not_sure: u64,
}

/// Numbers of people by what was found of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// It is what was planned.
    pub right: u64,
    /// It is something else.
    pub wrong: u64,
    /// The picture hides it.
    pub not_visible: u64,
    /// The judge can't tell.
    pub not_sure: u64,
    /// There isn't one person in the box.
    pub absent: u64,
}

/// What was found on one axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxisMeasured {
    /// The axis.
    pub axis: String,
    /// How many people have it.
    pub people: u64,
    /// What was found of them.
    pub verdicts: Verdicts,
    /// How many have the value that was planned of another person in their picture, and not their own.
    pub leaked: u64,
    /// Each value.
    pub values: Vec<ValueMeasured>,
    /// How many have something that the axis has no value for.
    pub others: u64,
    /// Half of the differences between the shares found, of those that were told, and those wanted: 0 to 1.
    pub total_variation: Option<f64>,
    /// The same of everybody: whose value couldn't be told is a difference, too.
    pub total_variation_of_all: Option<f64>,
    /// The divergence of the shares found from those wanted, in nats; absent where it is infinite.
    pub kullback_leibler: Option<f64>,
    /// How probable counts so far from the shares would be by chance.
    pub chi_squared_p: Option<f64>,
    /// What was taken for what: only what was found wrong.
    pub confused: Vec<Confusion>,
}

/// What was found of one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueMeasured {
    /// The value.
    pub value: String,
    /// The share that was wanted, over all these pictures, 0 to 1.
    pub share: f64,
    /// How many people it was planned of.
    pub planned: u64,
    /// How many have it.
    pub found: u64,
    /// The part of those told that have it; absent if nobody could be told.
    pub found_share: Option<f64>,
}

/// A value that was found where another was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// What was planned.
    pub planned: String,
    /// What was found.
    pub found: String,
    /// Of how many people.
    pub people: u64,
    /// Of how many of them it was planned of somebody else in the picture.
    pub leaked: u64,
}

/// What was found on two axes together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairMeasured {
    /// The axis that depends on the other.
    pub axis: String,
    /// The other one.
    pub given: String,
    /// Every pair of values that was planned or found.
    pub cells: Vec<PairCell>,
    /// Half of the differences between the shares found, of those told on both axes, and those planned.
    pub total_variation: Option<f64>,
}

/// Two values together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairCell {
    /// The value on the other axis.
    pub given: String,
    /// The value on the axis.
    pub value: String,
    /// How many people both were planned of.
    pub planned: u64,
    /// How many have both.
    pub found: u64,
}

impl Verdicts {
    pub(crate) fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Wrong => self.wrong += 1,
            Verdict::NotVisible => self.not_visible += 1,
            Verdict::NotSure => self.not_sure += 1,
            Verdict::Absent => self.absent += 1,
        }
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.right + self.wrong + self.not_visible + self.not_sure + self.absent
    }

    /// The part that is right of what the picture shows; what can't be told or isn't there isn't right.
    pub fn accuracy(&self) -> Option<f64> {
        let shown = self.all() - self.not_visible;
        (0 < shown).then(|| real(self.right) / real(shown))
    }
}
