//! The axes along which a cast varies, as the configuration declares them.

use serde::{Deserialize, Serialize};

use crate::share::Share;

/// One attribute that people of a cast have, with the share that each of its values gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What the axis is called: "skin tone".
    pub name: String,
    /// The nouns of the kinds of people that have it: "nurse", which a head nurse is too. Without it, everybody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<Vec<String>>,
    /// The values, where no condition holds.
    pub values: Vec<AxisValue>,
    /// Over what the rounding of the shares is carried.
    #[serde(default)]
    pub scope: Scope,
    /// Shares that hold where another axis has a certain value; the first that holds wins.
    #[serde(default)]
    pub given: Vec<Given>,
    /// Words by which a prompt asks for variety on this axis: "multiracial".
    #[serde(default)]
    pub mixed: Vec<String>,
}

/// A value of an axis, and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisValue {
    /// What the value is called.
    pub name: String,
    /// How many people get it, relative to the other values.
    pub share: Share,
    /// The words that a sub-prompt says it with. `{noun}` in it stands for what the person is:
    /// "woman {noun}"; without it the words follow the noun.
    #[serde(default)]
    pub phrase: Option<String>,
    /// Further words by which a prompt may state it.
    #[serde(default)]
    pub also: Vec<String>,
    /// Height relative to an adult's.
    #[serde(default)]
    pub stature: Option<f64>,
}

/// Shares of an axis for people who have a certain value on another axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The other axis.
    pub axis: String,
    /// Its value.
    pub is: String,
    /// The shares of those people. Values that are known from the axis's own list need only name and share.
    pub values: Vec<AxisValue>,
}

/// Over what the rounding of shares to whole people is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each picture on its own.
    Image,
    /// All pictures of the batch: every running total is its running quota rounded down or up.
    #[default]
    Batch,
}
