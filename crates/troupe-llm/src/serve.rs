//! The child's side: loads a model, and completes prompts until nobody asks any more.

use std::io::{self, BufRead, Write};

use llama_cpp_2::{llama_backend::LlamaBackend, model::LlamaModel};

use crate::{
    cpu::missing_cpu_features,
    engine::{self, Engine, EngineError},
    gguf::ModelInfo,
    protocol::{Failure, FailureKind, LoadRequest, Reply, Request, read_line, write_line},
};

/// Why the child ends early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The parent is gone, or says what the child doesn't understand.
    #[error("the planner's parent process can't be talked to")]
    Pipe(#[from] io::Error),
    /// llama.cpp was started before in this process.
    #[error("llama.cpp can't be started: {0}")]
    Backend(String),
    /// The processor is older than what llama.cpp was compiled for.
    #[error("this processor lacks {0}, which llama.cpp was compiled for")]
    Processor(String),
}

/// Serves one parent until its `input` ends; call it once in a process, with standard input and output.
///
/// llama.cpp's log goes to standard error. A bad model may end the process: that is what it is there for.
///
/// # Errors
///
/// If the processor lacks instructions, or the parent breaks off or breaks the protocol. What can't be loaded or
/// completed is no error here, but an answer.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> Result<(), ServeError> {
    if let Some(missing) = missing_cpu_features() {
        return Err(ServeError::Processor(missing));
    }
    let backend = LlamaBackend::init().map_err(|error| ServeError::Backend(error.to_string()))?;
    while let Some(request) = read_line(&mut input)? {
        let failure = match request {
            Request::Complete(_) => failed(FailureKind::Request, "no model is loaded"),
            Request::Load(request) => match engine::load(&backend, &request.model) {
                Err(error) => answer(error)?,
                Ok((model, info)) => {
                    match complete_all(&backend, &model, info, &request, &mut input, &mut output) {
                        Ok(()) => return Ok(()),
                        Err(error) => answer(error)?,
                    }
                }
            },
        };
        write_line(&mut output, &failure)?;
    }
    Ok(())
}

fn complete_all(
    backend: &LlamaBackend,
    model: &LlamaModel,
    info: ModelInfo,
    request: &LoadRequest,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), EngineError> {
    let mut engine = Engine::new(backend, model, info, request)?;
    write_line(output, &Reply::Loaded(engine.loaded()))?;
    while let Some(request) = read_line(input)? {
        let reply = match request {
            Request::Load(_) => failed(FailureKind::Request, "a model is loaded already"),
            Request::Complete(request) => {
                let mut report = |progress| write_line(output, &Reply::Progress(progress));
                match engine.complete(&request, &mut report) {
                    Ok(completion) => Reply::Completed(completion),
                    Err(error) => answer(error)?,
                }
            }
        };
        write_line(output, &reply)?;
    }
    Ok(())
}

/// Tells the parent of an error, unless it is that there is no parent.
fn answer(error: EngineError) -> io::Result<Reply> {
    match error {
        EngineError::Model(message) => Ok(failed(FailureKind::Model, &message)),
        EngineError::Request(message) => Ok(failed(FailureKind::Request, &message)),
        EngineError::Output(error) => Err(error),
    }
}

fn failed(kind: FailureKind, message: &str) -> Reply {
    Reply::Failed(Failure { kind, message: message.to_owned() })
}
