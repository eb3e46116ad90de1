//! What parent and child say to each other: one JSON object a line, each line of bounded length.
//!
//! The parent writes [`Request`]s to the child's standard input, one at a time, and reads [`Reply`]s from its standard
//! output: any number of [`Reply::Progress`], then one of the others.

use std::{
    io::{self, BufRead, Read, Write},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The longest line either side reads, in bytes: a prompt of 100 kB whose every byte is escaped fits six times over.
pub(crate) const LONGEST_LINE: usize = 4 << 20;

/// Which model to load, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    /// A GGUF file.
    pub model: PathBuf,
    /// Room for prompt and reply together, in tokens; less where the model was trained for less.
    pub context: u32,
    /// Threads to compute with; 0 means one for each processor but one, which is several times faster than one for each
    /// where anything else runs.
    pub threads: u32,
}

/// A model that has been loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loaded {
    /// Room for prompt and reply together, in tokens.
    pub context: u32,
    /// Whose chat template conversations are rendered with.
    pub chat_template: ChatTemplateOrigin,
}

/// Whose chat template conversations are rendered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatTemplateOrigin {
    /// The one in the model's file.
    Model,
    /// The file has none, and `ChatML` is a guess.
    ChatMl,
}

/// A text to complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteRequest {
    /// What comes before the reply.
    pub prompt: Prompt,
    /// The JSON schema of the reply, as text: the order of its `properties` is the order of the reply's keys.
    pub schema: String,
    /// The most tokens that the reply may have.
    pub max_tokens: u32,
    /// How long reading the prompt and writing the reply may take together.
    pub time_limit: Duration,
}

/// What comes before the reply. No text of a person is ever read as a control token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// The text as it stands, for a model that was trained on bare prompts.
    Raw(String),
    /// A conversation, rendered with the model's chat template; the reply is the assistant's next turn.
    Chat(Vec<Message>),
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they say.
    pub content: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// What the model wrote: JSON under the schema if it [finished](StopReason::Finished), else the beginning of it.
    pub text: String,
    /// How many tokens the prompt had.
    pub prompt_tokens: u32,
    /// How many tokens the reply had.
    pub tokens: u32,
    /// Why it ended.
    pub stop: StopReason,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The JSON is complete.
    Finished,
    /// It reached the most tokens allowed, or the context was full.
    TokenLimit,
    /// The time was over.
    TimeLimit,
}

/// How far a completion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Tokens of the prompt that have been read.
    pub prompt_tokens: u32,
    /// Tokens of the reply so far.
    pub tokens: u32,
}

/// What the parent asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// First, and once.
    Load(LoadRequest),
    /// Then any number of these.
    Complete(CompleteRequest),
}

/// What the child answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Loaded(Loaded),
    Progress(Progress),
    Completed(Completion),
    Failed(Failure),
}

/// A request that the child could not fulfil; it lives on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// The model's file.
    Model,
    /// The request's.
    Request,
}

/// Writes a value as one line, and sends it off.
pub(crate) fn write_line(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Reads one line; `None` at the end of the input.
pub(crate) fn read_line<T: DeserializeOwned>(input: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if LONGEST_LINE < line.len() {
        let message = format!("a line is longer than {LONGEST_LINE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request::Complete(CompleteRequest {
            prompt: Prompt::Raw("a \"quoted\"\nline \u{0} ü".to_owned()),
            schema: "{}".to_owned(),
            max_tokens: 3,
            time_limit: Duration::from_millis(1500),
        });
        let mut pipe = Vec::new();
        write_line(&mut pipe, &request).unwrap();
        write_line(&mut pipe, &request).unwrap();
        assert_eq!(pipe.split(|&byte| byte == b'\n').count(), 3); // Two lines, and nothing.

        let mut input = pipe.as_slice();
        assert_eq!(read_line(&mut input).unwrap(), Some(request.clone()));
        assert_eq!(read_line(&mut input).unwrap(), Some(request));
        assert_eq!(read_line::<Request>(&mut input).unwrap(), None);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_is_held() {
        let mut endless = io::BufReader::new(io::repeat(b' '));
        let error = read_line::<Request>(&mut endless).unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    #[test]
    fn lines_that_are_no_requests_are_errors() {
        for line in [
            "{\n",
            "{}\n",
            "{\"unload\":{}}\n",
            "\n",
            "{\"load\":{\"model\":\"m\",\"context\":-1,\"threads\":0}}\n",
        ] {
            let error = read_line::<Request>(&mut line.as_bytes());
            assert!(error.is_err(), "{line} gave {error:?}");
        }
    }
}
