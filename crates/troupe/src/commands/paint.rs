//! Painting: a layout, a prompt, a picture again, or a part of one anew.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use troupe_pipeline::core::layout::Canvas;
use troupe_pipeline::core::seed::Seed;
use troupe_pipeline::inspect::{self, Inspected};
use troupe_pipeline::layout::{Change, Room, changed};
use troupe_pipeline::paint::{
    Anew, Easel, Exchange, ModelFolder, Order, Original, Part, PictureRecord, Place, Plain,
    Subject, mask_runs,
};
use troupe_pipeline::{PipelineError, Studio, files};
use troupe_plan::prompt::UserPrompt;

use super::setup::{self, override_paint, studio};
use crate::arguments::{Arguments, PaintCommand};
use crate::terminal::{Terminal, print};

pub(super) fn paint(arguments: &Arguments, command: &PaintCommand) -> Result<u8, PipelineError> {
    match (&command.input, &command.prompt) {
        (Some(input), _)
            if command.mask.is_some() || !command.only.is_empty() || !command.set.is_empty() =>
        {
            part(arguments, command, input)
        }
        (Some(_), Some(_)) => Err(PipelineError::Usage(
            "wanted a picture or --prompt; with both, --mask says where the prompt is painted"
                .to_owned(),
        )),
        (Some(input), None) => file(arguments, command, input),
        (None, Some(prompt)) => plain(arguments, command, prompt),
        (None, None) => {
            Err(PipelineError::Usage("wanted a layout, a picture or --prompt".to_owned()))
        }
    }
}

/// A layout, or a picture of ours again.
fn file(arguments: &Arguments, command: &PaintCommand, input: &Path) -> Result<u8, PipelineError> {
    if command.strength.is_some() {
        return Err(PipelineError::Usage(
            "--strength is of a part that is painted anew; name it with --only, --set or --mask"
                .to_owned(),
        ));
    }
    let mut studio = studio(arguments, &override_paint(arguments, &command.paint)?)?;
    let not_repainted = || {
        let input = input.display();
        PipelineError::Usage(format!(
            "`{input}` is no repainting, so there is nothing that --of names"
        ))
    };
    match inspect::open(input)? {
        Inspected::Layout(layout) => {
            if command.of.is_some() {
                return Err(not_repainted());
            }
            let seed = setup::seed(command.seed).unwrap_or(layout.plan.seed);
            let order = Order { subject: Subject::Layout(&layout), seed, anew: None };
            painted(arguments, command, &studio, &PaintJob { order, same_as: None })
        }
        Inspected::Picture(record) => {
            // The picture's own settings, except where a flag says otherwise.
            let flags = &command.paint;
            studio.config.paint = setup::repaint(&record.paint, &studio.config.paint, flags)?;
            if record.noise_given && command.noise.is_none() {
                let text =
                    format!("`{}` began with given noise; name it with --noise", input.display());
                return Err(PipelineError::Usage(text));
            }
            let subject = shown(&record, input)?;
            let anew = match (&record.repainted, &command.of) {
                (Some(repainted), Some(of)) => {
                    let original = Original::read(of)?;
                    original.check(repainted)?;
                    spare(command, of)?;
                    let part = repainted.part.clone();
                    let how = (repainted.feather, repainted.strength);
                    let anew = Anew::new(original, part, how, subject)?;
                    Some(anew.with_contrast(repainted.contrast))
                }
                (Some(repainted), None) => {
                    return Err(PipelineError::Usage(format!(
                        "`{}` is a repainting; name the picture that it was, of the SHA-256 {}, with --of",
                        input.display(),
                        repainted.of
                    )));
                }
                (None, Some(_)) => return Err(not_repainted()),
                (None, None) => None,
            };
            let seed = setup::seed(command.seed).unwrap_or(record.seed);
            let order = Order { subject, seed, anew: anew.as_ref() };
            let same_as = same(command).then_some(&*record);
            painted(arguments, command, &studio, &PaintJob { order, same_as })
        }
        Inspected::Audit(_) => Err(PipelineError::Usage(format!(
            "`{}` says what was found in a picture; wanted the picture or its layout",
            input.display()
        ))),
        Inspected::Plan(_) | Inspected::Brief(_) => Err(PipelineError::Usage(format!(
            "`{}` has no boxes yet; `troupe plan` and `troupe layout` come before painting",
            input.display()
        ))),
    }
}

/// A part of a picture anew.
fn part(arguments: &Arguments, command: &PaintCommand, input: &Path) -> Result<u8, PipelineError> {
    let mut studio = studio(arguments, &override_paint(arguments, &command.paint)?)?;
    if command.of.is_some() {
        let text = "--of repeats a repainting, which --only, --set and --mask don't";
        return Err(PipelineError::Usage(text.to_owned()));
    }
    let original = Original::read(input)?;
    spare(command, input)?;
    let record = match inspect::picture(input) {
        Ok(record) => Some(record),
        Err(PipelineError::NoLayout(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(record) = &record {
        let flags = &command.paint;
        studio.config.paint = setup::repaint(&record.paint, &studio.config.paint, flags)?;
    }
    let prompted = command.prompt.as_deref().map(|prompt| prompted(prompt, original.canvas));
    let prompted = prompted.transpose()?;
    let changes: Vec<Change> =
        command.set.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let with_changes = match record.as_ref().and_then(|record| record.layout.as_ref()) {
        Some(layout) if !changes.is_empty() => Some(changed(layout, &changes)?),
        Some(_) | None => None,
    };
    let subject = match (&prompted, &with_changes, &record) {
        (Some(plain), ..) => Subject::Plain(plain),
        (None, Some(layout), _) => Subject::Layout(layout),
        (None, None, Some(record)) => shown(record, input)?,
        (None, None, None) => {
            return Err(PipelineError::Usage(format!(
                "`{}` wasn't painted by this program; say with --mask and --prompt where to paint what",
                input.display()
            )));
        }
    };
    let (part, name) = if let Some(mask) = &command.mask {
        (Part::Mask(mask_runs(mask, original.canvas)?), "mask".to_owned())
    } else {
        let mut people = command.only.clone();
        people.extend(changes.into_iter().map(|change| change.subject));
        let mut once = BTreeSet::new();
        people.retain(|id| once.insert(id.clone()));
        let name = people.join("/");
        (Part::Subjects(people), name)
    };
    let anew =
        Anew::new(original, part, (command.feather, command.strength.unwrap_or(1.0)), subject)?;
    let before = record.as_ref().map_or(Seed(studio.config.run.seed), |record| record.seed);
    let seed = setup::seed(command.seed).unwrap_or_else(|| before.repainting(&name));
    let order = Order { subject, seed, anew: Some(&anew) };
    let same_as = record.as_ref().filter(|_| prompted.is_none() && same(command));
    painted(arguments, command, &studio, &PaintJob { order, same_as })
}

/// A prompt as it is.
fn plain(arguments: &Arguments, command: &PaintCommand, prompt: &str) -> Result<u8, PipelineError> {
    let studio = studio(arguments, &override_paint(arguments, &command.paint)?)?;
    let canvas = match &command.size {
        Some(size) => setup::canvas(size)?,
        None => Room::new(&studio, &ModelFolder::open(&studio)?)?
            .canvas()
            .map_or_else(|| Canvas::new(512, 512), Ok)?,
    };
    let plain = prompted(prompt, canvas)?;
    let seed = setup::seed(command.seed).unwrap_or(Seed(studio.config.run.seed));
    let order = Order { subject: Subject::Plain(&plain), seed, anew: None };
    let job = PaintJob { order, same_as: None };
    painted(arguments, command, &studio, &job)
}

fn prompted(prompt: &str, canvas: Canvas) -> Result<Plain, PipelineError> {
    let prompt = UserPrompt::parse(&setup::text(prompt)?)?;
    Ok(Plain { prompt: prompt.text, loras: prompt.loras, canvas })
}

/// What a picture shows.
fn shown<'a>(record: &'a PictureRecord, path: &Path) -> Result<Subject<'a>, PipelineError> {
    match (&record.layout, &record.plain) {
        (Some(layout), _) => Ok(Subject::Layout(layout)),
        (None, Some(plain)) => Ok(Subject::Plain(plain)),
        (None, None) => Err(PipelineError::NoLayout(path.to_owned())),
    }
}

/// Whether a picture's own model and LoRAs are wanted.
fn same(command: &PaintCommand) -> bool {
    command.paint.model.is_none() && command.paint.loras.is_empty()
}

/// Refuses to write over the picture that is repainted, without which it can't be repeated.
fn spare(command: &PaintCommand, original: &Path) -> Result<(), PipelineError> {
    let place = |path: &Path| path.canonicalize().ok();
    if place(&command.output).is_some_and(|it| Some(it) == place(original)) {
        return Err(PipelineError::Usage(format!(
            "`{}` is the picture that is repainted, and stays; name another file with -o",
            original.display()
        )));
    }
    Ok(())
}

/// What is painted.
struct PaintJob<'a> {
    order: Order<'a>,
    /// The picture that must come out again, with the same model.
    same_as: Option<&'a PictureRecord>,
}

fn painted(
    arguments: &Arguments,
    command: &PaintCommand,
    studio: &Studio,
    job: &PaintJob<'_>,
) -> Result<u8, PipelineError> {
    let mut terminal = Terminal::new(arguments.quiet);
    let exchange =
        Exchange { noise: command.noise.clone(), save_latents: command.save_latents.clone() };
    let easel = Easel::load(
        studio,
        &ModelFolder::open(studio)?,
        &job.order.subject.asked(),
        &mut terminal,
    )?;
    if let Some(record) = job.same_as {
        easel.check(record)?;
    }
    let place = Place { picture: 1, of: 1 };
    let png = easel.paint(studio, job.order, &exchange, place, &mut terminal)?;
    drop(terminal);
    let output = &command.output;
    files::write_atomically(output, &png)?;
    if arguments.json {
        print(&format!("{}\n", json!({ "image": output, "seed": job.order.seed.0 })));
    } else {
        print(&format!("{}\n", output.display()));
    }
    Ok(0)
}
