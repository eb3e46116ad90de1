//! The child alone: what the tests of this crate talk to. `troupe` has it built in, as a hidden subcommand.

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match troupe_llm::serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}
