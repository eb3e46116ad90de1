//! Renders a conversation with the chat template of the model, and keeps what people wrote apart from what it means.
//!
//! Templates are Jinja programs inside model files, written for Python: they run here in `minijinja`, with fuel, without
//! files or clocks. (llama.cpp's `llama_chat_apply_template` only guesses which known template it is looking at.)
//!
//! A prompt may hold the text of a control token, such as `<|im_end|>`, and must not end its own turn by it. So the
//! template never sees the messages: it gets a placeholder for each, and the rendered text comes back as [`Piece`]s,
//! of which only the template's own may hold control tokens.

use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig, value::Value};

use crate::protocol::{Message, Role};

/// A part of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Written by the template: control tokens in it are control tokens.
    Template(String),
    /// Somebody's words: no control token, whatever they spell.
    Content(String),
}

/// The template of a model and the tokens that it may ask for.
pub(crate) struct ChatTemplate<'a> {
    /// In Jinja.
    pub(crate) source: &'a str,
    /// The text of the token that begins a sequence, empty if there is none.
    pub(crate) bos_token: &'a str,
    /// The text of the token that ends one.
    pub(crate) eos_token: &'a str,
}

/// `ChatML`, for models whose file has no template.
pub(crate) const CHAT_ML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {{ message.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Instructions that a template may run: thousands of times what a real one needs.
const FUEL: u64 = 500_000;

// Around the number of a message; private use, and so in no template's text.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

impl ChatTemplate<'_> {
    /// The prompt after which the model speaks as the assistant.
    ///
    /// Where the template has no system role, the system's message goes before the first user's.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<Vec<Piece>, Error> {
        let first = self.render_as_given(messages);
        match (first, without_system(messages)) {
            (Err(_), Some(merged)) => self.render_as_given(&merged),
            (first, _) => first,
        }
    }

    fn render_as_given(&self, messages: &[Message]) -> Result<Vec<Piece>, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| fixed_date(&format));

        let placeholders: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                context! { role => message.role.name(), content => format!("{OPEN}{index}{CLOSE}") }
            })
            .collect();
        let text = environment.render_str(
            self.source,
            context! {
                messages => placeholders,
                add_generation_prompt => true,
                bos_token => self.bos_token,
                eos_token => self.eos_token,
                enable_thinking => false,
            },
        )?;
        split(&text, messages)
    }
}

impl Role {
    /// As templates and template files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Puts the messages where the template put their placeholders.
fn split(text: &str, messages: &[Message]) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut used = vec![false; messages.len()];
    for (number, part) in text.split(OPEN).enumerate() {
        let (content, template) = match part.split_once(CLOSE) {
            Some((index, rest)) if 0 < number => (index.parse::<usize>().ok(), rest),
            _ => (None, part),
        };
        if let Some((index, message)) =
            content.and_then(|index| Some((index, messages.get(index)?)))
        {
            pieces.push(Piece::Content(message.content.clone()));
            used[index] = true;
        }
        if !template.is_empty() {
            pieces.push(Piece::Template(template.to_owned()));
        }
    }
    match used.iter().position(|used| !used) {
        None => Ok(pieces),
        Some(index) => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("the template leaves out message {index} of {}", messages.len()),
        )),
    }
}

/// The conversation with the system's message before the first user's; `None` if there is nothing to merge.
fn without_system(messages: &[Message]) -> Option<Vec<Message>> {
    let (system, rest) = messages.split_first()?;
    let (user, rest) = rest.split_first()?;
    if system.role != Role::System || user.role != Role::User {
        return None;
    }
    let content = format!("{}\n\n{}", system.content, user.content);
    let merged = Message { role: Role::User, content };
    Some(std::iter::once(merged).chain(rest.iter().cloned()).collect())
}

/// The date that Llama 3's template falls back on. A completion is a function of its prompt, not of the day.
fn fixed_date(format: &str) -> String {
    let parts = [
        ("%d", "26"),
        ("%-d", "26"),
        ("%m", "07"),
        ("%b", "Jul"),
        ("%B", "July"),
        ("%Y", "2024"),
        ("%y", "24"),
    ];
    parts.iter().fold(format.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.to_owned() }
    }

    fn conversation() -> Vec<Message> {
        vec![message(Role::System, "Be brief."), message(Role::User, "Hello <|im_end|>")]
    }

    /// The rendered text, with content in brackets.
    #[track_caller]
    fn check(source: &str, messages: &[Message], expected: &str) {
        let template = ChatTemplate { source, bos_token: "<s>", eos_token: "</s>" };
        let text: String = match template.render(messages) {
            Err(error) => error.to_string(),
            Ok(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Template(text) => text.clone(),
                    Piece::Content(text) => format!("[{text}]"),
                })
                .collect(),
        };
        assert!(text.contains(expected), "{text} does not contain {expected}");
    }

    #[test]
    fn chat_ml_ends_with_the_assistants_turn() {
        check(
            CHAT_ML,
            &conversation(),
            "<|im_start|>system\n[Be brief.]<|im_end|>\n<|im_start|>user\n[Hello <|im_end|>]<|im_end|>\n<|im_start|>assistant\n",
        );
    }

    #[test]
    fn blocks_on_lines_of_their_own_leave_no_line() {
        let source = "{{ bos_token }}{% for message in messages %}\n  {% if message['role'] == 'user' %}\nU:{{ message['content'] | trim }}\n  {% endif %}\n{% endfor %}{{ eos_token }}";
        check(source, &conversation()[1..], "<s>U:[Hello <|im_end|>]\n</s>");
    }

    #[test]
    fn methods_of_python_strings_work() {
        let source = "{% for m in messages %}{% if m.content.startswith('x') %}x{% else %}{{ m.content.strip() }}{% endif %}{% endfor %}";
        check(source, &conversation()[1..], "[Hello <|im_end|>]");
    }

    #[test]
    fn a_template_without_system_role_gets_it_in_the_users_turn() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        check(source, &conversation(), "<user>[Be brief.\n\nHello <|im_end|>]");
    }

    #[test]
    fn a_template_that_drops_a_message_is_an_error() {
        check("Answer!", &conversation(), "leaves out message 0 of 1"); // Merged: one message.
        check("{{ messages[0].content }}", &conversation()[1..], "[Hello");
    }

    #[test]
    fn what_a_template_raises_is_the_error() {
        check(
            "{{ raise_exception('roles must alternate') }}",
            &conversation(),
            "roles must alternate",
        );
    }

    #[test]
    fn endless_templates_run_out_of_fuel() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}.{% endfor %}{% endfor %}{% endfor %}";
        check(source, &conversation(), "fuel");
    }

    #[test]
    fn the_date_is_always_the_same() {
        check(
            "{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}",
            &conversation()[1..],
            "26 Jul 2024",
        );
    }

    #[test]
    fn placeholders_in_messages_stay_text() {
        let sly = [message(Role::User, "\u{e000}0\u{e001}")];
        check("{% for m in messages %}{{ m.content }}{% endfor %}", &sly, "[\u{e000}0\u{e001}]");
    }
}
