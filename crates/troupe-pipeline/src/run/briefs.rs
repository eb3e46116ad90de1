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
    for job in jobs.iter_mut() {
        match &job.prompt {
            Ok(prompt) => job.brief = found(&job.folder, &prompt.text, talk)?,
            Err(failure) => failed.push(failure.clone()),
        }
    }
    let mut known = refused(jobs);
    let (mut read, of) = (0, unread(jobs).len() - known.len());
    let mut reader: Option<Reader> = None;
    for (index, job) in jobs.iter_mut().enumerate() {
        let number = index + 1;
        let prompt = match &job.prompt {
            Ok(prompt) if job.brief.is_none() => prompt,
            Ok(_) | Err(_) => continue,
        };
        if !known.contains_key(&prompt.text) {
            if talk.stopped() {
                return Err(PipelineError::Stopped);
            }
            let mut open = match reader.take() {
                Some(open) => open,
                None => Reader::start(studio)?,
            };
            read += 1;
            let entry = match open.read(&prompt.text, (read, of), talk) {
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

/// The prompts of pictures without a brief, and the first such picture of each, from 0.
fn unread(jobs: &[Job]) -> BTreeMap<&str, usize> {
    let mut first = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        if let (Ok(prompt), None) = (&job.prompt, &job.brief) {
            first.entry(prompt.text.as_str()).or_insert(index);
        }
    }
    first
}

/// The unread prompts that stay out of the run.
///
/// Casting starts when all briefs are final; what failed before it can't come in later.
fn refused(jobs: &[Job]) -> BTreeMap<String, Result<Brief, Failure>> {
    if !jobs.iter().any(|job| job.folder.join("plan.json").exists()) {
        return BTreeMap::new();
    }
    let refuse = |(text, index): (&str, usize)| {
        let rejected = jobs[index].folder.join("brief.rejected.json");
        let error = PipelineError::Usage(format!(
            "its brief failed before the others were cast, and stays out of this run; see `{}`",
            rejected.display()
        ));
        rejected.exists().then(|| (text.to_owned(), Err(failure(index + 1, &error))))
    };
    unread(jobs).into_iter().filter_map(refuse).collect()
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use troupe_plan::prompt::UserPrompt;

    use super::*;

    #[test]
    fn only_what_is_still_to_be_read_is_counted() {
        let brief = Brief::of(Vec::new());
        let run = tempfile::tempdir().unwrap();
        let job = |(number, prompt): (usize, &str)| Job {
            folder: run.path().join(number.to_string()),
            prompt: Ok(Arc::new(UserPrompt::parse(prompt).unwrap())),
            brief: (prompt == "some chefs").then(|| brief.clone()),
            planned: false,
        };
        let prompts = ["some chefs", "two pilots", "some chefs", "a wizard", "two pilots"];
        let jobs: Vec<Job> = prompts.into_iter().enumerate().map(job).collect();
        assert_eq!(unread(&jobs), BTreeMap::from([("two pilots", 1), ("a wizard", 3)]));

        for (job, file) in [(&jobs[3], "brief.rejected.json"), (&jobs[0], "plan.json")] {
            assert!(refused(&jobs).is_empty());
            fs::create_dir(&job.folder).unwrap();
            fs::write(job.folder.join(file), "").unwrap();
        }
        assert_eq!(refused(&jobs).into_keys().collect::<Vec<_>>(), ["a wizard"]);
    }
}
