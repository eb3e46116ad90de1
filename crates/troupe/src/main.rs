//! The command line: flags in, progress and an exit code out.
fn main() {}
