//! The first stage of a run: every picture's brief, read or found.
//!
//! The language model reads a prompt once, and each of its pictures gets a copy. A copy that a person edits is that
//! picture's alone: a picture that has none has its prompt read anew. Once a picture is cast, the brief in its plan holds,
//! and another in `brief.json` is reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use troupe_core::brief::{Brief, BriefDocument};
use troupe_core::document::Document;
use troupe_core::plan::ScenePlan;

use super::{Failure, Job, failure, read_document, write_document};
use crate::plan::Reader;
use crate::{PipelineError, Studio, Talk, files};

/// Takes the briefs that are there, and reads every other prompt once.
pub(super) fn read_all(
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
    // Casting starts when all briefs are final; what failed before it can't come in later.
    let cast_before = jobs.iter().any(|job| job.folder.join("plan.json").exists());
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
        if let Some(brief) = found(&job.folder, &prompt.text, talk)? {
            job.brief = Some(brief);
            continue;
        }
        let rejected = job.folder.join("brief.rejected.json");
        if !known.contains_key(&prompt.text) && cast_before && rejected.exists() {
            let error = PipelineError::Usage(format!(
                "its brief failed before the others were cast, and stays out of this run; see `{}`",
                rejected.display()
            ));
            known.insert(prompt.text.clone(), Err(failure(number, &error)));
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
                Err(PipelineError::Stopped) => return Err(PipelineError::Stopped),
                Err(mut error) => {
                    let mut kept_replies: &[String] = &[];
                    if let PipelineError::Rejected { replies, .. } = &error {
                        kept_replies = replies;
                        reader = Some(open);
                    } // Else its process may be gone: the next prompt starts another.
                    let file = keep_rejected(&job.folder, &prompt.text, kept_replies)?;
                    if let PipelineError::Rejected { kept, .. } = &mut error {
                        *kept = format!("; the raw replies are in `{}`", file.display());
                    }
                    Err(failure(number, &error))
                }
            };
            known.insert(prompt.text.clone(), entry);
        }
        match known.get(&prompt.text) {
            Some(Ok(brief)) => {
                job.brief = Some(brief.clone());
                files::write_atomically(
                    &job.folder.join("prompt.txt"),
                    format!("{}\n", prompt.text).as_bytes(),
                )?;
                let document = brief_document(&prompt.text, brief);
                write_document(&job.folder.join("brief.json"), &document)?;
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

/// The brief that a picture has already: that of its plan, or else its own.
fn found(folder: &Path, prompt: &str, talk: &mut dyn Talk) -> Result<Option<Brief>, PipelineError> {
    let (path, plan) = (folder.join("brief.json"), folder.join("plan.json"));
    let own = if path.exists() {
        let document: BriefDocument = read_document(&path)?;
        if document.prompt != prompt {
            return Err(PipelineError::OtherPrompt {
                path,
                found: document.prompt,
                wanted: prompt.to_owned(),
            });
        }
        Some(document.brief)
    } else {
        None
    };
    if !plan.exists() {
        return Ok(own);
    }
    let cast: ScenePlan = read_document(&plan)?;
    if own.is_some_and(|own| own != cast.brief) {
        talk.note(&format!(
            "`{}` has another brief in it than `{}`, and holds; remove it to have the picture cast anew",
            plan.display(),
            path.display()
        ));
    }
    Ok(Some(cast.brief))
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
