//! From flags and environment to a studio.

use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use troupe_pipeline::config::{self, Config, PaintConfig};
use troupe_pipeline::core::layout::{Canvas, Layout};
use troupe_pipeline::core::seed::Seed;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::pull::HubSettings;
use troupe_pipeline::{ChildLog, ChildProgram, PipelineError, Studio, files};
use troupe_plan::prompt::LONGEST_PROMPT;

use super::lora_flag::LoraFlag;
use crate::arguments::{Arguments, PaintFlags};

/// Keys of the configuration that flags set, and their values as TOML.
pub(super) type Overrides = Vec<(String, String)>;

/// The largest configuration and list of prompts, in bytes.
const LARGEST_CONFIG: u64 = 1 << 20;
const LARGEST_LIST: u64 = 64 << 20;
/// The most bytes that are read from standard input: a prompt of the most characters has fewer.
const LONGEST_INPUT: u64 = 1 << 16;

pub(super) fn studio(
    arguments: &Arguments,
    overrides: &[(String, String)],
) -> Result<Studio, PipelineError> {
    let config = config(arguments, overrides)?;
    let program = std::env::current_exe().map_err(|error| {
        PipelineError::Usage(format!("this program's own file can't be found: {error}"))
    })?;
    let child = ChildProgram {
        program,
        arguments: vec![OsString::from("llm-serve")],
        log: ChildLog::Quoted,
        stop: Some(crate::terminal::stop_flag()),
    };
    Studio::new(config, manifest(arguments)?, child)
}

pub(super) fn config(
    arguments: &Arguments,
    overrides: &[(String, String)],
) -> Result<Config, PipelineError> {
    let path = match &arguments.config {
        Some(path) => Some(path.clone()),
        None => Some(PathBuf::from("pipeline.toml")).filter(|path| path.is_file()),
    };
    let text = path.as_deref().map(|path| files::read_text(path, LARGEST_CONFIG)).transpose()?;
    let name = path.map(|path| path.display().to_string());
    let file = name.as_deref().zip(text.as_deref());
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
        .filter(|(name, _)| name.starts_with("TROUPE_"))
        .collect();
    Ok(Config::load(file, &environment, overrides)?)
}

/// The models' folder: as said, or `models` here, or beside one of the folders above this program.
pub(super) fn manifest(arguments: &Arguments) -> Result<Manifest, PipelineError> {
    Ok(Manifest { hub: hub(), ..models(arguments)? })
}

/// Where the hub is, and whether it may be asked, by the variables of `huggingface_hub`.
pub(super) fn hub_settings() -> HubSettings {
    let variable = |name: &str| std::env::var_os(name)?.into_string().ok();
    let offline = variable("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    HubSettings {
        endpoint: variable("HF_ENDPOINT").filter(|endpoint| !endpoint.is_empty()),
        offline: ["1", "ON", "YES", "TRUE"].contains(&offline.as_str()),
    }
}

/// Where `huggingface_hub` keeps its cache, by its own variables.
fn hub() -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value))
    };
    let home = || {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        variable("HF_HOME").or_else(|| Some(cache?.join("huggingface")))
    };
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named.or_else(|| Some(home()?.join("hub")))
}

fn models(arguments: &Arguments) -> Result<Manifest, PipelineError> {
    if let Some(folder) = &arguments.models {
        return Ok(Manifest::open(folder)?);
    }
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|it| it.ancestors()).map(|it| it.join("models"));
    let folder = std::iter::once(PathBuf::from("models"))
        .chain(above)
        .find(|folder| folder.join("manifest.toml").is_file());
    Ok(Manifest::open(&folder.unwrap_or_else(|| PathBuf::from("models")))?)
}

pub(super) fn overrides(seed: Option<u64>) -> Overrides {
    seed.map(|seed| ("run.seed".to_owned(), seed.to_string())).into_iter().collect()
}

/// The flags that paint, as keys of `[paint]`.
pub(super) fn override_paint(
    arguments: &Arguments,
    flags: &PaintFlags,
) -> Result<Overrides, PipelineError> {
    let mut sampler = flags.sampler.clone();
    if flags.schedule.is_some() {
        let named = match sampler {
            Some(named) => named,
            None => config(arguments, &[])?.paint.sampler,
        };
        sampler = Some(scheduled(&named, flags)?);
    }
    let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let mut overrides: Overrides = [
        ("model", flags.model.clone()),
        ("vae", flags.vae.clone()),
        ("negative", flags.negative.clone()),
        ("dtype", flags.dtype.clone()),
        ("sampler", sampler),
        ("steps", flags.steps.map(|it| it.to_string())),
        ("eta", flags.eta.map(|it| format!("{it:?}"))),
        ("spacing", flags.spacing.clone()),
        ("rng", flags.rng.clone()),
        ("guidance", flags.guidance.map(|it| format!("{it:?}"))),
        ("guidance_rescale", flags.guidance_rescale.map(|it| format!("{it:?}"))),
        ("regions.base_ratio", flags.base_ratio.map(|it| format!("{it:?}"))),
        ("regions.isolate", flags.isolate.map(|it| format!("{it:?}"))),
        ("second_pass.strength", flags.second_pass.map(|it| format!("{it:?}"))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("paint.{key}"), value?)))
    .collect();
    let regions = flags.region.iter().cloned();
    overrides.extend(regions.map(|(key, value)| (format!("paint.regions.{key}"), value)));
    if !flags.loras.is_empty() {
        let loras = flags.loras.iter().map(|flag| {
            let LoraFlag { path, scale, blocks, subject } = LoraFlag::parse(flag)?;
            let block =
                |(part, scale): (&&str, &f64)| format!("{} = {scale:?}", quoted(&part.to_string()));
            let blocks: Vec<String> = blocks.iter().map(block).collect();
            let subject =
                subject.map(|id| format!(", subjects = {{ id = {} }}", quoted(&id.to_owned())));
            Ok(format!(
                "{{ path = {}, scale = {scale:?}, blocks = {{ {} }}{} }}",
                quoted(&path.to_owned()),
                blocks.join(", "),
                subject.unwrap_or_default()
            ))
        });
        let loras: Vec<String> = loras.collect::<Result<_, PipelineError>>()?;
        overrides.push(("paint.loras".to_owned(), format!("[{}]", loras.join(", "))));
    }
    Ok(overrides)
}

/// The sampler with the schedule that the flags ask for, if they do.
fn scheduled(sampler: &str, flags: &PaintFlags) -> Result<String, PipelineError> {
    match &flags.schedule {
        Some(schedule) => config::with_schedule(sampler, schedule)
            .map_err(|problem| PipelineError::Usage(format!("--schedule: {problem}"))),
        None => Ok(sampler.to_owned()),
    }
}

/// A picture's own settings, except where a flag says otherwise.
pub(super) fn repaint(
    recorded: &PaintConfig,
    now: &PaintConfig,
    flags: &PaintFlags,
) -> Result<PaintConfig, PipelineError> {
    let mut paint = recorded.clone();
    paint.threads = now.threads;
    for lora in &mut paint.loras {
        // A picture has names only; the files are the configured ones, or lie in `loras/`.
        let own = now.loras.iter().find(|own| {
            Path::new(&own.path).file_name().is_some_and(|name| name.to_string_lossy() == lora.path)
        });
        lora.path = match own {
            Some(own) => own.path.clone(),
            None => Path::new("loras").join(&lora.path).display().to_string(),
        };
    }
    // So it is with the autoencoder and the textual inversions.
    let full = |name: &String, paths: &[String]| {
        let own = paths.iter().find(|path| {
            Path::new(path).file_name().is_some_and(|file| file.to_string_lossy() == *name)
        });
        own.unwrap_or(name).clone()
    };
    paint.vae = full(&paint.vae, std::slice::from_ref(&now.vae));
    paint.embeddings = paint.embeddings.iter().map(|name| full(name, &now.embeddings)).collect();
    if flags.model.is_some() {
        paint.model.clone_from(&now.model);
    }
    if flags.vae.is_some() {
        paint.vae.clone_from(&now.vae);
    }
    if flags.negative.is_some() {
        paint.negative.clone_from(&now.negative);
    }
    if flags.dtype.is_some() {
        paint.dtype = now.dtype;
    }
    if flags.sampler.is_some() {
        paint.sampler.clone_from(&now.sampler);
    }
    paint.sampler = scheduled(&paint.sampler, flags)?;
    if flags.steps.is_some() {
        paint.steps = now.steps;
    }
    if flags.eta.is_some() {
        paint.eta = now.eta;
    }
    if flags.spacing.is_some() {
        paint.spacing = now.spacing;
    }
    if flags.rng.is_some() {
        paint.rng = now.rng;
    }
    if flags.guidance.is_some() {
        paint.guidance = now.guidance;
    }
    if flags.guidance_rescale.is_some() {
        paint.guidance_rescale = now.guidance_rescale;
    }
    if flags.second_pass.is_some() {
        paint.second_pass.strength = now.second_pass.strength;
    }
    let regions = flags.region.iter().map(|(key, _)| key.as_str());
    let ratio = flags.base_ratio.map(|_| "base_ratio");
    for key in regions.chain(ratio).chain(flags.isolate.map(|_| "isolate")) {
        paint.regions.take(key, &now.regions);
    }
    if !flags.loras.is_empty() {
        paint.loras.clone_from(&now.loras);
    }
    Ok(paint)
}

/// The seed that a flag names; a negative one stands for any.
pub(super) fn seed(flag: Option<i64>) -> Option<Seed> {
    let flag = flag?;
    Some(u64::try_from(flag).map_or_else(
        |_| {
            let seed = Seed(u64::from(std::process::id()) ^ nanoseconds()).picture(1);
            crate::terminal::say(&format!("note: seed {}", seed.0));
            seed
        },
        Seed,
    ))
}

/// Something that is never the same twice.
#[expect(clippy::disallowed_methods, reason = "the user asked for any seed, and is told which")]
fn nanoseconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |it| u64::from(it.subsec_nanos()) ^ it.as_secs())
}

/// `WxH`.
pub(super) fn canvas(text: &str) -> Result<Canvas, PipelineError> {
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
        Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
    });
    match sides {
        Some((width, height)) => Ok(Canvas::new(width, height)?),
        None => {
            Err(PipelineError::Usage(format!("wanted a size such as 384x192, and it is `{text}`")))
        }
    }
}

/// A prompt, or standard input for `-`.
pub(super) fn text(prompt: &str) -> Result<String, PipelineError> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    let failed = |problem: String| {
        PipelineError::Usage(format!("the prompt on standard input can't be read: {problem}"))
    };
    let mut bytes = Vec::new();
    let input = std::io::stdin().lock().take(LONGEST_INPUT + 1).read_to_end(&mut bytes);
    input.map_err(|error| failed(error.to_string()))?;
    if LONGEST_INPUT < bytes.len() as u64 {
        return Err(failed(format!(
            "wanted at most {LONGEST_PROMPT} characters, and there are more than {LONGEST_INPUT} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| failed(format!("it is no UTF-8 text ({error})")))
}

/// The prompts of a file: its lines, without empty ones and those that begin with `#`.
pub(super) fn lines(path: &Path) -> Result<Vec<String>, PipelineError> {
    let text = files::read_text(path, LARGEST_LIST)?;
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// A layout as a picture of its boxes, in the form that the file's name asks for.
pub(super) fn draw(path: &Path, layout: &Layout) -> Result<Vec<u8>, PipelineError> {
    let form = path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    match form.as_str() {
        "svg" => Ok(troupe_layout::drawing::svg(layout).into_bytes()),
        "png" => {
            let mut bytes = Cursor::new(Vec::new());
            troupe_layout::drawing::preview(layout)
                .write_to(&mut bytes, image::ImageFormat::Png)
                .map_err(|error| PipelineError::Usage(format!("the preview: {error}")))?;
            Ok(bytes.into_inner())
        }
        _ => Err(PipelineError::Usage(format!(
            "wanted a preview as .svg or .png, and it is `{}`",
            path.display()
        ))),
    }
}
