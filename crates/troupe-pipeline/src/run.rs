//! All stages for a list of prompts, in a folder from which an interrupted run goes on.
//!
//! Stage by stage: all prompts are read, then the whole batch is cast, then everything is laid out and painted. What
//! is on disk already is taken as it is, so a second call does only what is missing; every file is whole or absent.

mod folder;
mod tallies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use troupe_core::brief::{Brief, BriefDocument};
use troupe_core::document::{self, Document};
use troupe_core::layout::Layout;
use troupe_core::plan::ScenePlan;
use troupe_plan::prompt::UserPrompt;
use troupe_plan::seats::{PictureRequest, SubjectRange};

pub use folder::{default_folder, run_hash};

use crate::layout::Room;
use crate::paint::{Easel, Exchange, ModelFolder, Place, Subject, check_configured};
use crate::plan::{Reader, cast_all, request};
use crate::{PipelineError, Studio, Talk, files};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The prompts as the user wrote them.
    pub prompts: Vec<String>,
    /// How many pictures each prompt gets.
    pictures: u32,
    /// A number of people that overrules the prompts.
    pub subjects: Option<u32>,
    /// Where to; by default a name made of prompt and hash.
    pub out: Option<PathBuf>,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The run folder.
    pub folder: PathBuf,
    /// How many pictures there are now.
    pub pictures: usize,
    /// How many of them were there before.
    pub kept: usize,
    /// What failed.
    pub failed: Vec<Failure>,
}

/// A picture that could not be made.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its number, from 1.
    pub picture: usize,
    /// Why.
    pub error: String,
    /// The exit code of this failure alone.
    pub code: u8,
}

/// One picture of a run.
struct Job {
    folder: PathBuf,
    prompt: Result<UserPrompt, Failure>,
    brief: Option<Brief>,
}

impl RunRequest {
    /// Takes prompts, each for so many pictures.
    ///
    /// # Errors
    ///
    /// If there is no prompt, or no picture, or more than a million of them.
    pub fn new(
        prompts: Vec<String>,
        pictures: u32,
        subjects: Option<u32>,
        out: Option<PathBuf>,
    ) -> Result<Self, PipelineError> {
        let all = prompts.len().saturating_mul(pictures as usize);
        if !(1..=1_000_000).contains(&all) {
            return Err(PipelineError::Usage(format!(
                "wanted 1 to 1000000 pictures, and {all} are asked for"
            )));
        }
        Ok(Self { prompts, pictures, subjects, out })
    }

    /// How many pictures each prompt gets.
    pub fn pictures(&self) -> u32 {
        self.pictures
    }
}

/// Does all stages.
///
/// # Errors
///
/// If nothing at all can be done; what fails for single pictures is in the report.
pub fn run(
    studio: &Studio,
    wanted: &RunRequest,
    talk: &mut dyn Talk,
) -> Result<RunReport, PipelineError> {
    let model = ModelFolder::open(studio)?;
    let room = Room::new(studio, &model)?;
    check_configured(studio, &model)?;
    refuse_early(studio, wanted)?;
    let folder = folder::open(studio, wanted)?;
    let mut failed = Vec::new();
    let mut jobs = jobs(wanted, &folder);
    sweep(&folder, &jobs)?;

    read_all(studio, &mut jobs, &mut failed, talk)?;
    let plans = plan_all(studio, wanted, &jobs, &mut failed)?;
    let report = paint_all(studio, (&model, &room), &jobs, &plans, &mut failed, talk)?;
    tallies::write(&folder, &plans)?;
    failed.sort_by_key(|it: &Failure| it.picture);
    Ok(RunReport { folder, pictures: report.0, kept: report.1, failed })
}

/// Refuses what no picture could come of, before there is a folder.
fn refuse_early(studio: &Studio, wanted: &RunRequest) -> Result<(), PipelineError> {
    if let Some(people) = wanted.subjects {
        SubjectRange::new(people, people)?;
    }
    let mut refused = None;
    for written in &wanted.prompts {
        match UserPrompt::parse(written) {
            Ok(_) => {
                // A run that goes on may have no prompts left to read.
                if !folder::exists(studio, wanted) {
                    studio.manifest.planner(&studio.config.plan.model)?;
                }
                return Ok(());
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Removes what a killed run was writing; a picture is the last thing in its folder.
fn sweep(folder: &Path, jobs: &[Job]) -> Result<(), PipelineError> {
    files::remove_unfinished(folder)?;
    for job in jobs.iter().filter(|job| !job.folder.join("image.png").exists()) {
        files::remove_unfinished(&job.folder)?;
    }
    Ok(())
}

fn jobs(wanted: &RunRequest, folder: &Path) -> Vec<Job> {
    let mut jobs = Vec::new();
    for written in &wanted.prompts {
        for _ in 0..wanted.pictures {
            let number = jobs.len() + 1;
            let prompt = UserPrompt::parse(written).map_err(|error| failure(number, &error.into()));
            jobs.push(Job { folder: folder.join(format!("{number:04}")), prompt, brief: None });
        }
    }
    jobs
}

/// Reads every prompt once, or takes the brief that is there.
fn read_all(
    studio: &Studio,
    jobs: &mut [Job],
    failed: &mut Vec<Failure>,
    talk: &mut dyn Talk,
) -> Result<(), PipelineError> {
    let mut known: BTreeMap<String, Result<Brief, Failure>> = BTreeMap::new();
    let mut texts: Vec<&str> = jobs
        .iter()
        .filter_map(|job| job.prompt.as_ref().ok())
        .map(|prompt| prompt.text.as_str())
        .collect();
    texts.sort_unstable();
    texts.dedup();
    let of = texts.len();
    let mut reader: Option<Reader> = None;
    for (index, job) in jobs.iter_mut().enumerate() {
        let number = index + 1;
        let prompt = match &job.prompt {
            Ok(prompt) => prompt,
            Err(failure) => {
                failed.push(failure.clone());
                continue;
            }
        };
        let path = job.folder.join("brief.json");
        if path.exists() {
            let document: BriefDocument = read_document(&path)?;
            if document.prompt == prompt.text {
                known.insert(prompt.text.clone(), Ok(document.brief));
            }
        }
        if !known.contains_key(&prompt.text) {
            if talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            let mut open = match reader.take() {
                Some(open) => open,
                None => Reader::start(studio)?,
            };
            let read = open.read(&prompt.text, (known.len() + 1, of), talk);
            let entry = match read {
                Ok(read) => {
                    reader = Some(open);
                    Ok(read.brief)
                }
                Err(error) => {
                    if let PipelineError::Rejected { replies, .. } = &error {
                        keep_rejected(&job.folder, &prompt.text, replies)?;
                        reader = Some(open);
                    } // Else its process may be gone: the next prompt starts another.
                    Err(failure(number, &error))
                }
            };
            known.insert(prompt.text.clone(), entry);
        }
        match known.get(&prompt.text) {
            Some(Ok(brief)) => {
                job.brief = Some(brief.clone());
                if !path.exists() {
                    files::write_atomically(
                        &job.folder.join("prompt.txt"),
                        format!("{}\n", prompt.text).as_bytes(),
                    )?;
                    write_document(&path, &brief_document(&prompt.text, brief))?;
                }
            }
            Some(Err(failure)) => failed.push(Failure { picture: number, ..failure.clone() }),
            None => {}
        }
    }
    if let Some(reader) = reader {
        reader.close();
    }
    Ok(())
}

/// Casts the whole batch; a plan that is there, perhaps edited, is taken as it is.
fn plan_all(
    studio: &Studio,
    wanted: &RunRequest,
    jobs: &[Job],
    failed: &mut Vec<Failure>,
) -> Result<Vec<Option<ScenePlan>>, PipelineError> {
    let mut requests: Vec<Option<PictureRequest>> = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        let brief = job.brief.clone().zip(job.prompt.as_ref().ok());
        requests.push(
            brief.map(|(brief, prompt)| request(index as u64 + 1, prompt, brief, wanted.subjects)),
        );
    }
    let cast = cast_all(studio, &requests)?;
    for (index, error) in &cast.refused {
        failed.push(failure(index + 1, &error.clone().into()));
    }
    let mut plans = Vec::with_capacity(jobs.len());
    for (plan, job) in cast.plans().zip(jobs) {
        let path = job.folder.join("plan.json");
        let plan = match plan {
            Some(_) if path.exists() => Some(read_document(&path)?),
            Some(plan) => {
                write_document(&path, &plan)?;
                Some(plan)
            }
            None => None,
        };
        plans.push(plan);
    }
    Ok(plans)
}

/// Lays out and paints what is missing; returns how many pictures there are, and how many there were.
fn paint_all(
    studio: &Studio,
    (model, room): (&ModelFolder, &Room),
    jobs: &[Job],
    plans: &[Option<ScenePlan>],
    failed: &mut Vec<Failure>,
    talk: &mut dyn Talk,
) -> Result<(usize, usize), PipelineError> {
    let (mut pictures, mut kept) = (0, 0);
    let mut easel: Option<Easel> = None;
    for (index, (job, plan)) in jobs.iter().zip(plans).enumerate() {
        let Some(plan) = plan else { continue };
        let path = job.folder.join("image.png");
        if path.exists() {
            pictures += 1;
            kept += 1;
            continue;
        }
        if talk.stopped() {
            return Err(PipelineError::Stopped);
        }
        let place = Place { picture: index + 1, of: jobs.len() };
        let painted = layout_of(room, &job.folder, plan).and_then(|layout| {
            let ready = match easel.take() {
                Some(ready) if ready.suits(&plan.loras) => ready,
                Some(_) | None => Easel::load(studio, model, &plan.loras, talk)?,
            };
            for note in &plan.notes {
                talk.note(note);
            }
            let subject = Subject::Layout(&layout);
            let png = ready.paint(studio, subject, plan.seed, &Exchange::default(), place, talk)?;
            easel = Some(ready);
            files::write_atomically(&path, &png)?;
            Ok(())
        });
        match painted {
            Ok(()) => pictures += 1,
            // These would befall every other picture too.
            Err(error @ (PipelineError::Stopped | PipelineError::File(_))) => return Err(error),
            Err(error) => failed.push(failure(index + 1, &error)),
        }
    }
    Ok((pictures, kept))
}

/// The layout that is there, or a new one.
fn layout_of(room: &Room, folder: &Path, plan: &ScenePlan) -> Result<Layout, PipelineError> {
    let path = folder.join("layout.json");
    if path.exists() {
        return read_document(&path);
    }
    let layout = room.lay_out(plan)?;
    // The layout comes last: where it is, its drawing is too, wherever a run was killed.
    let svg = troupe_layout::drawing::svg(&layout);
    files::write_atomically(&folder.join("layout.svg"), svg.as_bytes())?;
    write_document(&path, &layout)?;
    Ok(layout)
}

/// A brief with what it was read from.
pub fn brief_document(prompt: &str, brief: &Brief) -> BriefDocument {
    BriefDocument {
        schema: BriefDocument::SCHEMA.to_owned(),
        prompt: prompt.to_owned(),
        brief: brief.clone(),
    }
}

/// Keeps replies that are no brief, beside where the brief would be.
///
/// # Errors
///
/// If the file can't be written.
pub fn keep_rejected(
    folder: &Path,
    prompt: &str,
    replies: &[String],
) -> Result<PathBuf, PipelineError> {
    let path = folder.join("brief.rejected.json");
    let kept = serde_json::json!({
        "schema": "troupe.rejected-brief/1", "prompt": prompt, "replies": replies,
    });
    files::write_atomically(&path, format!("{kept:#}\n").as_bytes())?;
    Ok(path)
}

/// Reads a document of ours.
///
/// # Errors
///
/// If it can't be read, or isn't one.
pub fn read_document<T: Document>(path: &Path) -> Result<T, PipelineError> {
    let text = files::read_text(path, 16 << 20)?;
    document::read(&text)
        .map_err(|source| PipelineError::Document { path: path.to_owned(), source })
}

/// Writes a document of ours.
///
/// # Errors
///
/// If it can't be written.
pub fn write_document<T: Document>(path: &Path, value: &T) -> Result<(), PipelineError> {
    let text = document::write(value)
        .map_err(|source| PipelineError::Document { path: path.to_owned(), source })?;
    Ok(files::write_atomically(path, text.as_bytes())?)
}

fn failure(picture: usize, error: &PipelineError) -> Failure {
    Failure { picture, error: error.to_string(), code: error.exit_code() }
}
