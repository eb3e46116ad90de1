//! A user's prompt, taken apart before any model sees it.

use troupe_core::plan::LoraTag;

/// The longest prompt, in characters.
pub const LONGEST_PROMPT: usize = 2000;
/// The most LoRA tags in a prompt, and the longest name in one.
const MOST_TAGS: usize = 16;
const LONGEST_NAME: usize = 200;
/// What a LoRA tag begins with.
const TAG: &str = "<lora:";

/// A prompt as a person wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct UserPrompt {
    /// The words, on one line: not empty, without control characters and LoRA tags.
    pub text: String,
    /// The LoRAs that it asks for, in its order.
    pub loras: Vec<LoraTag>,
}

/// Why a prompt is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Nothing but white space, control characters and tags.
    #[error("the prompt is empty")]
    Empty,
    /// Too long.
    #[error("a prompt has at most {LONGEST_PROMPT} characters, and this one has {0}")]
    Long(usize),
    /// A tag that doesn't end, or has other parts than a name and a weight.
    #[error("wanted a LoRA as `<lora:name>` or `<lora:name:weight>`, and it is `{0}`")]
    Tag(String),
    /// Too many tags.
    #[error("a prompt has at most {MOST_TAGS} LoRA tags, and this one has more")]
    Tags,
}

impl UserPrompt {
    /// Takes the LoRA tags out of a prompt, and makes it one line.
    ///
    /// A tag is `<lora:name:weight>` as in AUTOMATIC1111's web UI; without a weight it means 1. Control characters count
    /// as spaces.
    ///
    /// # Errors
    ///
    /// If nothing is left, if it is too long, or if a tag is malformed.
    pub fn parse(written: &str) -> Result<Self, PromptError> {
        let length = written.chars().count();
        if LONGEST_PROMPT < length {
            return Err(PromptError::Long(length));
        }
        let line: String = written.chars().map(|it| if invisible(it) { ' ' } else { it }).collect();
        let mut text = String::with_capacity(line.len());
        let mut loras = Vec::new();
        let mut rest = line.as_str();
        while let Some(start) = rest.find(TAG) {
            text.push_str(&rest[..start]);
            text.push(' ');
            let inner = &rest[start + TAG.len()..];
            let bad = || PromptError::Tag(rest[start..].chars().take(60).collect());
            let end = inner.find('>').ok_or_else(bad)?;
            loras.push(tag(&inner[..end]).ok_or_else(bad)?);
            if MOST_TAGS < loras.len() {
                return Err(PromptError::Tags);
            }
            rest = &inner[end + 1..];
        }
        text.push_str(rest);
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !loras.is_empty() {
            // A tag between commas leaves two of them.
            text = text
                .split(',')
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join(", ");
        }
        if text.is_empty() { Err(PromptError::Empty) } else { Ok(Self { text, loras }) }
    }
}

/// What is between `<lora:` and `>`.
fn tag(inner: &str) -> Option<LoraTag> {
    let (name, weight) = inner.split_once(':').unwrap_or((inner, "1"));
    let (name, weight) = (name.trim(), weight.trim().parse::<f64>().ok()?);
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.contains('<');
    (fits && (-10.0..=10.0).contains(&weight)).then(|| LoraTag { name: name.to_owned(), weight })
}

/// Control characters, and those of Unicode that turn or hide text.
fn invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
