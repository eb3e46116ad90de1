//! Prompt to scene plan, given anything that completes text under a schema.
//!
//! In the order in which they are used: [`prompt`] takes a user's prompt apart, [`reading`] has a language model read
//! it into a brief ([`grounding`]: in the words of the prompt), [`axes`] checks what the configuration declares, [`cast`] says who is in each picture and proves
//! it, [`phrase`] writes the sub-prompts, and [`refresh`] takes a plan up again after a person has changed it.
//!
//! Every choice is a function of configuration, seed and the ordered list of briefs, in whole numbers throughout.

pub mod axes;
mod batch;
pub mod cast;
pub mod grounding;
mod image;
mod numbers;
pub mod phrase;
pub mod prompt;
mod proof;
mod quota;
pub mod reading;
pub mod refresh;
pub mod schema;
pub mod seats;
mod words;
