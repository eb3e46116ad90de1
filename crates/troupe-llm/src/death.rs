//! How a child process ended, and what it said last.

use std::{collections::VecDeque, fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

/// How a child process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It closed its output and lived on, and was killed.
    Mute,
    /// The system doesn't say.
    Unknown,
}

impl From<ExitStatus> for Death {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = match self {
            Self::Exit(code) => return write!(f, "ended with exit code {code}"),
            Self::Mute => return write!(f, "fell silent, and was stopped"),
            Self::Unknown => return write!(f, "ended, nobody knows how"),
            Self::Signal(signal) => signal,
        };
        let meaning = match signal {
            4 => "SIGILL: an instruction that this processor lacks",
            6 => "SIGABRT: llama.cpp gave up",
            7 => "SIGBUS: the model's file changed, or its disk failed",
            8 => "SIGFPE: a division by zero",
            9 => "SIGKILL: most likely for lack of memory",
            11 => "SIGSEGV: llama.cpp read or wrote outside of its memory",
            15 => "SIGTERM",
            _ => return write!(f, "was killed by signal {signal}"),
        };
        write!(f, "was killed by {meaning}")
    }
}

/// Bytes of the log that are kept.
const TAIL: usize = 16 * 1024;
/// Characters of a line that are quoted.
const LONGEST_QUOTE: usize = 300;

/// The end of a log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(TAIL);
        self.bytes.drain(..surplus);
    }

    /// The last line that says something, without control characters, shortened.
    pub(crate) fn last_line(&self) -> Option<String> {
        self.last_line_with("")
    }

    /// The last such line in which `word` occurs, in lower case.
    pub(crate) fn last_line_with(&self, word: &str) -> Option<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().rev().map(str::trim);
        // Rust's panics end with a note on how to see more.
        let mut told = lines.filter(|line| !line.is_empty() && !line.starts_with("note:"));
        let line = told.find(|line| line.contains(word))?;
        let shown = line.chars().map(|it| if it.is_control() { ' ' } else { it });
        Some(shown.take(LONGEST_QUOTE).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(log: &str, word: &str, expected: Option<&str>) {
        let mut tail = Tail::default();
        tail.push(log.as_bytes());
        assert_eq!(tail.last_line_with(word).as_deref(), expected);
    }

    #[test]
    fn the_last_line_that_says_something_is_quoted() {
        check("", "", None);
        check("\n \n", "", None);
        check("one\ntwo\n\n", "", Some("two"));
        check(
            "thread panicked at x:\nno luck\nnote: run with `RUST_BACKTRACE=1`\n",
            "",
            Some("no luck"),
        );
        check("error: bad vocabulary\nfailed\n", "error", Some("error: bad vocabulary"));
        check("failed\n", "error", None);
    }

    #[test]
    fn quotes_are_short_and_safe_for_a_terminal() {
        check("\u{1b}[31mred\u{7}", "", Some(" [31mred "));
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push("ü".repeat(5000).as_bytes());
        }
        assert_eq!(tail.bytes.len(), TAIL);
        assert_eq!(tail.last_line().unwrap().chars().count(), LONGEST_QUOTE);
    }

    #[test]
    fn deaths_are_told_apart() {
        let told = |raw| Death::from(ExitStatus::from_raw(raw)).to_string();
        assert_eq!(told(3 << 8), "ended with exit code 3");
        assert_eq!(told(6), "was killed by SIGABRT: llama.cpp gave up");
        assert_eq!(told(31), "was killed by signal 31");
    }
}
