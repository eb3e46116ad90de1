//! One loaded model: reads a prompt, and writes the likeliest JSON that its schema allows.
//!
//! Greedy decoding under a mask: before each token, llguidance says which tokens keep the text a beginning of some JSON
//! under the schema, and the likeliest of them is taken. The JSON is compact, `{"a":1,"b":[2,3]}`: no whitespace
//! outside of strings, keys in the order of the schema's text, and no `\u` escapes. Models that are trained on briefs
//! are trained on this form.
//!
//! The prompt is read in chunks of [`CHUNK`] tokens, counted from its beginning, and whole chunks that the next prompt
//! begins with are not read again: of a long instruction with a short question, only the question. As the chunks are
//! the same whether they are kept or read, so are all the sums, and a reply doesn't depend on what was asked before.

use std::{
    io,
    num::NonZeroU32,
    path::Path,
    time::{Duration, Instant},
};

use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    llama_batch::LlamaBatch,
    model::{LlamaModel, params::LlamaModelParams},
    sampling::LlamaSampler,
    token::LlamaToken,
};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory, api::TopLevelGrammar};
use toktrie::SimpleVob;

use crate::{
    chat::{CHAT_ML, ChatTemplate, Piece},
    gguf::ModelInfo,
    protocol::{
        ChatTemplateOrigin, CompleteRequest, Completion, LoadRequest, Loaded, Progress, Prompt,
        StopReason,
    },
};

/// Tokens that are read at once.
const CHUNK: usize = 64;
/// The least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// Why a request is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The model can't be used.
    #[error("{0}")]
    Model(String),
    /// The model can't do what was asked.
    #[error("{0}")]
    Request(String),
    /// Nobody listens any more.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// A model with a context to compute in.
pub(crate) struct Engine<'model> {
    model: &'model LlamaModel,
    context: LlamaContext<'model>,
    grammars: ParserFactory,
    chat_template: Option<String>,
    bos_token: String,
    eos_token: String,
    /// The tokens whose keys and values the context holds; a whole number of chunks.
    read: Vec<LlamaToken>,
}

/// Checks the header of the file, and has llama.cpp load it.
pub(crate) fn load(
    backend: &LlamaBackend,
    path: &Path,
) -> Result<(LlamaModel, ModelInfo), EngineError> {
    let info = ModelInfo::open(path).map_err(|error| EngineError::Model(with_sources(&error)))?;
    let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())
        .map_err(|error| EngineError::Model(format!("llama.cpp can't load it: {error}")))?;
    Ok((model, info))
}

impl<'model> Engine<'model> {
    /// Makes room for prompt and reply.
    pub(crate) fn new(
        backend: &LlamaBackend,
        model: &'model LlamaModel,
        info: ModelInfo,
        request: &LoadRequest,
    ) -> Result<Self, EngineError> {
        let trained = info.context_length.and_then(|length| u32::try_from(length).ok());
        let room = request.context.min(trained.unwrap_or(u32::MAX)).max(1);
        let threads = match i32::try_from(request.threads) {
            // ggml's threads wait for one another hundreds of times a token, spinning. Where another program takes the
            // processor of one of them, the others spin for its time slice: one processor is left for it.
            Ok(0) | Err(_) => std::thread::available_parallelism()
                .map_or(1, |count| i32::try_from(count.get() - 1).unwrap_or(1).max(1)),
            Ok(threads) => threads,
        };
        let chunk = u32::try_from(CHUNK).unwrap_or(u32::MAX);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(room))
            .with_n_batch(chunk)
            .with_n_ubatch(chunk)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_no_perf(true);
        let context = model.new_context(backend, parameters).map_err(|error| {
            EngineError::Model(format!("llama.cpp can't make a context: {error}"))
        })?;
        let mut grammars = ParserFactory::new_simple(&LlamaSampler::llguidance_tok_env(model))
            .map_err(|error| EngineError::Model(format!("its vocabulary is unusable: {error}")))?;
        grammars.quiet();
        grammars.limits_mut().verbose_errors = false;
        let vocabulary = model.vocab();
        Ok(Self {
            model,
            context,
            grammars,
            chat_template: info.chat_template,
            bos_token: token_text(model, vocabulary.bos()),
            eos_token: token_text(model, vocabulary.eos()),
            read: Vec::new(),
        })
    }

    /// What there is to know about the loaded model.
    pub(crate) fn loaded(&self) -> Loaded {
        let chat_template = match self.chat_template {
            Some(_) => ChatTemplateOrigin::Model,
            None => ChatTemplateOrigin::ChatMl,
        };
        Loaded { context: self.context.n_ctx(), chat_template }
    }

    /// Completes a prompt; `report` is called every now and then, at least once a chunk.
    pub(crate) fn complete(
        &mut self,
        request: &CompleteRequest,
        report: &mut dyn FnMut(Progress) -> io::Result<()>,
    ) -> Result<Completion, EngineError> {
        let started = Instant::now();
        let is_late = || request.time_limit <= started.elapsed();
        let mut matcher = self.matcher(&request.schema)?;
        let prompt = self.tokens(&request.prompt)?;
        let mut progress =
            Reporter { report, last: started, now: Progress { prompt_tokens: 0, tokens: 0 } };

        let mut text = Vec::new();
        let mut stop = self.read_prompt(&prompt, &mut progress, &is_late)?;
        let mut position = prompt.len();
        while stop.is_none() {
            if request.max_tokens <= progress.now.tokens || self.room() <= position {
                stop = Some(StopReason::TokenLimit);
                break;
            }
            if is_late() {
                stop = Some(StopReason::TimeLimit);
                break;
            }
            let mask = matcher.compute_mask_or_eos().map_err(|error| grammar_error(&error))?;
            let token = likeliest(self.context.get_logits_ith(-1), &mask)?;
            if self.model.vocab().is_eog(token) {
                break;
            }
            matcher
                .consume_token(token.0.cast_unsigned())
                .map_err(|error| grammar_error(&error))?;
            text.extend(self.model.vocab().token_to_piece(token, false, None));
            progress.now.tokens += 1;
            progress.send_if_due()?;
            if matcher.is_stopped() {
                break;
            }
            self.decode(&[token], position, true)?;
            position += 1;
        }
        Ok(Completion {
            text: String::from_utf8_lossy(&text).into_owned(),
            prompt_tokens: progress.now.prompt_tokens,
            tokens: progress.now.tokens,
            stop: stop.unwrap_or(StopReason::Finished),
        })
    }

    /// A parser of JSON under the schema.
    fn matcher(&self, schema: &str) -> Result<Matcher, EngineError> {
        let refused =
            |error: String| EngineError::Request(format!("the schema is refused: {error}"));
        let mut schema: serde_json::Value =
            serde_json::from_str(schema).map_err(|error| refused(error.to_string()))?;
        if !schema.is_object() {
            return Err(refused("it is not an object".to_owned()));
        }
        let options = JsonCompileOptions {
            item_separator: ",".to_owned(),
            key_separator: ":".to_owned(),
            whitespace_flexible: false,
            json_allowed_escapes: Some("nrbtf\\\"".to_owned()),
            ..JsonCompileOptions::default()
        };
        options.apply_to(&mut schema);
        let parser = self
            .grammars
            .create_parser(TopLevelGrammar::from_json_schema(schema))
            .map_err(|error| refused(error.to_string()))?;
        Ok(Matcher::new(Ok(parser)))
    }

    /// The tokens of a prompt, with the token that begins a sequence where the model wants one.
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<LlamaToken>, EngineError> {
        let pieces = match prompt {
            Prompt::Raw(text) => vec![Piece::Content(text.clone())],
            Prompt::Chat(messages) => {
                let template = ChatTemplate {
                    source: self.chat_template.as_deref().unwrap_or(CHAT_ML),
                    bos_token: &self.bos_token,
                    eos_token: &self.eos_token,
                };
                template.render(messages).map_err(|error| {
                    EngineError::Model(format!("its chat template can't be used: {error}"))
                })?
            }
        };
        let vocabulary = self.model.vocab();
        let mut tokens: Vec<LlamaToken> = Vec::new();
        for piece in &pieces {
            let (text, control) = match piece {
                Piece::Template(text) => (text, true),
                Piece::Content(text) => (text, false),
            };
            vocabulary.tokenize_into(text.as_bytes(), &mut tokens, false, control);
        }
        if vocabulary.should_add_bos() && tokens.first() != Some(&vocabulary.bos()) {
            tokens.insert(0, vocabulary.bos());
        }
        let (found, room) = (tokens.len(), self.room());
        if found == 0 || room <= found {
            return Err(EngineError::Request(format!(
                "the prompt has {found} tokens, wanted 1 to {}: the context holds {room}",
                room - 1
            )));
        }
        Ok(tokens)
    }

    /// Reads the part of the prompt that the context doesn't hold yet; says if the time is over before its end.
    fn read_prompt(
        &mut self,
        prompt: &[LlamaToken],
        progress: &mut Reporter<'_>,
        is_late: &dyn Fn() -> bool,
    ) -> Result<Option<StopReason>, EngineError> {
        // The last token is always read: the first token of the reply comes from its logits.
        let common =
            self.read.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        let usable = common.min(prompt.len() - 1);
        let mut kept = usable - usable % CHUNK;
        let end = u32::try_from(kept).unwrap_or(u32::MAX);
        if !matches!(self.context.clear_kv_cache_seq(Some(0), Some(end), None), Ok(true)) {
            // A recurrent model has no part that can be kept.
            self.context.clear_kv_cache();
            kept = 0;
        }
        self.read.truncate(kept);
        progress.now.prompt_tokens = u32::try_from(kept).unwrap_or(u32::MAX);

        for chunk in prompt[kept..].chunks(CHUNK) {
            if is_late() {
                return Ok(Some(StopReason::TimeLimit));
            }
            let position = kept;
            kept += chunk.len();
            self.decode(chunk, position, kept == prompt.len())?;
            if chunk.len() == CHUNK {
                self.read.extend(chunk);
            }
            progress.now.prompt_tokens = u32::try_from(kept).unwrap_or(u32::MAX);
            progress.send_if_due()?;
        }
        Ok(None)
    }

    /// Computes with some tokens, of which the first is at `position`; the last one's logits if they are `wanted`.
    fn decode(
        &mut self,
        tokens: &[LlamaToken],
        position: usize,
        wanted: bool,
    ) -> Result<(), EngineError> {
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (index, &token) in tokens.iter().enumerate() {
            let position = i32::try_from(position + index).unwrap_or(i32::MAX);
            batch
                .add(token, position, &[0], wanted && index + 1 == tokens.len())
                .map_err(|error| EngineError::Model(error.to_string()))?;
        }
        self.context
            .decode(&mut batch)
            .map_err(|error| EngineError::Model(format!("llama.cpp can't compute: {error}")))
    }

    fn room(&self) -> usize {
        usize::try_from(self.context.n_ctx()).unwrap_or(usize::MAX)
    }
}

/// Sends progress, but not for every token.
struct Reporter<'a> {
    report: &'a mut dyn FnMut(Progress) -> io::Result<()>,
    last: Instant,
    now: Progress,
}

impl Reporter<'_> {
    fn send_if_due(&mut self) -> io::Result<()> {
        if self.last.elapsed() < REPORT_EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        (self.report)(self.now)
    }
}

/// The allowed token with the largest logit; of equals, the first.
///
/// Shape of `logits`: `(vocabulary,)`.
fn likeliest(logits: &[f32], allowed: &SimpleVob) -> Result<LlamaToken, EngineError> {
    let mut best: Option<(usize, f32)> = None;
    allowed.iter_set_entries(|token| {
        if let Some(&logit) = logits.get(token)
            && !logit.is_nan()
            && best.is_none_or(|(_, highest)| highest < logit)
        {
            best = Some((token, logit));
        }
    });
    best.and_then(|(token, _)| i32::try_from(token).ok().map(LlamaToken)).ok_or_else(|| {
        EngineError::Model("its weights are broken: it computes no number for any token".to_owned())
    })
}

fn grammar_error(error: &impl std::fmt::Display) -> EngineError {
    EngineError::Request(format!("the schema is too hard to follow: {error}"))
}

/// The text of a token, empty if there is no such token.
fn token_text(model: &LlamaModel, token: LlamaToken) -> String {
    if token.0 < 0 {
        return String::new();
    }
    let text = model.vocab().text(token).map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_default()
}

/// An error and all that caused it, in one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_allowed_token_wins_and_of_equals_the_first() {
        let mut allowed = SimpleVob::alloc(5);
        for token in [1, 2, 3] {
            allowed.allow_token(token);
        }
        let best = |logits: [f32; 5]| likeliest(&logits, &allowed).map(|token| token.0).ok();
        assert_eq!(best([9.0, 1.0, 3.0, 3.0, 9.0]), Some(2));
        assert_eq!(best([9.0, f32::NAN, -1.0, f32::NEG_INFINITY, 9.0]), Some(2));
        assert_eq!(best([9.0, f32::NAN, f32::NAN, f32::NAN, 9.0]), None);
    }
}
