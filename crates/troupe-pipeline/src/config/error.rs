//! Why a configuration is refused, and where that stands.

use std::fmt;

use super::LONGEST;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong.
    pub problem: ConfigProblem,
}

/// Where something is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file; lines and columns, in characters, count from 1.
    File {
        /// The file.
        name: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In the variable of this name.
    Variable(String),
    /// By a flag that sets this key.
    Flag(String),
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// A file that nobody wrote by hand.
    #[error("wanted at most {LONGEST} bytes, and there are {0}")]
    TooLong(usize),
    /// No TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that isn't there.
    #[error("unknown key `{key}`, the nearest is `{nearest}` (known: {known})")]
    UnknownKey {
        /// The key, shortened.
        key: String,
        /// The known one that is nearest in spelling.
        nearest: String,
        /// All that could stand there.
        known: String,
    },
    /// A table without something that it needs.
    #[error("wanted `{key}` in {table}, and it isn't there")]
    Missing {
        /// What is missing.
        key: &'static str,
        /// Where.
        table: String,
    },
    /// A key that takes something else.
    #[error("wanted {wanted} for `{key}`, and it is {found}")]
    Value {
        /// The key, from the root: "paint.steps".
        key: String,
        /// What it takes.
        wanted: String,
        /// What is there, shortened.
        found: String,
    },
    /// A name, share, size or axis that another crate refuses, and what it says.
    #[error("{0}")]
    Refused(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(key) => write!(f, "`{key}` on the command line"),
        }
    }
}
