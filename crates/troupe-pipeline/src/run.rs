//! All stages for a list of prompts, in a folder from which an interrupted run goes on.
//!
//! Stage by stage: all prompts are read, then the whole batch is cast, then everything is laid out, painted and judged. What
//! is on disk already is taken as it is, so a second call does only what is missing; every file is whole or absent. Tries of
//! a picture that isn't finished are painted once more.
//!
//! A picture's files are its own. Its `brief.json` is what it is cast from, and no other picture's; once it has a
//! `plan.json`, that holds, with the brief in it; a plan is read when its picture's turn comes. Memory holds the cast of
//! the batch, a few kilobytes a picture, and one plan.

mod briefs;
mod folder;
mod painting;
mod tallies;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use troupe_core::brief::Brief;
use troupe_core::document::{self, Document};
use troupe_core::plan::ScenePlan;
use troupe_plan::prompt::UserPrompt;
use troupe_plan::refresh::refresh;
use troupe_plan::seats::{PictureRequest, SubjectRange};
use troupe_render::Loras;

pub use briefs::{brief_document, keep_rejected};
pub use folder::{default_folder, pictures, run_hash};

use self::painting::{Painting, TRIES};
use self::tallies::Tallies;
use crate::audit::Which;
use crate::layout::Room;
use crate::paint::{ModelFolder, check_configured, find_lora};
use crate::plan::{cast_all, request};
use crate::{PipelineError, Studio, Talk, files};

/// The most pictures of a run, of which the cast is in memory: a gigabyte at worst.
const MOST_PICTURES: usize = 100_000;

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
    /// One for all pictures of a prompt.
    prompt: Result<Arc<UserPrompt>, Failure>,
    /// Until the batch is cast.
    brief: Option<Brief>,
    /// Whether it has a plan.
    planned: bool,
}

impl RunRequest {
    /// Takes prompts, each for so many pictures.
    ///
    /// # Errors
    ///
    /// If there is no prompt, or no picture, or more than a hundred thousand of them.
    pub fn new(
        prompts: Vec<String>,
        pictures: u32,
        subjects: Option<u32>,
        out: Option<PathBuf>,
    ) -> Result<Self, PipelineError> {
        let all = prompts.len().saturating_mul(pictures as usize);
        if !(1..=MOST_PICTURES).contains(&all) {
            return Err(PipelineError::Usage(format!(
                "wanted 1 to {MOST_PICTURES} pictures, and {all} are asked for"
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
    let mut painting = Painting::new(studio, &model, &room, talk)?;
    refuse_early(studio, wanted, &model)?;
    let folder = folder::open(studio, wanted)?;
    let mut failed = Vec::new();
    let mut jobs = jobs(wanted, &folder);
    sweep(&folder, &jobs)?;

    briefs::read_all(studio, &mut jobs, &mut failed, talk)?;
    let tallies = plan_all(studio, wanted, &mut jobs, &mut failed)?;
    let (pictures, kept) = painting.all(&jobs, &mut failed, talk)?;
    tallies.write(&folder)?;
    if let Some(measured) = painting.measured().filter(|it| 0 < it.pictures) {
        write_json(&folder.join(Which::First.measured_file()), &measured)?;
    }
    failed.sort_by_key(|it: &Failure| it.picture);
    Ok(RunReport { folder, pictures, kept, failed })
}

/// Refuses what no picture could come of, before there is a folder.
fn refuse_early(
    studio: &Studio,
    wanted: &RunRequest,
    model: &ModelFolder,
) -> Result<(), PipelineError> {
    if let Some(people) = wanted.subjects {
        SubjectRange::new(people, people)?;
    }
    let (mut refused, mut some, mut tags) = (None, false, Vec::new());
    for written in &wanted.prompts {
        match UserPrompt::parse(written) {
            Ok(prompt) => {
                some = true;
                tags.extend(prompt.loras);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) if !some => return Err(error.into()),
        Some(_) | None => {}
    }
    // One that is missing would leave seats in the cast that nobody paints.
    tags.sort_by(|a, b| a.name.cmp(&b.name));
    tags.dedup_by(|a, b| a.name == b.name);
    for tag in &tags {
        let tagged = [find_lora(studio, &tag.name)?.scaled(tag.weight.into())];
        model.fits(Loras { merged: &tagged, bound: &[] })?;
    }
    // A run that goes on may have no prompts left to read.
    if !folder::exists(studio, wanted) {
        studio.manifest.planner(&studio.config.plan.model)?;
    }
    Ok(())
}

/// Removes what a killed run was writing.
fn sweep(folder: &Path, jobs: &[Job]) -> Result<(), PipelineError> {
    files::remove_unfinished(folder)?;
    for job in jobs {
        files::remove_unfinished(&job.folder)?;
        files::remove_unfinished(&job.folder.join(TRIES))?;
    }
    Ok(())
}

fn jobs(wanted: &RunRequest, folder: &Path) -> Vec<Job> {
    let mut jobs = Vec::new();
    for written in &wanted.prompts {
        let parsed = UserPrompt::parse(written).map(Arc::new);
        for _ in 0..wanted.pictures {
            let number = jobs.len() + 1;
            let prompt = parsed.clone().map_err(|error| failure(number, &error.into()));
            let folder = folder.join(format!("{number:04}"));
            jobs.push(Job { folder, prompt, brief: None, planned: false });
        }
    }
    jobs
}

/// Casts the whole batch, and writes the plans; one that is there, perhaps edited, is taken as it is.
fn plan_all(
    studio: &Studio,
    wanted: &RunRequest,
    jobs: &mut [Job],
    failed: &mut Vec<Failure>,
) -> Result<Tallies, PipelineError> {
    let mut requests: Vec<Option<PictureRequest>> = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter_mut().enumerate() {
        let brief = job.brief.take().zip(job.prompt.as_ref().ok());
        requests.push(
            brief.map(|(brief, prompt)| request(index as u64 + 1, prompt, brief, wanted.subjects)),
        );
    }
    let cast = cast_all(studio, &requests)?;
    for (index, error) in &cast.refused {
        failed.push(failure(index + 1, &error.clone().into()));
    }
    let mut tallies = Tallies::default();
    for (plan, job) in cast.plans().zip(jobs) {
        let Some(mut plan) = plan else { continue };
        let path = job.folder.join("plan.json");
        if path.exists() {
            plan = plan_of(job)?;
        } else {
            write_document(&path, &plan)?;
        }
        tallies.add(&plan);
        job.planned = true;
    }
    Ok(tallies)
}

/// The plan of a picture as it is on disk; a person may have edited it.
fn plan_of(job: &Job) -> Result<ScenePlan, PipelineError> {
    let mut plan = read_document(&job.folder.join("plan.json"))?;
    refresh(&mut plan);
    Ok(plan)
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

/// Writes what is for other programs to read and none of ours.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PipelineError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        PipelineError::Usage(format!("`{}` can't be written: {error}", path.display()))
    })?;
    Ok(files::write_atomically(path, format!("{text}\n").as_bytes())?)
}

fn failure(picture: usize, error: &PipelineError) -> Failure {
    Failure { picture, error: error.to_string(), code: error.exit_code() }
}
