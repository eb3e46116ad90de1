//! The run folder: its name, and `run.toml`, by which a run knows its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use troupe_models::hash::sha256;

use super::RunRequest;
use crate::{PipelineError, Studio, files};

/// By which a run knows its own.
const RUN_FILE: &str = "run.toml";
/// The digits of a run's hash.
const DIGITS: usize = 10;
/// The letters of a folder's name before them.
const LETTERS: usize = 24;
/// The largest `run.toml` that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// What `run.toml` says besides the configuration.
#[derive(Serialize)]
struct RunFile<'a> {
    schema: &'static str,
    hash: &'a str,
    program: String,
    pictures_per_prompt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<u32>,
    prompts: &'a [String],
    numeric_path: NumericPath,
}

/// What the pixels depend on besides the inputs.
#[derive(Serialize)]
struct NumericPath {
    architecture: &'static str,
    instructions: &'static str,
    threads: usize,
}

/// What an existing folder must agree on.
#[derive(Deserialize)]
struct Known {
    hash: String,
}

/// The hash of everything that the pictures of a run are a function of: resolved configuration, prompts, seed.
pub fn run_hash(studio: &Studio, wanted: &RunRequest) -> String {
    let mut text = studio.config.resolved_toml();
    for prompt in &wanted.prompts {
        text.push('\0');
        text.push_str(prompt);
    }
    let numbers = format!("\0{}\0{:?}", wanted.pictures, wanted.subjects);
    text.push_str(&numbers);
    sha256(text.as_bytes()).chars().take(DIGITS).collect()
}

/// The folders of a run's pictures, in order.
///
/// # Errors
///
/// If it can't be read.
pub fn pictures(run: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let entries = std::fs::read_dir(run).map_err(|error| {
        PipelineError::Usage(format!("`{}` can't be read: {error}", run.display()))
    })?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().chars().all(|it| it.is_ascii_digit()))
        })
        .collect();
    folders.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(folders)
}

/// `runs/<first words>-<hash>`.
pub fn default_folder(studio: &Studio, wanted: &RunRequest) -> PathBuf {
    let first = wanted.prompts.first().map_or("", String::as_str).to_lowercase();
    let letters: String =
        first.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { ' ' }).collect();
    let mut slug = String::new();
    for word in letters.split_whitespace() {
        if LETTERS < slug.len() + word.len() {
            break;
        }
        slug.push_str(word);
        slug.push('-');
    }
    Path::new("runs").join(format!("{slug}{}", run_hash(studio, wanted)))
}

fn place(studio: &Studio, wanted: &RunRequest) -> PathBuf {
    wanted.out.clone().unwrap_or_else(|| default_folder(studio, wanted))
}

/// Whether there is a run in the folder already.
pub(super) fn exists(studio: &Studio, wanted: &RunRequest) -> bool {
    place(studio, wanted).join(RUN_FILE).exists()
}

/// Makes the folder, or finds it and checks that it is of the same run.
pub(super) fn open(studio: &Studio, wanted: &RunRequest) -> Result<PathBuf, PipelineError> {
    let hash = run_hash(studio, wanted);
    let folder = place(studio, wanted);
    let path = folder.join(RUN_FILE);
    if path.exists() {
        let text = files::read_text(&path, LARGEST)?;
        let found = toml::from_str::<Known>(&text)
            .map_or("of an unreadable run.toml".to_owned(), |it| it.hash);
        if found != hash {
            return Err(PipelineError::OtherRun { path: folder, found, wanted: hash });
        }
        return Ok(folder);
    }
    let file = RunFile {
        schema: "troupe.run/1",
        hash: &hash,
        program: format!("troupe {}", env!("CARGO_PKG_VERSION")),
        pictures_per_prompt: wanted.pictures,
        subjects: wanted.subjects,
        prompts: &wanted.prompts,
        numeric_path: NumericPath {
            architecture: std::env::consts::ARCH,
            instructions: instructions(),
            threads: threads(studio),
        },
    };
    let head = toml::to_string(&file)
        .map_err(|error| PipelineError::Usage(format!("run.toml can't be written: {error}")))?;
    let text = format!("{head}\n# The resolved configuration.\n{}", studio.config.resolved_toml());
    files::write_atomically(&path, text.as_bytes())?;
    Ok(folder)
}

fn threads(studio: &Studio) -> usize {
    match studio.config.paint.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// The widest instruction set that the kernels may choose here.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "baseline"
}
