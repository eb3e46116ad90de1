//! What can go wrong in a pipeline, and which exit code says so.

use std::path::PathBuf;

use troupe_audit::AuditError;
use troupe_core::audit::Audit;
use troupe_core::brief::BriefDocument;
use troupe_core::document::{Document, DocumentError};
use troupe_core::layout::{Layout, NotACanvas};
use troupe_core::plan::{NotAssignable, ScenePlan};
use troupe_layout::LayoutError;
use troupe_llm::{Death, GgufError, LlmError};
use troupe_models::error::ModelError;
use troupe_models::lora::LoraError;
use troupe_models::weights::Blame;
use troupe_plan::axes::AxesError;
use troupe_plan::prompt::PromptError;
use troupe_plan::seats::PlanError;
use troupe_render::RenderError;

use crate::config::ConfigError;
use crate::files::FileError;
use crate::manifest::ManifestError;
use crate::metadata::MetadataError;
use crate::pull::PullError;

/// Why a stage could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The axes contradict themselves.
    #[error(transparent)]
    Axes(#[from] AxesError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest of the models is invalid, or a model isn't there.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A model can't be pulled.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// A document is invalid.
    #[error("`{path}`: {source}", path = path.display())]
    Document {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// A prompt is refused.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// There is no cast.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The language model's replies are no brief.
    #[error("the language model gave no valid brief after {tries} tries: {why}{kept}")]
    Rejected {
        /// How often it tried.
        tries: usize,
        /// What is wrong with its last reply.
        why: String,
        /// Where the raw reply lies, as the end of a sentence; empty where it doesn't.
        kept: String,
        /// The raw replies.
        replies: Vec<String>,
    },
    /// The template of the brief is broken.
    #[error("the template of the brief fails: {0}")]
    Template(String),
    /// The language model failed.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// A GGUF file is broken.
    #[error("`{path}`: {source}", path = path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GgufError,
    },
    /// A value that can't be given to a person.
    #[error(transparent)]
    NotAssignable(#[from] NotAssignable),
    /// There is no room for the people.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A size that no picture has.
    #[error(transparent)]
    Canvas(#[from] NotACanvas),
    /// Painting failed.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A picture can't be judged.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A LoRA can't be read.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A LoRA isn't there.
    #[error("there is no LoRA `{name}`; looked for {looked}")]
    NoLora {
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        looked: String,
    },
    /// A picture that another model painted.
    #[error(
        "the picture was painted with {wanted}, and here is {found}; name another with --model or --lora to paint it anew"
    )]
    OtherModel {
        /// The model or LoRA that the picture names, with its hash.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// The threads can't be started.
    #[error("wanted {0} threads (0 is one for each processor), and the system doesn't start them")]
    Threads(usize),
    /// A prompt or a plan that names a LoRA by a path.
    #[error(
        "the LoRA `{0}` is asked for, and wanted is a plain name: what a prompt or a plan says is no path"
    )]
    LoraPath(String),
    /// A PNG file can't be written or read.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A picture or mask that can't be used.
    #[error("`{path}` {problem}", path = path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another picture than the one that was repainted.
    #[error(
        "`{path}` has the SHA-256 {found}, and the picture that was repainted has {wanted}; name that one with --of",
        path = path.display()
    )]
    OtherOriginal {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash in the repainted picture.
        wanted: String,
    },
    /// A picture that doesn't carry its layout.
    #[error("`{path}` carries no layout of ours, so it can't be told what is on it", path = .0.display())]
    NoLayout(PathBuf),
    /// A file that is no document of ours.
    #[error(
        "`{path}` is none of ours: wanted the schema `{}`, `{}`, `{}` or `{}`, and it is `{found}`",
        BriefDocument::SCHEMA, ScenePlan::SCHEMA, Layout::SCHEMA, Audit::SCHEMA, path = path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Its schema, or what makes it no JSON.
        found: String,
    },
    /// A tensor file isn't what it should be.
    #[error("`{path}`: {problem}", path = path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A folder that belongs to another run.
    #[error("`{path}` holds the run {found}, and this is {wanted}; name another folder with --out", path = path.display())]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// The hash that it has.
        found: String,
        /// The hash that was wanted.
        wanted: String,
    },
    /// A brief that was read from another prompt than its picture's.
    #[error("`{path}` is of the prompt `{found}`, and wanted is one of `{wanted}`; mend or remove it", path = path.display())]
    OtherPrompt {
        /// The file.
        path: PathBuf,
        /// The prompt that it names.
        found: String,
        /// The prompt of the picture.
        wanted: String,
    },
    /// Something that the command line can't mean.
    #[error("{0}")]
    Usage(String),
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}

impl PipelineError {
    /// The exit code that says what kind of failure this is; see DESIGN.md, "Command line".
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Axes(_)
            | Self::Document { .. }
            | Self::Prompt(_)
            | Self::Plan(_)
            | Self::Rejected { .. }
            | Self::NotAssignable(_)
            | Self::Layout(_)
            | Self::Canvas(_)
            | Self::Metadata(_)
            | Self::NoLayout(_)
            | Self::Picture { .. }
            | Self::NotOurs { .. }
            | Self::Tensors { .. }
            | Self::OtherRun { .. }
            | Self::OtherPrompt { .. }
            | Self::Usage(_) => 2,
            Self::LoraPath(_) => 6,
            Self::Threads(_) => 4,
            Self::File(error) => error.exit_code(),
            Self::Manifest(error) => error.exit_code(),
            Self::Pull(error) => error.exit_code(),
            Self::NoLora { .. }
            | Self::OtherModel { .. }
            | Self::OtherOriginal { .. }
            | Self::Gguf { .. } => 3,
            Self::Lora(error) => blame(error.blame()),
            Self::Render(RenderError::Stopped(_)) | Self::Stopped => 130,
            Self::Render(RenderError::Candle(_))
            | Self::Audit(AuditError::Tensor(_) | AuditError::Model(ModelError::Tensor(_)))
            | Self::Template(_) => 70,
            Self::Audit(error) => blame(error.blame()),
            // Nothing is invalid, missing or lacking: the job failed.
            Self::Render(RenderError::NotFinite { .. } | RenderError::Flat) => 1,
            Self::Render(error) => error.blame().map_or(2, blame),
            Self::Llm(error) => match error {
                LlmError::Stopped => 130,
                LlmError::Died { death: Death::Signal(9), .. } => 4,
                LlmError::Request { .. } => 2,
                LlmError::Model { .. }
                | LlmError::Start { .. }
                | LlmError::Died { .. }
                | LlmError::TimedOut { .. }
                | LlmError::Protocol { .. } => 3,
            },
        }
    }
}

fn blame(blame: Blame) -> u8 {
    match blame {
        Blame::Asset => 3,
        Blame::Policy => 6,
    }
}
