//! What can go wrong with a language model, as its caller sees it.

use std::{io, path::PathBuf, time::Duration};

use crate::death::Death;

/// What went wrong with the language model.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// The child's program can't be run.
    #[error("the language model's process `{}` can't be started", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The model's file is missing, is none, or can't be used.
    #[error("language model {}: {reason}", model.display())]
    Model {
        /// The file.
        model: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model can't do what was asked: the prompt is too long, or the schema isn't one.
    #[error("the language model refuses: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
    /// The child ended by itself.
    #[error("the language model's process {death}{last_words}")]
    Died {
        /// How.
        death: Death,
        /// The last line of its log after a colon, or nothing.
        last_words: String,
    },
    /// The child took too long, and was killed.
    #[error("the language model was still {doing} after {} s, and was stopped", limit.as_secs_f32())]
    TimedOut {
        /// What it was doing.
        doing: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// Whoever asked wants no answer any more; the child was killed.
    #[error("the language model was stopped")]
    Stopped,
    /// The child says something that isn't part of the protocol, and was killed.
    #[error("the language model's process answers nonsense: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
    },
}
