//! The methods, each by the command line as a user has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use troupe_pipeline::core::audit::Audit;
use troupe_pipeline::core::layout::Layout;

/// See `README.md`.
pub(crate) const METHODS: [&str; 18] = [
    "plain",
    "one_prompt",
    "composed",
    "regions",
    "isolate_half",
    "isolate_all",
    "defaults",
    "contrast",
    "scores",
    "falling_ratio",
    "feather",
    "outline",
    "noises",
    "blobs",
    "second_pass",
    "retries",
    "single",
    "changed",
];

/// In no step is anybody painted alone.
const TOGETHER: &str = "alone=0";

/// Those that are one picture by regions, with the flags that make them what they are.
const BY_REGIONS: [(&str, &[&str]); 12] = [
    (
        "composed",
        &[
            "--region",
            TOGETHER,
            "--region",
            "compose=1",
            "--region",
            "bootstrap=0.3",
            "--isolate",
            "0",
        ],
    ),
    ("regions", &["--region", TOGETHER, "--isolate", "0"]),
    ("isolate_half", &["--region", TOGETHER, "--isolate", "0.5"]),
    ("isolate_all", &["--region", TOGETHER]),
    ("contrast", &["--region", "contrast=1"]),
    ("scores", &["--region", "mixing=scores"]),
    ("falling_ratio", &["--region", "base_ratio={ from = 0.4, to = 0 }"]),
    ("feather", &["--region", "feather=0.08"]),
    ("outline", &["--region", "outline=0.3"]),
    ("noises", &["--region", "noises=4"]),
    ("blobs", &["--region", "blobs=1"]),
    ("second_pass", &["--second-pass", "0.5"]),
];

/// The folders of a benchmark.
pub(crate) struct Bench<'a> {
    out: &'a Path,
    model: Option<&'a str>,
}

/// A judged picture.
pub(crate) struct Scored {
    /// Wall-clock, with the model's loading; absent where it was painted together with others.
    pub(crate) seconds: Option<f64>,
    /// How often the UNet was asked about the whole picture.
    pub(crate) passes: usize,
    pub(crate) layout: Layout,
    pub(crate) audit: Audit,
    /// For `changed`: the audit of the picture before, and who was changed.
    pub(crate) before: Option<(Audit, String)>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(out: &'a Path, model: Option<&'a str>) -> Self {
        Self { out, model }
    }

    /// Plans, lays out and paints every prompt with the defaults and two tries more.
    pub(crate) fn run(&self, prompts: &Path) {
        let run = self.out.join("run");
        let mut command = self.troupe(&["--quiet", "batch"]);
        command.arg(prompts).arg("--out").arg(run).args(["--seed", "1", "--retries", "2"]);
        if let Some(model) = self.model {
            command.args(["--model", model]);
        }
        assert!(command.status().unwrap().success());
    }

    /// The folders of the run's pictures, in order.
    pub(crate) fn pictures(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.out.join("run")).unwrap().map(|it| it.unwrap().path());
        let mut folders: Vec<PathBuf> =
            entries.filter(|it| it.join("image.png").exists()).collect();
        folders.sort();
        folders
    }

    /// Paints a picture of the run by a method, unless it is there, and judges it.
    pub(crate) fn scored(&self, method: &str, folder: &Path) -> Vec<Scored> {
        let layout: Value = read(&folder.join("layout.json"));
        let people = layout["subjects"].as_array().unwrap().len();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let tries = read::<Audit>(&folder.join("audit.json")).tries.len();
        let first = folder.join("tries/0.png");
        let first = if first.exists() { first } else { folder.join("image.png") };
        let steps = read_png(self, &folder.join("image.png"))["paint"]["steps"].as_u64().unwrap();
        let steps = usize::try_from(steps).unwrap();
        let of = |image: &Path, layout: &Path, seconds: Option<f64>, passes: usize| Scored {
            seconds,
            passes,
            layout: read(layout),
            audit: self.audit(image, layout),
            before: None,
        };
        let whole = folder.join("layout.json");
        match method {
            "retries" => {
                vec![of(&folder.join("image.png"), &whole, None, steps * (1 + tries))]
            }
            "defaults" => vec![of(&first, &whole, None, steps)],
            "plain" | "one_prompt" => {
                let seed = layout["plan"]["seed"].to_string();
                let size = ["width", "height"].map(|side| layout["canvas"][side].to_string());
                let said = if method == "plain" {
                    text(&layout["plan"]["prompt"])
                } else {
                    everything(&layout)
                };
                let arguments = ["--seed", &seed, "--prompt", &said, "--size", &size.join("x")];
                let (image, seconds) = self.paint(method, &name, None, &arguments);
                vec![of(&image, &whole, Some(seconds), steps)]
            }
            "single" => {
                let each = (0..people).map(|at| {
                    let path = self.out.join(method).join(format!("{name}-{at}.json"));
                    write(&path, &only(&layout, at));
                    let (image, seconds) =
                        self.paint(method, &format!("{name}-{at}"), Some(&path), &[]);
                    of(&image, &path, Some(seconds), steps)
                });
                each.collect()
            }
            "changed" if 1 < people => {
                let at = people.div_euclid(2);
                let path = self.out.join(method).join(format!("{name}.json"));
                let id = self.changed(folder, at, &path);
                let (image, seconds) = self.paint(method, &name, Some(&path), &[]);
                let before = Some((self.audit(&first, &whole), id));
                vec![Scored { before, ..of(&image, &path, Some(seconds), steps) }]
            }
            _ => {
                let found = BY_REGIONS.iter().find(|(name, _)| *name == method);
                let Some((_, flags)) = found else { return Vec::new() };
                let (image, seconds) = self.paint(method, &name, Some(&whole), flags);
                let passes = match method {
                    // Each prompt has passes of its own, the base's too.
                    "composed" => steps * (people + 1),
                    // Two steps of each noise, and one look.
                    "noises" => steps + 4 * 3,
                    // A look at each of four noises.
                    "blobs" => steps + 4,
                    _ => steps,
                };
                vec![of(&image, &whole, Some(seconds), passes)]
            }
        }
    }

    /// Writes the layout with the next skin tone for one person; returns who it is.
    fn changed(&self, folder: &Path, at: usize, path: &Path) -> String {
        let mut plan = read::<Value>(&folder.join("layout.json"))["plan"].take();
        let axis = plan["axes"].as_array().unwrap().iter().position(|it| it["axis"] == "skin tone");
        let tones = plan["axes"][axis.unwrap()]["values"].as_array().unwrap().clone();
        let values = plan["subjects"][at]["values"].as_array_mut().unwrap();
        let own = values.iter_mut().find(|it| it["axis"] == "skin tone").unwrap();
        let now = tones.iter().position(|tone| tone["name"] == own["value"]).unwrap();
        // Two further, so that it is another tone to the eye, too.
        own["value"] = tones[(now + 2) % tones.len()]["name"].clone();
        let file = path.with_extension("plan.json");
        write(&file, &plan);
        let mut command = self.troupe(&["--quiet", "layout"]);
        command.arg(&file).arg("-o").arg(path);
        if let Some(model) = self.model {
            command.env("TROUPE_PAINT_MODEL", model);
        }
        assert!(command.output().unwrap().status.success());
        text(&plan["subjects"][at]["id"])
    }

    /// Paints unless it is there; returns the picture and how long it took.
    fn paint(
        &self,
        method: &str,
        name: &str,
        input: Option<&Path>,
        arguments: &[&str],
    ) -> (PathBuf, f64) {
        let image = self.out.join(method).join(format!("{name}.png"));
        let timed = image.with_extension("seconds");
        if !image.exists() || !timed.exists() {
            let mut command = self.troupe(&["--quiet", "paint"]);
            command.args(input).args(arguments).arg("-o").arg(&image);
            if let Some(model) = self.model {
                command.args(["--model", model]);
            }
            let begun = Instant::now();
            let done = command.output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            fs::write(&timed, begun.elapsed().as_secs_f64().to_string()).unwrap();
        }
        (image, fs::read_to_string(timed).unwrap().parse().unwrap())
    }

    /// What the second judge finds.
    fn audit(&self, image: &Path, layout: &Path) -> Audit {
        let mut command = self.troupe(&["--quiet", "audit", "--second", "--json"]);
        let done = command.arg(image).arg("--layout").arg(layout).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn troupe(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_troupe"));
        command.current_dir(self.out).env("TROUPE_AUDIT_JUDGE", "starter");
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        command.arg("--models").arg(models.canonicalize().unwrap()).args(arguments);
        command
    }
}

/// All that the plan says, in one prompt.
fn everything(layout: &Value) -> String {
    let people = layout["subjects"].as_array().unwrap().iter().map(|it| text(&it["sub_prompt"]));
    let people: Vec<String> = people.collect();
    format!("{}: {}", text(&layout["base_prompt"]), people.join(", "))
}

/// The same layout with one person alone.
fn only(layout: &Value, at: usize) -> Value {
    let mut alone = layout.clone();
    alone["subjects"] = json!([layout["subjects"][at]]);
    alone["plan"]["subjects"] = json!([layout["plan"]["subjects"][at]]);
    let noun = text(&layout["plan"]["subjects"][at]["noun"]);
    let place = text(&layout["plan"]["brief"]["setting"]);
    alone["base_prompt"] = json!(format!("one {noun} {place}"));
    alone
}

fn read_png(bench: &Bench<'_>, image: &Path) -> Value {
    let mut command = bench.troupe(&["inspect", "--json"]);
    serde_json::from_slice(&command.arg(image).output().unwrap().stdout).unwrap()
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn write(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
