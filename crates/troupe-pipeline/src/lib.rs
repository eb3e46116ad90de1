//! pipeline.toml, weights, the run folder, batches, resuming.
//!
//! [`Studio`] holds what every stage needs: the configuration and the models' manifest. Its stages
//! ([`plan`], [`paint`]) turn one document into the next; [`run`] does all of them for a list of prompts, in a
//! folder from which it can go on; [`audit`] measures what was painted; [`inspect`] tells a person what is in such files.

pub mod audit;
pub mod config;
mod error;
pub mod files;
pub mod inspect;
pub mod layout;
pub mod manifest;
pub mod metadata;
pub mod paint;
pub mod plan;
pub mod pull;
pub mod run;
mod studio;
pub mod tensors;

pub use error::PipelineError;
pub use studio::{Progress, Studio, Talk};
pub use troupe_audit::{AxisMeasured, Measured, Tallies};
pub use troupe_core as core;
pub use troupe_llm::{ChildLog, ChildProgram, missing_cpu_features, serve};
