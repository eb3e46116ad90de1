//! A prompt read into a brief by a language model, which is given the schema and held to it afterwards.

use minijinja::{Environment, context};
use troupe_core::brief::Brief;

use crate::schema::{brief_schema, grounded_schema};

/// How often a model that is told what was wrong may try.
pub const TRIES: usize = 3;
/// How much of a refused reply the model is shown, in characters.
const SHOWN: usize = 2000;

/// Anything that completes text under a schema.
pub trait LanguageModel {
    /// Why it could not.
    type Error: std::error::Error;

    /// Completes a text; greedily, so that the same request gets the same reply.
    ///
    /// # Errors
    ///
    /// If there is no reply at all. One that breaks off isn't an error here.
    fn complete(&mut self, request: &Request) -> Result<Reply, Self::Error>;
}

/// A text to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What comes before the reply.
    pub prompt: Conversation,
    /// The JSON schema that the reply has to follow; the order of its properties is the order of the reply's keys.
    pub schema: String,
}

/// What comes before a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// The prompt as it stands, for a model that was trained on nothing else.
    Bare(String),
    /// Messages, for the model's own chat template.
    Chat(Vec<Message>),
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they say.
    pub content: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

/// What a model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text as it is.
    pub text: String,
    /// Whether it ended by itself, and not at a limit of tokens or time.
    pub finished: bool,
}

/// What a model is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style<'a> {
    /// The bare prompt.
    Bare,
    /// The messages that this template makes; see `prompts/brief.md`.
    Template(&'a str),
}

/// A brief, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBrief {
    /// The brief.
    pub brief: Brief,
    /// Every reply as it was, the last one being the brief.
    pub replies: Vec<String>,
}

/// Why there is no brief.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: std::error::Error> {
    /// The model gave no reply.
    #[error(transparent)]
    Model(E),
    /// Its replies are no briefs.
    #[error("no brief after {tries} tries: {why}", tries = .0.replies.len(), why = .0.why)]
    Rejected(Rejected),
    /// The template is broken.
    #[error("the template of the brief fails: {0}")]
    Template(String),
}

/// Replies that are no briefs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Every reply as it was.
    pub replies: Vec<String>,
    /// What is wrong with the last one.
    pub why: String,
}

/// Reads a prompt into a brief.
///
/// A model that gets messages tries up to [`TRIES`] times, each time shown its last reply and what is wrong with it. One
/// that gets the bare prompt would say the same again, and tries once; it is small, and kept to the words of the prompt.
///
/// # Errors
///
/// See [`ReadError`].
pub fn read_brief<M: LanguageModel>(
    prompt: &str,
    model: &mut M,
    style: Style<'_>,
) -> Result<ReadBrief, ReadError<M::Error>> {
    let schema = match style {
        Style::Bare => grounded_schema(prompt),
        Style::Template(_) => brief_schema(),
    };
    let mut replies: Vec<String> = Vec::new();
    let mut why: Option<String> = None;
    let tries = match style {
        Style::Bare => 1,
        Style::Template(_) => TRIES,
    };
    while replies.len() < tries {
        let conversation = match style {
            Style::Bare => Conversation::Bare(prompt.to_owned()),
            Style::Template(template) => {
                let refused = replies.last().map(String::as_str).zip(why.as_deref());
                Conversation::Chat(
                    messages(template, &schema, prompt, refused).map_err(ReadError::Template)?,
                )
            }
        };
        let request = Request { prompt: conversation, schema: schema.clone() };
        let reply = model.complete(&request).map_err(ReadError::Model)?;
        let parsed = parse(&reply);
        replies.push(reply.text);
        match parsed {
            Ok(brief) => return Ok(ReadBrief { brief, replies }),
            Err(error) => why = Some(error),
        }
    }
    Err(ReadError::Rejected(Rejected { replies, why: why.unwrap_or_default() }))
}

/// A reply as a brief, or what is wrong with it.
fn parse(reply: &Reply) -> Result<Brief, String> {
    if !reply.finished {
        return Err("the reply breaks off at the limit of its length or time".to_owned());
    }
    let mut brief: Brief = serde_json::from_str(&reply.text).map_err(|error| error.to_string())?;
    let texts = [&mut brief.activity, &mut brief.clothing, &mut brief.setting, &mut brief.style];
    for text in texts {
        tidy(text);
    }
    for kind in &mut brief.people {
        tidy(&mut kind.noun);
        kind.stated.iter_mut().for_each(|stated| tidy(&mut stated.what));
        kind.stated.retain(|stated| !stated.what.is_empty());
    }
    brief.check()?;
    Ok(brief)
}

fn tidy(text: &mut String) {
    *text = text.trim().to_owned();
}

/// The messages of a template; `refused` is a reply, and what is wrong with it.
///
/// # Errors
///
/// With what the template engine says.
pub fn messages(
    template: &str,
    schema: &str,
    prompt: &str,
    refused: Option<(&str, &str)>,
) -> Result<Vec<Message>, String> {
    let quoted = serde_json::Value::from(prompt).to_string();
    let (previous, error) =
        refused.map_or((None, None), |(reply, why)| (Some(one_line(reply)), Some(one_line(why))));
    let environment = Environment::new();
    let text = environment
        .render_str(template, context! { schema, prompt => quoted, previous, error })
        .map_err(|error| format!("{error:#}"))?;
    let mut messages: Vec<(Role, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let role = match line {
            "# system" => Some(Role::System),
            "# user" => Some(Role::User),
            "# assistant" => Some(Role::Assistant),
            _ => None,
        };
        match (role, messages.last_mut()) {
            (Some(role), _) => messages.push((role, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) if line.trim().is_empty() => {}
            (None, None) => {
                return Err(format!("wanted a line `# system` first, and it is `{line}`"));
            }
        }
    }
    if messages.is_empty() {
        return Err("it makes no message".to_owned());
    }
    let message = |(role, lines): (Role, Vec<&str>)| Message {
        role,
        content: lines.join("\n").trim_matches('\n').to_owned(),
    };
    Ok(messages.into_iter().map(message).collect())
}

/// A text that can begin no message: one line, and none that begins with `#`.
fn one_line(text: &str) -> String {
    let line: String =
        text.chars().take(SHOWN).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if line.starts_with('#') { format!(" {line}") } else { line }
}
