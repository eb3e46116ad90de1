//! What every stage needs, and how it talks.

use troupe_llm::ChildProgram;
use troupe_plan::axes::Axes;

use crate::PipelineError;
use crate::config::Config;
use crate::manifest::Manifest;

/// The configuration, checked, with the models that it may name.
#[derive(Debug)]
pub struct Studio {
    /// The resolved configuration.
    pub config: Config,
    /// Its axes, checked.
    pub axes: Axes,
    /// The models that are known by name.
    pub manifest: Manifest,
    /// How the language model's process is started.
    pub child: ChildProgram,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The language model has written so many tokens of a brief.
    Planning {
        /// Which prompt, from 1.
        prompt: usize,
        /// Of how many.
        of: usize,
        /// Tokens of the reply.
        tokens: u32,
    },
    /// So much of a model's file is there.
    Fetching {
        /// Which file, from 1.
        file: usize,
        /// Of how many that are known so far.
        of: usize,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A picture has taken so many of its steps.
    Painting {
        /// Which picture, from 1.
        picture: usize,
        /// Of how many.
        of: usize,
        /// Steps taken.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
}

/// Whoever listens to a stage.
pub trait Talk {
    /// Something that a person should know.
    fn note(&mut self, text: &str);
    /// How far it is.
    fn progress(&mut self, progress: Progress);
    /// Whether to stop now, with nothing half written.
    fn stopped(&self) -> bool;
}

impl Studio {
    /// Checks the axes of a configuration.
    ///
    /// # Errors
    ///
    /// If they contradict themselves.
    pub fn new(
        config: Config,
        manifest: Manifest,
        child: ChildProgram,
    ) -> Result<Self, PipelineError> {
        let axes = Axes::new(&config.plan.axes)?;
        Ok(Self { config, axes, manifest, child })
    }
}
