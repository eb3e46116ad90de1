//! Looking at finished pictures.

use std::path::Path;

use serde_json::json;
use troupe_pipeline::PipelineError;
use troupe_pipeline::audit::{Examiner, Judged, Which};
use troupe_pipeline::core::document;
use troupe_pipeline::inspect;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::run::{read_document, write_document};

use super::setup;
use crate::arguments::Arguments;
use crate::terminal::{Terminal, plain, print};

/// What is wanted of an audit.
pub(super) struct Wanted<'a> {
    /// A picture or a run folder.
    pub(super) path: &'a Path,
    pub(super) layout: Option<&'a Path>,
    pub(super) output: Option<&'a Path>,
    pub(super) judge: Option<&'a str>,
    pub(super) which: Which,
}

pub(super) fn audit(arguments: &Arguments, wanted: &Wanted<'_>) -> Result<u8, PipelineError> {
    let manifest = setup::manifest(arguments)?;
    let examiner = examiner(arguments, &manifest, wanted)?;
    let mut terminal = Terminal::new(arguments.quiet);
    if wanted.path.is_dir() {
        if wanted.layout.is_some() || wanted.output.is_some() {
            let text = "--layout and --output are of one picture, and this is a folder";
            return Err(PipelineError::Usage(text.to_owned()));
        }
        let measured = examiner.audit_run(wanted.path, &mut terminal)?;
        drop(terminal);
        if arguments.json {
            print(&format!("{:#}\n", json!(measured)));
        } else {
            print(&plain(&inspect::measured(&measured)));
        }
        return Ok(0);
    }
    let layout = wanted.layout.map(read_document).transpose()?;
    let Judged { painter, audit, .. } = examiner.audit_file(wanted.path, layout)?;
    if let Some(painter) = painter {
        examiner.warn_of_strange_style(&painter, &mut terminal);
    }
    drop(terminal);
    if let Some(output) = wanted.output {
        write_document(output, &audit)?;
    }
    if arguments.json {
        let written = document::write(&audit);
        print(&written.map_err(|error| PipelineError::Usage(error.to_string()))?);
    } else {
        print(&plain(&inspect::audit(&audit)));
    }
    Ok(0)
}

/// The judge that is named, or configured, or the one that there is.
fn examiner(
    arguments: &Arguments,
    manifest: &Manifest,
    wanted: &Wanted<'_>,
) -> Result<Examiner, PipelineError> {
    let mut audit = setup::config(arguments, &[])?.audit;
    if let Some(judge) = wanted.judge {
        judge.clone_into(&mut audit.judge);
    }
    Examiner::for_pictures(manifest, &audit, wanted.path, wanted.which)
}
