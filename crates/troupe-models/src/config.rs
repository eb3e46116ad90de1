//! The text files beside the weights, such as `config.json`; all of them untrusted.

use serde::Deserialize;

/// The largest text file that is read; the `tokenizer.json` of CLIP ViT-L has 2.2 MB.
const MAX_BYTES: usize = 16 << 20;

/// One file: its name, which is for messages only, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct TextFile<'a> {
    /// The name of the file.
    pub name: &'a str,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

/// Why a text file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is longer than any of its kind.
    #[error("`{file}` has {found} bytes, and at most {max} were wanted", max = MAX_BYTES)]
    TooLong {
        /// The name of the file.
        file: String,
        /// How many bytes it has.
        found: usize,
    },
    /// The file isn't JSON, or not JSON of the kind that was wanted.
    #[error("`{file}` can't be read as {wanted}")]
    Json {
        /// The name of the file.
        file: String,
        /// What was wanted.
        wanted: &'static str,
        /// What the parser says, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A setting has a value that we can't build.
    #[error("`{file}` has {key} {found}, and {wanted} was wanted")]
    Setting {
        /// The name of the file.
        file: String,
        /// The key.
        key: &'static str,
        /// What was wanted.
        wanted: String,
        /// What was there.
        found: String,
    },
}

impl<'a> TextFile<'a> {
    /// The file as JSON; `wanted` names its kind in the message.
    pub(crate) fn parse<T: Deserialize<'a>>(self, wanted: &'static str) -> Result<T, ConfigError> {
        let source = match serde_json::from_slice(self.within_limit()?) {
            Ok(parsed) => return Ok(parsed),
            Err(source) => source,
        };
        Err(ConfigError::Json { file: self.name.to_owned(), wanted, source })
    }

    /// The bytes, if they aren't too many.
    pub(crate) fn within_limit(self) -> Result<&'a [u8], ConfigError> {
        if self.bytes.len() <= MAX_BYTES {
            return Ok(self.bytes);
        }
        Err(ConfigError::TooLong { file: self.name.to_owned(), found: self.bytes.len() })
    }

    /// An error about `key` unless `holds`.
    pub(crate) fn require(
        self,
        holds: bool,
        key: &'static str,
        wanted: impl Into<String>,
        found: &(impl ToString + ?Sized),
    ) -> Result<(), ConfigError> {
        if holds {
            return Ok(());
        }
        // A hostile file may have megabytes here.
        let found = found.to_string().chars().take(80).collect();
        Err(ConfigError::Setting { file: self.name.to_owned(), key, wanted: wanted.into(), found })
    }
}
