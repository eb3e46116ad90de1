//! Commands that print.

use std::path::Path;

use serde_json::json;
use troupe_pipeline::PipelineError;
use troupe_pipeline::inspect::{self, Inspected};
use troupe_pipeline::paint::LoraFile;
use troupe_pipeline::pull::{self, PullError, Request};
use troupe_pipeline::run;

use super::setup;
use crate::arguments::Arguments;
use crate::terminal::{Terminal, plain, print};

pub(super) fn inspect(arguments: &Arguments, path: &Path) -> Result<u8, PipelineError> {
    if !path.is_dir() {
        let inspected = inspect::open(path)?;
        if arguments.json {
            let value = match &inspected {
                Inspected::Brief(it) => json!(it),
                Inspected::Plan(it) => json!(it),
                Inspected::Layout(it) => json!(it),
                Inspected::Audit(it) => json!(it),
                Inspected::Picture(it) => json!(it),
            };
            print(&format!("{value:#}\n"));
        } else {
            print(&plain(&inspected.text()));
        }
        return Ok(0);
    }
    let pictures = run::pictures(path)?;
    if pictures.is_empty() {
        let text = format!(
            "`{}` is no run folder: it has no picture's folder such as 0001",
            path.display()
        );
        return Err(PipelineError::Usage(text));
    }
    let mut values = Vec::new();
    for folder in pictures {
        let file = ["layout.json", "plan.json", "brief.json"]
            .into_iter()
            .map(|name| folder.join(name))
            .find(|file| file.is_file());
        let painted = folder.join("image.png").is_file();
        let inspected = file.map(|file| inspect::open(&file)).transpose()?;
        if arguments.json {
            let value = match &inspected {
                Some(Inspected::Layout(it)) => json!(it),
                Some(Inspected::Plan(it)) => json!(it),
                Some(Inspected::Brief(it)) => json!(it),
                Some(Inspected::Audit(_) | Inspected::Picture(_)) | None => json!(null),
            };
            values.push(json!({ "folder": folder, "painted": painted, "document": value }));
            continue;
        }
        let state = if painted { "painted" } else { "not painted yet" };
        print(&format!("== {} ({state})\n", folder.display()));
        if let Some(inspected) = inspected {
            print(&plain(&format!("{}\n", inspected.text())));
        }
    }
    if arguments.json {
        print(&format!("{:#}\n", json!(values)));
    }
    Ok(0)
}

pub(super) fn models(arguments: &Arguments) -> Result<u8, PipelineError> {
    let manifest = setup::manifest(arguments)?;
    let kinds = [
        ("planner", &manifest.planner),
        ("painter", &manifest.painter),
        ("judge", &manifest.judge),
    ];
    if arguments.json {
        let entries: serde_json::Map<_, _> =
            kinds.iter().map(|(kind, entries)| ((*kind).to_owned(), json!(entries))).collect();
        print(&format!("{:#}\n", json!(entries)));
        return Ok(0);
    }
    for (kind, entries) in kinds {
        for entry in entries {
            let path = manifest.path_of(entry);
            let state = if path.exists() { "there" } else { "missing" };
            print(&format!(
                "{kind:<7}  {:<16} {state:<8} {:<12} {}\n         {}\n",
                entry.name,
                entry.licence,
                path.display(),
                entry.source
            ));
        }
    }
    Ok(0)
}

pub(super) fn pull(
    arguments: &Arguments,
    model: &str,
    variant: Option<&str>,
) -> Result<u8, PipelineError> {
    let manifest = setup::manifest(arguments)?;
    let request = Request { variant: variant.map(str::to_owned), ..manifest.pulled(model)? };
    let cache = manifest.hub.as_deref().ok_or(PullError::NoCache)?;
    let mut hub = pull::connect(&setup::hub_settings())?;
    let mut terminal = Terminal::new(arguments.quiet);
    let pulled = pull::pull(&mut *hub, cache, &request, &mut terminal)?;
    drop(terminal);
    if arguments.json {
        print(&format!("{:#}\n", json!(pulled)));
    } else {
        print(&format!("{}\n", pulled.path.display()));
    }
    Ok(0)
}

pub(super) fn verify(arguments: &Arguments) -> Result<u8, PipelineError> {
    let verified = setup::manifest(arguments)?.verify();
    if arguments.json {
        print(&format!("{:#}\n", json!(verified)));
    } else {
        for it in &verified {
            let state = it.problem.as_deref().unwrap_or("ok");
            print(&format!("{}  {}  {state}\n", it.model, it.file.display()));
        }
    }
    Ok(if verified.iter().any(|it| it.problem.is_some()) { 3 } else { 0 })
}

pub(super) fn lora(arguments: &Arguments, file: &Path) -> Result<u8, PipelineError> {
    let lora = LoraFile::open(file)?;
    let inspection = lora.adapter.inspect();
    let value = json!({ "name": lora.name, "hash": lora.hash, "lora": inspection });
    if arguments.json {
        print(&format!("{value:#}\n"));
    } else {
        print(&format!("{}  [{}]\n{:#}\n", lora.name, lora.hash, json!(inspection)));
    }
    Ok(0)
}

pub(super) fn config(arguments: &Arguments) -> Result<u8, PipelineError> {
    let config = setup::config(arguments, &[])?;
    if arguments.json {
        print(&format!("{:#}\n", json!(config)));
    } else {
        print(&config.resolved_toml());
    }
    Ok(0)
}
