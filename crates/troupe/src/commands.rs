//! Each command: its stage, and what it prints.

mod audit;
mod lora_flag;
mod paint;
mod setup;
mod show;

use std::path::{Path, PathBuf};

use serde_json::json;
use troupe_pipeline::audit::Which;
use troupe_pipeline::core::brief::{Brief, BriefDocument};
use troupe_pipeline::core::document;
use troupe_pipeline::core::plan::ScenePlan;
use troupe_pipeline::layout::Room;
use troupe_pipeline::paint::ModelFolder;
use troupe_pipeline::plan::{Reader, cast_all, request};
use troupe_pipeline::run::{self, RunRequest, read_document, write_document};
use troupe_pipeline::{PipelineError, Studio, config, files};
use troupe_plan::prompt::UserPrompt;

use self::setup::{lines, override_paint, overrides, studio};
use crate::arguments::{Arguments, Command, ConfigCommand, LoraCommand, ModelsCommand};
use crate::terminal::{Terminal, print, say};

/// Does what the arguments say; returns the exit code.
pub(crate) fn execute(arguments: &Arguments) -> Result<u8, PipelineError> {
    match &arguments.command {
        Command::Init { path } => init(path),
        Command::Plan { prompt, subjects, seed, brief, output } => {
            plan(arguments, prompt, *subjects, *seed, brief.as_deref(), output)
        }
        Command::Layout { plan, output, preview } => {
            layout(arguments, plan, output, preview.as_deref())
        }
        Command::Paint(command) => paint::paint(arguments, command),
        Command::Audit { path, layout, output, judge, second } => {
            let wanted = audit::Wanted {
                path,
                layout: layout.as_deref(),
                output: output.as_deref(),
                judge: judge.as_deref(),
                which: if *second { Which::Second } else { Which::First },
            };
            audit::audit(arguments, &wanted)
        }
        Command::Run { prompt, prompts, run } => {
            let prompts = match prompts {
                Some(file) => lines(file)?,
                None => prompt.clone(),
            };
            run_all(arguments, prompts, 1, run)
        }
        Command::Batch { file, pictures, run } => run_all(arguments, lines(file)?, *pictures, run),
        Command::Inspect { path } => show::inspect(arguments, path),
        Command::Models { command: ModelsCommand::Ls } => show::models(arguments),
        Command::Models { command: ModelsCommand::Verify } => show::verify(arguments),
        Command::Models { command: ModelsCommand::Pull { model, variant } } => {
            show::pull(arguments, model, variant.as_deref())
        }
        Command::Lora { command: LoraCommand::Inspect { file } } => show::lora(arguments, file),
        Command::Config { command: ConfigCommand::Show } => show::config(arguments),
        Command::LlmServe => Ok(0),
    }
}

fn init(path: &Path) -> Result<u8, PipelineError> {
    if path.exists() {
        let text = format!("`{}` is there already, and stays as it is", path.display());
        return Err(PipelineError::Usage(text));
    }
    files::write_atomically(path, config::TEMPLATE.as_bytes())?;
    say(&format!("wrote {}", path.display()));
    Ok(0)
}

fn plan(
    arguments: &Arguments,
    prompt: &str,
    subjects: Option<u32>,
    seed: Option<u64>,
    brief: Option<&Path>,
    output: &Path,
) -> Result<u8, PipelineError> {
    let studio = studio(arguments, &overrides(seed))?;
    let mut terminal = Terminal::new(arguments.quiet);
    let prompt = UserPrompt::parse(&setup::text(prompt)?)?;
    let brief = match brief {
        Some(path) => read_document::<BriefDocument>(path)?.brief,
        None => read_one(&studio, &prompt, output, &mut terminal)?,
    };
    let requests = [Some(request(1, &prompt, brief, subjects))];
    let cast = cast_all(&studio, &requests)?;
    if let Some((_, error)) = cast.refused.first() {
        return Err(error.clone().into());
    }
    let plan = cast.plan(0).ok_or_else(|| PipelineError::Usage("nobody was cast".to_owned()))?;
    write_document(output, &plan)?;
    notes(&plan, arguments);
    result(arguments, &plan, output)
}

/// Has the language model read a prompt; replies that are no brief are kept beside `output`.
fn read_one(
    studio: &Studio,
    prompt: &UserPrompt,
    output: &Path,
    terminal: &mut Terminal,
) -> Result<Brief, PipelineError> {
    let mut reader = Reader::start(studio)?;
    match reader.read(&prompt.text, (1, 1), terminal) {
        Ok(read) => {
            reader.close();
            Ok(read.brief)
        }
        Err(PipelineError::Rejected { tries, why, replies, .. }) => {
            let folder = output.parent().unwrap_or(Path::new(""));
            let kept = run::keep_rejected(folder, &prompt.text, &replies)?;
            let kept = format!("; the raw replies are in `{}`", kept.display());
            Err(PipelineError::Rejected { tries, why, kept, replies })
        }
        Err(error) => Err(error),
    }
}

fn layout(
    arguments: &Arguments,
    plan: &Path,
    output: &Path,
    preview: Option<&Path>,
) -> Result<u8, PipelineError> {
    let plan: ScenePlan = read_document(plan)?;
    let studio = studio(arguments, &[])?;
    let layout = Room::new(&studio, &ModelFolder::open(&studio)?)?.lay_out(&plan)?;
    let drawn = preview.map(|path| setup::draw(path, &layout)).transpose()?;
    write_document(output, &layout)?;
    if let Some((path, bytes)) = preview.zip(drawn) {
        files::write_atomically(path, &bytes)?;
    }
    result(arguments, &layout, output)
}

fn run_all(
    arguments: &Arguments,
    prompts: Vec<String>,
    pictures: u32,
    flags: &crate::arguments::RunFlags,
) -> Result<u8, PipelineError> {
    let mut settings = overrides(flags.seed);
    settings.extend(override_paint(arguments, &flags.paint)?);
    settings.extend(flags.retries.map(|it| ("paint.retries".to_owned(), it.to_string())));
    let studio = studio(arguments, &settings)?;
    let wanted = RunRequest::new(prompts, pictures, flags.subjects, flags.out.clone())?;
    let mut terminal = Terminal::new(arguments.quiet);
    let report = run::run(&studio, &wanted, &mut terminal)?;
    drop(terminal);
    for failure in &report.failed {
        say(&format!("error: picture {}: {}", failure.picture, failure.error));
    }
    if arguments.json {
        print(&format!("{}\n", json!(report)));
    } else {
        print(&format!("{}\n", report.folder.display()));
    }
    // A run of which nothing came fails as its first picture did.
    Ok(match report.failed.first() {
        Some(failure) if report.pictures == 0 => failure.code,
        Some(_) => 1,
        None => 0,
    })
}

fn notes(plan: &ScenePlan, arguments: &Arguments) {
    if !arguments.quiet {
        for note in &plan.notes {
            say(&format!("note: {note}"));
        }
    }
}

/// Prints a document with `--json`, else where it is.
fn result<T: document::Document>(
    arguments: &Arguments,
    value: &T,
    output: &Path,
) -> Result<u8, PipelineError> {
    if arguments.json {
        let path = PathBuf::from(output);
        print(&document::write(value).map_err(|source| PipelineError::Document { path, source })?);
    } else {
        print(&format!("{}\n", output.display()));
    }
    Ok(0)
}
