//! Prompts to briefs through the language model, briefs to plans by dice.

use std::time::Duration;

use troupe_core::brief::Brief;
use troupe_core::seed::Seed;
use troupe_llm::{
    BlockingClient, CompleteRequest, LlmError, LoadRequest, Message, Prompt, Role, StopReason,
};
use troupe_plan::cast::{Cast, cast};
use troupe_plan::prompt::UserPrompt;
use troupe_plan::reading::{
    self, Conversation, LanguageModel, ReadBrief, ReadError, Request, Style,
};
use troupe_plan::seats::{PictureRequest, SubjectRange};

use crate::manifest::PromptStyle;
use crate::{PipelineError, Progress, Studio, Talk};

/// The instructions and examples that a stock model gets.
const TEMPLATE: &str = include_str!("../../../prompts/brief.md");
/// The most tokens of a brief.
const MOST_TOKENS: u32 = 400;
/// Tokens that instructions, prompt and reply may have together.
const CONTEXT: u32 = 4096;
/// How long a model may take to load.
const LOADING: Duration = Duration::from_mins(2);
/// How long one reply may take.
const REPLYING: Duration = Duration::from_mins(2);

/// A language model in its own process, ready to read prompts.
#[derive(Debug)]
pub struct Reader {
    client: BlockingClient,
    style: PromptStyle,
}

/// The model while it reads one prompt.
struct Reading<'a> {
    client: &'a mut BlockingClient,
    talk: &'a mut dyn Talk,
    prompt: usize,
    of: usize,
}

impl Reader {
    /// Starts the process, and loads the configured model.
    ///
    /// # Errors
    ///
    /// If the model is missing or broken.
    pub fn start(studio: &Studio) -> Result<Self, PipelineError> {
        let found = studio.manifest.planner(&studio.config.plan.model)?;
        // What llama.cpp would abort on is refused before it sees it.
        let info = troupe_llm::ModelInfo::open(&found.path)
            .map_err(|source| PipelineError::Gguf { path: found.path.clone(), source })?;
        found.check("")?;
        let style = found.entry.as_ref().map_or(PromptStyle::Chat, |entry| entry.prompt);
        let trained = info.context_length.and_then(|it| u32::try_from(it).ok()).unwrap_or(CONTEXT);
        let request =
            LoadRequest { model: found.path, context: trained.clamp(64, CONTEXT), threads: 0 };
        let client = BlockingClient::start(&studio.child, &request, LOADING)?;
        Ok(Self { client, style })
    }

    /// Reads the `prompt`th `of` so many prompts.
    ///
    /// # Errors
    ///
    /// If the model's replies are no brief, or it dies.
    pub fn read(
        &mut self,
        text: &str,
        (prompt, of): (usize, usize),
        talk: &mut dyn Talk,
    ) -> Result<ReadBrief, PipelineError> {
        let style = match self.style {
            PromptStyle::Chat => Style::Template(TEMPLATE),
            PromptStyle::Bare => Style::Bare,
        };
        let mut model = Reading { client: &mut self.client, talk, prompt, of };
        reading::read_brief(text, &mut model, style).map_err(|error| match error {
            ReadError::Model(LlmError::Stopped) => PipelineError::Stopped,
            ReadError::Model(error) => error.into(),
            ReadError::Template(problem) => PipelineError::Template(problem),
            ReadError::Rejected(rejected) => PipelineError::Rejected {
                tries: rejected.replies.len(),
                why: rejected.why,
                kept: String::new(),
                replies: rejected.replies,
            },
        })
    }

    /// Ends the process, and with it the model's memory.
    pub fn close(self) {
        self.client.close();
    }
}

impl LanguageModel for Reading<'_> {
    type Error = LlmError;

    fn complete(&mut self, request: &Request) -> Result<reading::Reply, LlmError> {
        let prompt = match &request.prompt {
            // What the starter planner was trained on: the prompt, then a line of its own.
            Conversation::Bare(text) => Prompt::Raw(format!("{text}\n")),
            Conversation::Chat(messages) => Prompt::Chat(messages.iter().map(message).collect()),
        };
        let request = CompleteRequest {
            prompt,
            schema: request.schema.clone(),
            max_tokens: MOST_TOKENS,
            time_limit: REPLYING,
        };
        let Self { client, talk, prompt, of } = self;
        let completion = client.complete(&request, |progress| {
            talk.progress(Progress::Planning { prompt: *prompt, of: *of, tokens: progress.tokens });
        })?;
        let finished = completion.stop == StopReason::Finished;
        Ok(reading::Reply { text: completion.text, finished })
    }
}

fn message(message: &reading::Message) -> Message {
    let role = match message.role {
        reading::Role::System => Role::System,
        reading::Role::User => Role::User,
        reading::Role::Assistant => Role::Assistant,
    };
    Message { role, content: message.content.clone() }
}

/// What the cast of one picture is asked for.
pub fn request(
    picture: u64,
    prompt: &UserPrompt,
    brief: Brief,
    subjects: Option<u32>,
) -> PictureRequest {
    PictureRequest {
        picture,
        prompt: prompt.text.clone(),
        loras: prompt.loras.clone(),
        brief,
        subjects,
    }
}

/// Casts a batch by the configuration.
///
/// # Errors
///
/// If the configured range of people is none.
pub fn cast_all<'a>(
    studio: &'a Studio,
    requests: &'a [Option<PictureRequest>],
) -> Result<Cast<'a>, PipelineError> {
    let range = &studio.config.plan.subjects;
    let range = SubjectRange::new(range.min, range.max)?;
    Ok(cast(&studio.axes, Seed(studio.config.run.seed), requests, range))
}
