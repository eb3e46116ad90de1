//! The command line: flags in, progress and an exit code out.
//!
//! stdout is data, stderr is talk. Nothing is decided here; see `troupe-pipeline`.

mod arguments;
mod commands;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::LlmServe) {
        return serve();
    }
    if let Some(missing) = troupe_pipeline::missing_cpu_features() {
        terminal::say(&format!(
            "error: this processor lacks {missing}, without which the language model can't run"
        ));
        return ExitCode::from(4);
    }
    match commands::execute(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.exit_code() == 130 => {
            terminal::say("stopped; what is finished is whole, and the same command goes on");
            ExitCode::from(terminal::stopped_by())
        }
        Err(error) => {
            terminal::say(&format!("error: {}", terminal::chain(&error)));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The language model's process: a child of this program, which its parent outlives.
fn serve() -> ExitCode {
    match troupe_pipeline::serve(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(&error.to_string());
            ExitCode::from(70)
        }
    }
}
