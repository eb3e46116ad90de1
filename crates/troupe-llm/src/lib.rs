//! Completes text with llama.cpp under a schema, in a child process.
//!
//! The program that wants text has a [`Client`] (or a [`BlockingClient`]), which runs a [`ChildProgram`]: as a rule the
//! same program again, with arguments that make it call [`serve()`] on its standard input and output. Only that child
//! links the model's fate with its own; see [`LlmError`] for all that can become of it.
//!
//! What the text is about is none of this crate's business: it takes a prompt and a JSON schema, and returns JSON under
//! the schema, compact and with the schema's order of keys, or the beginning of it where a limit was reached first.
//!
//! [`ModelInfo`] reads the header of a model's file, without llama.cpp.

mod chat;
mod client;
mod cpu;
mod death;
mod engine;
mod error;
mod gguf;
mod protocol;
mod serve;

pub use client::{BlockingClient, ChildLog, ChildProgram, Client};
pub use cpu::missing_cpu_features;
pub use death::Death;
pub use error::LlmError;
pub use gguf::{GgufError, ModelInfo};
pub use protocol::{
    ChatTemplateOrigin, CompleteRequest, Completion, LoadRequest, Loaded, Message, Progress,
    Prompt, Role, StopReason,
};
pub use serve::{ServeError, serve};
