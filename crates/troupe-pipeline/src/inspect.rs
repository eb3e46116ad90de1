//! What a plan, a layout, a picture or a run says, for a person to read.

mod audit;

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use troupe_core::audit::Audit;
use troupe_core::brief::{Brief, BriefDocument};
use troupe_core::document::{self, Document};
use troupe_core::layout::Layout;
use troupe_core::plan::ScenePlan;

use crate::paint::{Part, PictureRecord};
use crate::run::read_document;
use crate::{PipelineError, files, metadata};

pub use self::audit::{audit, measured};

/// The largest picture that is read, in bytes.
const LARGEST: u64 = 512 << 20;

/// Something that can be inspected or painted.
#[derive(Clone, Debug)]
pub enum Inspected {
    /// `brief.json`.
    Brief(BriefDocument),
    /// `plan.json`.
    Plan(Box<ScenePlan>),
    /// `layout.json`.
    Layout(Box<Layout>),
    /// `audit.json`.
    Audit(Audit),
    /// A picture of ours.
    Picture(Box<PictureRecord>),
}

/// What a document of ours begins with.
#[derive(Deserialize)]
struct Probe {
    schema: Option<String>,
}

/// Opens a file by what is in it.
///
/// # Errors
///
/// If it is none of ours.
pub fn open(path: &Path) -> Result<Inspected, PipelineError> {
    let bytes = files::map(path)?;
    if (*bytes).as_ref().starts_with(b"\x89PNG") {
        return picture(path).map(|record| Inspected::Picture(Box::new(record)));
    }
    let text = files::read_text(path, 16 << 20)?;
    let schema = serde_json::from_str(&text).map(|Probe { schema }| schema.unwrap_or_default());
    match schema.as_deref() {
        Ok(BriefDocument::SCHEMA) => read_document(path).map(Inspected::Brief),
        Ok(ScenePlan::SCHEMA) => read_document(path).map(|it| Inspected::Plan(Box::new(it))),
        Ok(Layout::SCHEMA) => read_document(path).map(|it| Inspected::Layout(Box::new(it))),
        Ok(Audit::SCHEMA) => read_document(path).map(Inspected::Audit),
        Ok(found) => Err(PipelineError::NotOurs {
            path: path.to_owned(),
            found: found.chars().filter(|it| !it.is_control()).take(80).collect(),
        }),
        Err(error) => {
            Err(PipelineError::NotOurs { path: path.to_owned(), found: error.to_string() })
        }
    }
}

/// What a picture of ours says of itself.
///
/// # Errors
///
/// If it isn't one.
pub fn picture(path: &Path) -> Result<PictureRecord, PipelineError> {
    let bytes = files::map(path)?;
    let bytes = (*bytes).as_ref();
    if LARGEST < bytes.len() as u64 {
        return Err(PipelineError::NoLayout(path.to_owned()));
    }
    let contents = metadata::read_png(bytes)?;
    let text = contents.troupe.ok_or_else(|| PipelineError::NoLayout(path.to_owned()))?;
    document::read(&text)
        .map_err(|source| PipelineError::Document { path: path.to_owned(), source })
}

impl Inspected {
    /// As text for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Brief(document) => {
                line(&mut out, &format!("prompt   {}", document.prompt));
                brief(&mut out, &document.brief);
            }
            Self::Plan(it) => plan(&mut out, it),
            Self::Layout(it) => layout(&mut out, it),
            Self::Audit(it) => out.push_str(&audit(it)),
            Self::Picture(record) => {
                line(&mut out, &format!("model    {} [{}]", record.model.name, record.model.hash));
                for lora in &record.loras {
                    let scale = lora.scale.clone().unwrap_or_else(|| 1.0.into());
                    line(&mut out, &format!("LoRA     {} [{}] at {scale}", lora.name, lora.hash));
                }
                let paint = &record.paint;
                line(
                    &mut out,
                    &format!(
                        "painted  seed {}, {} steps of {}, guidance {}",
                        record.seed.0, paint.steps, paint.sampler, paint.guidance
                    ),
                );
                if let Some(it) = &record.repainted {
                    let part = match &it.part {
                        Part::Subjects(ids) => ids.join(", "),
                        Part::Mask(_) => "a mask".to_owned(),
                    };
                    let how = format!("feather {}, strength {}", it.feather, it.strength);
                    let text = format!("anew     {part} of {}, {how}", it.of);
                    line(&mut out, &text);
                }
                if let Some(plain) = &record.plain {
                    line(&mut out, &format!("prompt   {}", plain.prompt));
                }
                if let Some(it) = &record.layout {
                    layout(&mut out, it);
                }
            }
        }
        out
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn brief(out: &mut String, brief: &Brief) {
    for kind in &brief.people {
        let number = kind.number.map_or("some".to_owned(), |it| it.to_string());
        let stated: Vec<String> = kind
            .stated
            .iter()
            .map(|it| match it.of {
                Some(of) => format!("{} ({of})", it.what),
                None => it.what.clone(),
            })
            .collect();
        let stated = if stated.is_empty() {
            String::new()
        } else {
            format!("; stated: {}", stated.join(", "))
        };
        line(out, &format!("brief    {number} x {}{stated}", kind.noun));
    }
    for (name, text) in [
        ("activity", &brief.activity),
        ("clothing", &brief.clothing),
        ("setting", &brief.setting),
        ("style", &brief.style),
    ] {
        if !text.is_empty() {
            line(out, &format!("         {name}: {text}"));
        }
    }
}

fn plan(out: &mut String, plan: &ScenePlan) {
    line(out, &format!("prompt   {}", plan.prompt));
    brief(out, &plan.brief);
    line(
        out,
        &format!(
            "picture  {} of run seed {}, seed {}{}",
            plan.picture,
            plan.run_seed.0,
            plan.seed.0,
            if plan.edited { ", edited" } else { "" }
        ),
    );
    for proof in &plan.axes {
        let whose = proof.applies_to.as_ref().map_or(String::new(), |kinds| {
            let people: u32 = proof.cells.iter().map(|cell| cell.people).sum();
            format!(", of the kinds {}: {people} people", kinds.join(", "))
        });
        line(
            out,
            &format!("\n{} (scope {:?}, stream {}{whose})", proof.axis, proof.scope, proof.stream),
        );
        if proof.cells.is_empty() {
            continue;
        }
        line(out, "  value                 share   quota  stated  dealt   running quota / dealt");
        for cell in &proof.cells {
            if let Some(given) = &cell.given {
                line(out, &format!("  given {given}:"));
            }
            for tally in &cell.tallies {
                let running = tally.running.as_ref().map_or(String::new(), |it| {
                    format!(
                        "{:.2} / {} -> {:.2} / {}",
                        it.quota_before, it.dealt_before, it.quota_after, it.dealt_after
                    )
                });
                // Writing to a string can't fail.
                let _written = writeln!(
                    out,
                    "  {:<20} {:>5.1}%  {:>6.3}  {:>6}  {:>5}   {running}",
                    tally.value,
                    tally.share * 100.0,
                    tally.quota,
                    tally.stated,
                    tally.dealt
                );
            }
        }
    }
    line(out, &format!("\nscene    {}", plan.base_prompt));
    for subject in &plan.subjects {
        let values: Vec<&str> = subject.values.iter().map(|it| it.value.as_str()).collect();
        line(out, &format!("{:<8} {} [{}]", subject.id, subject.sub_prompt, values.join(", ")));
        for lora in &subject.loras {
            line(out, &format!("         LoRA {} at {}", lora.name, lora.scale));
        }
    }
    for note in &plan.notes {
        line(out, &format!("note     {note}"));
    }
}

fn layout(out: &mut String, layout: &Layout) {
    plan(out, &layout.plan);
    line(out, &format!("\ncanvas   {}x{}", layout.canvas.width(), layout.canvas.height()));
    for placement in &layout.subjects {
        let it = placement.bounds.edges();
        let x = |share: f64| (share * f64::from(layout.canvas.width())).round();
        let y = |share: f64| (share * f64::from(layout.canvas.height())).round();
        line(
            out,
            &format!(
                "{:<8} x {}..{}, y {}..{}, depth {}",
                placement.id,
                x(it.left),
                x(it.right),
                y(it.top),
                y(it.bottom),
                placement.depth
            ),
        );
    }
}
