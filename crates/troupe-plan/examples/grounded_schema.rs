//! Writes the schema of each prompt's brief: a prompt a line in, a schema a line out.
//!
//! For `models/starter/train/planner/evaluate.py`, which so asks a planner as the program does.

use std::io::{self, BufRead, Write};

use troupe_plan::schema::grounded_schema;

fn main() -> io::Result<()> {
    let mut output = io::stdout().lock();
    for prompt in io::stdin().lock().lines() {
        writeln!(output, "{}", grounded_schema(&prompt?))?;
        output.flush()?;
    }
    Ok(())
}
