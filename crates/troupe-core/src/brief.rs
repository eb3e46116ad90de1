//! What the language model says that the prompt says: words and enums, no numbers of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Document;

/// The most people that a picture can hold.
pub const MAXIMUM_SUBJECTS: u32 = 12;

/// The most kinds of people in a brief.
pub const MOST_KINDS: usize = 6;

/// The most letters of what one of the people is called.
pub const LONGEST_NOUN: usize = 60;

/// The most letters of something that is stated.
pub const LONGEST_STATED: usize = 40;

/// The most letters of where they are.
pub const LONGEST_SETTING: usize = 120;

/// The most letters of what they do, what they wear, and the picture's style.
pub const LONGEST_TEXT: usize = 80;

/// A prompt as the language model read it; `brief.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BriefDocument {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The prompt that was read.
    pub prompt: String,
    /// What was read.
    pub brief: Brief,
}

/// What a prompt says: who, how many, what is stated of them, where and how.
///
/// The order of the fields is the order in which the language model writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Brief {
    /// The kinds of people, in the order of the prompt.
    #[schemars(length(min = 1, max = MOST_KINDS))]
    pub people: Vec<Kind>,
    /// What all of them do; empty when the prompt doesn't say.
    #[schemars(length(max = LONGEST_TEXT))]
    pub activity: String,
    /// What all of them wear; empty when the prompt doesn't say.
    #[schemars(length(max = LONGEST_TEXT))]
    pub clothing: String,
    /// Where they are, with its preposition; empty when the prompt doesn't say.
    #[schemars(length(max = LONGEST_SETTING))]
    pub setting: String,
    /// The style of the picture; empty when the prompt doesn't say.
    #[schemars(length(max = LONGEST_TEXT))]
    pub style: String,
    /// How they stand.
    pub formation: Formation,
    /// How much of each person is seen.
    pub shot: Shot,
}

/// One kind of people in a prompt: "five basketball players".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// How many; null when the prompt doesn't say.
    #[schemars(range(min = 1, max = 12))]
    pub number: Option<u32>,
    /// What they are, in the singular.
    #[schemars(length(min = 1, max = LONGEST_NOUN))]
    pub noun: String,
    /// What the prompt states of them.
    #[schemars(length(max = 6))]
    pub stated: Vec<Stated>,
}

/// Something that a prompt states of people: "three of them with red hair".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// The words of the prompt.
    #[schemars(length(min = 1, max = LONGEST_STATED))]
    pub what: String,
    /// Of how many; null means of all of this kind.
    #[schemars(range(min = 1, max = 12))]
    pub of: Option<u32>,
}

/// How a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Formation {
    /// Side by side.
    Row,
    /// A back row, higher, and a front row.
    TwoRows,
    /// Whatever fits.
    #[default]
    Auto,
}

/// How much of each person is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shot {
    /// From head to foot.
    #[default]
    FullBody,
    /// From the waist up.
    Waist,
}

impl Document for BriefDocument {
    const SCHEMA: &'static str = "troupe.brief/1";

    fn check(&self) -> Result<(), String> {
        self.brief.check()
    }
}

impl Brief {
    /// A brief that says who is there, and nothing else.
    pub fn of(people: Vec<Kind>) -> Self {
        let nothing = String::new;
        let (formation, shot) = (Formation::Auto, Shot::FullBody);
        Self {
            people,
            activity: nothing(),
            clothing: nothing(),
            setting: nothing(),
            style: nothing(),
            formation,
            shot,
        }
    }

    /// Checks what a schema can't be trusted to have enforced: bounds on lists, words and numbers.
    ///
    /// # Errors
    ///
    /// With a sentence that says which rule is broken, and where.
    pub fn check(&self) -> Result<(), String> {
        within("people", self.people.len(), 1, MOST_KINDS)?;
        for (field, text, most) in [
            ("activity", &self.activity, LONGEST_TEXT),
            ("clothing", &self.clothing, LONGEST_TEXT),
            ("setting", &self.setting, LONGEST_SETTING),
            ("style", &self.style, LONGEST_TEXT),
        ] {
            words(field, text, 0, most)?;
        }
        for (index, kind) in self.people.iter().enumerate() {
            let at = |field: &str| format!("people[{index}].{field}");
            words(&at("noun"), &kind.noun, 1, LONGEST_NOUN)?;
            number(&at("number"), kind.number)?;
            within(&at("stated"), kind.stated.len(), 0, 6)?;
            for stated in &kind.stated {
                words(&at("stated.what"), &stated.what, 1, LONGEST_STATED)?;
                number(&at("stated.of"), stated.of)?;
            }
        }
        let said: u32 = self.people.iter().filter_map(|kind| kind.number).sum();
        if MAXIMUM_SUBJECTS < said {
            return Err(format!(
                "at most {MAXIMUM_SUBJECTS} people fit a picture, and {said} are asked for"
            ));
        }
        Ok(())
    }
}

fn within(field: &str, found: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(format!("`{field}` takes {least} to {most} entries, and has {found}"))
}

fn number(field: &str, found: Option<u32>) -> Result<(), String> {
    match found {
        Some(found) if !(1..=MAXIMUM_SUBJECTS).contains(&found) => {
            Err(format!("`{field}` takes 1 to {MAXIMUM_SUBJECTS}, and is {found}"))
        }
        Some(_) | None => Ok(()),
    }
}

fn words(field: &str, text: &str, least: usize, most: usize) -> Result<(), String> {
    let found = text.chars().count();
    if found < least || most < found || (0 < least && text.trim().is_empty()) {
        return Err(format!("`{field}` takes {least} to {most} characters, and has {found}"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("`{field}` holds a control character"));
    }
    Ok(())
}
