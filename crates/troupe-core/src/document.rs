//! The JSON files that pass between the stages: each begins with its schema and version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type that stands in a JSON file of its own.
///
/// Its first field is `schema`, and holds [`Document::SCHEMA`].
pub trait Document: Serialize + DeserializeOwned {
    /// Name and version, such as `troupe.plan/1`.
    const SCHEMA: &'static str;

    /// Checks what the types of the fields can't say.
    ///
    /// # Errors
    ///
    /// With a sentence that says which rule is broken, and where.
    fn check(&self) -> Result<(), String>;
}

/// Why a text isn't the document that it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or a field that is missing, unknown or of another type.
    #[error("not a `{schema}`: {source}")]
    Shape {
        /// The schema that was wanted.
        schema: &'static str,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// Another schema or version.
    #[error("wanted a file with the schema `{wanted}`, and its schema is `{found}`")]
    Schema {
        /// The schema that was wanted.
        wanted: &'static str,
        /// The schema that the file names.
        found: String,
    },
    /// No schema at all.
    #[error("wanted a file that begins with `\"schema\": \"{0}\"`, and it names no schema")]
    NoSchema(&'static str),
    /// A rule of the document is broken.
    #[error("not a valid `{schema}`: {problem}")]
    Rule {
        /// The schema that was wanted.
        schema: &'static str,
        /// Which rule, and where.
        problem: String,
    },
}

/// Reads a document, and checks its schema before anything else in it.
///
/// # Errors
///
/// See [`DocumentError`].
pub fn read<T: Document>(text: &str) -> Result<T, DocumentError> {
    #[derive(Deserialize)]
    struct Probe {
        schema: Option<String>,
    }
    let shape = |source| DocumentError::Shape { schema: T::SCHEMA, source };
    let probe: Probe = serde_json::from_str(text).map_err(shape)?;
    match probe.schema {
        None => return Err(DocumentError::NoSchema(T::SCHEMA)),
        Some(found) if found != T::SCHEMA => {
            let found = found.chars().take(80).filter(|it| !it.is_control()).collect();
            return Err(DocumentError::Schema { wanted: T::SCHEMA, found });
        }
        Some(_) => {}
    }
    let document: T = serde_json::from_str(text).map_err(shape)?;
    document.check().map_err(|problem| DocumentError::Rule { schema: T::SCHEMA, problem })?;
    Ok(document)
}

/// Writes a document as a person would want to read it, with a newline at the end.
///
/// # Errors
///
/// If a map in it has keys that aren't strings; none of ours has.
pub fn write<T: Document>(document: &T) -> Result<String, DocumentError> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|source| DocumentError::Shape { schema: T::SCHEMA, source })?;
    text.push('\n');
    Ok(text)
}
