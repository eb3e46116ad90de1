//! LoRAs of a run: other ones for the next picture, scales of parts, and what a picture remembers of them.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use tempfile::TempDir;
use troupe_core::brief::{Brief, Kind};
use troupe_core::layout::{Canvas, Layout};
use troupe_core::plan::{LoraTag, ScenePlan, SubjectLora};
use troupe_core::seed::Seed;
use troupe_pipeline::config::Config;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::metadata::read_png;
use troupe_pipeline::paint::{
    Asked, Easel, Exchange, ModelFolder, Order, PictureRecord, Place, Plain, Subject,
};
use troupe_pipeline::run::{
    RunReport, RunRequest, brief_document, read_document, run, write_document,
};
use troupe_pipeline::{ChildLog, ChildProgram, PipelineError, Progress, Studio, Talk};

/// Keeps what is said.
#[derive(Default)]
struct Listener(Vec<String>);

impl Talk for Listener {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn progress(&mut self, _progress: Progress) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// Writes a LoRA of rank 1 for two layers of the starter painter, with numbers that depend on its name.
fn write_lora(folder: &Path, name: &str) -> PathBuf {
    let step = name.bytes().map(usize::from).sum::<usize>();
    let values = |count: usize| -> Vec<u8> {
        let number = |at: usize| if (at * step).is_multiple_of(7) { 0.5_f32 } else { -0.1 };
        (0..count).flat_map(|at| number(at).to_le_bytes()).collect()
    };
    let modules = [("down_blocks_0", 80), ("down_blocks_1", 128)].map(|(block, width)| {
        let module = format!("lora_unet_{block}_attentions_0_transformer_blocks_0_attn1_to_q");
        (module, width, values(width))
    });
    let tensors = modules.iter().flat_map(|(module, width, data)| {
        [("down", [1, *width]), ("up", [*width, 1])].map(|(part, shape)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
            (format!("{module}.lora_{part}.weight"), view)
        })
    });
    let path = folder.join(format!("loras/{name}.safetensors"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, serialize(tensors, None).unwrap()).unwrap();
    path
}

/// A place with the LoRAs `first` and `second` in its models' folder, and a studio with the starter painter there.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["first", "second"] {
        write_lora(place.path(), name);
    }
    place
}

fn studio(place: &TempDir, settings: &str) -> Studio {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter/painter");
    // A run asks for the file of a language model, and this one has nothing to ask it.
    let planner = place.path().join("planner.gguf");
    fs::write(&planner, "GGUF").unwrap();
    let text = format!(
        "plan.model = '{}'\nlayout.canvas = {{ width = 192, height = 64 }}\n[paint]\nsteps = 1\nguidance = 1\nmodel = '{}'\n{settings}",
        planner.display(),
        starter.display()
    );
    let child = ChildProgram {
        program: place.path().join("no-such-program"),
        arguments: Vec::new(),
        log: ChildLog::Quoted,
        stop: None,
    };
    let manifest = Manifest { folder: place.path().to_owned(), ..Manifest::default() };
    Studio::new(Config::load(Some(("test", &text)), &[], &[]).unwrap(), manifest, child).unwrap()
}

fn tag(name: &str, weight: f64) -> LoraTag {
    LoraTag { name: name.to_owned(), weight }
}

fn asked(tags: &[LoraTag]) -> Asked {
    Asked { tags: tags.to_vec(), own: Vec::new() }
}

fn load(studio: &Studio, tags: &[LoraTag]) -> Easel {
    let model = ModelFolder::open(studio).unwrap();
    Easel::load(studio, &model, &asked(tags), &mut Listener::default()).unwrap()
}

/// The whole file, with what it says of its LoRAs.
fn painted(studio: &Studio, easel: &Easel) -> Vec<u8> {
    let plain = Plain {
        prompt: "a chef".to_owned(),
        loras: Vec::new(),
        canvas: Canvas::new(64, 64).unwrap(),
    };
    let order = Order { subject: Subject::Plain(&plain), seed: Seed(8), anew: None };
    let place = Place { picture: 1, of: 1 };
    easel.paint(studio, order, &Exchange::default(), place, &mut Listener::default()).unwrap()
}

/// A layout, painted by a model that is loaded for it.
fn laid_out(studio: &Studio, layout: &Layout, seed: Seed) -> Vec<u8> {
    let subject = Subject::Layout(layout);
    let model = ModelFolder::open(studio).unwrap();
    let mut listener = Listener::default();
    let easel = Easel::load(studio, &model, &subject.asked(), &mut listener).unwrap();
    let order = Order { subject, seed, anew: None };
    let place = Place { picture: 1, of: 1 };
    easel.paint(studio, order, &Exchange::default(), place, &mut listener).unwrap()
}

fn colours(png: &[u8]) -> Vec<u8> {
    image::load_from_memory(png).unwrap().to_rgb8().into_raw()
}

#[test]
fn an_easel_with_other_loras_paints_as_one_loaded_with_them() {
    let place = place();
    let studio = studio(&place, "");
    let mut easel = load(&studio, &[]);
    let at_first = painted(&studio, &easel);
    let mut seen = vec![at_first.clone()];
    let first = tag("first", 0.8);
    for tags in [&[first.clone()][..], &[first, tag("second", -0.5)], &[tag("second", 1.0)]] {
        let mut listener = Listener::default();
        easel.take_loras(&studio, &asked(tags), &mut listener).unwrap();
        let said = listener.0.iter().filter(|note| note.contains("tensors applied"));
        assert_eq!(said.count(), tags.len(), "{:?}", listener.0);
        let found = painted(&studio, &easel);
        assert!(found == painted(&studio, &load(&studio, tags)), "{tags:?}");
        assert!(!seen.contains(&found), "{tags:?}");
        seen.push(found);
    }
    let nobody = [tag("first", 1.0), tag("nobody", 1.0)];
    let error = easel.take_loras(&studio, &asked(&nobody), &mut Listener::default()).unwrap_err();
    assert!(matches!(error, PipelineError::NoLora { .. }) && error.exit_code() == 3, "{error}");
    assert!(Some(&painted(&studio, &easel)) == seen.last(), "it is no more as it was");
    easel.take_loras(&studio, &asked(&[]), &mut Listener::default()).unwrap();
    assert!(painted(&studio, &easel) == at_first);
}

fn two_chefs() -> Brief {
    Brief::of(vec![Kind { number: Some(2), noun: "chef".to_owned(), stated: Vec::new() }])
}

#[test]
fn in_a_run_each_picture_has_the_loras_of_its_prompt() {
    let place = place();
    let studio = studio(&place, "");
    let out = place.path().join("run");
    let tags = ["", " <lora:first:0.8>", " <lora:second>", ""];
    let picture = |number: usize| out.join(format!("{number:04}/image.png"));
    for number in 1..=tags.len() {
        let path = picture(number).with_file_name("brief.json");
        write_document(&path, &brief_document("some chefs", &two_chefs())).unwrap();
    }
    let prompts = tags.map(|tag| format!("some chefs{tag}")).to_vec();
    let wanted = RunRequest::new(prompts, 1, None, Some(out.clone())).unwrap();
    let report = run(&studio, &wanted, &mut Listener::default()).unwrap();
    assert_eq!((report.pictures, report.failed.len()), (4, 0));
    let together: Vec<Vec<u8>> =
        (1..=tags.len()).map(|number| fs::read(picture(number)).unwrap()).collect();
    // Painted alone, each from a model that is loaded with its LoRAs.
    for (index, expected) in together.iter().enumerate() {
        fs::remove_file(picture(index + 1)).unwrap();
        run(&studio, &wanted, &mut Listener::default()).unwrap();
        assert!(fs::read(picture(index + 1)).unwrap() == *expected, "picture {}", index + 1);
    }
}

#[test]
fn a_picture_with_scales_of_parts_is_painted_again_from_itself() {
    let place = place();
    let path = place.path().join("loras/first.safetensors");
    let lora =
        |blocks: &str| format!("loras = [{{ path = '{}', scale = 0.8{blocks} }}]", path.display());
    let plain = studio(&place, &lora(""));
    let mut studio = studio(&place, &lora(", blocks = { down = 0.5, \"down_blocks.1\" = 0 }"));
    let easel = load(&studio, &[]);
    let picture = painted(&studio, &easel);
    let uniform = painted(&plain, &load(&plain, &[]));
    assert!(colours(&picture) != colours(&uniform), "blocks change nothing");

    let record = read_png(&picture).unwrap().troupe.unwrap();
    let record: PictureRecord = serde_json::from_str(&record).unwrap();
    let scale = record.loras[0].scale.as_ref().unwrap();
    assert_eq!(scale.to_string(), "0.8 (down 0.5, down_blocks.1 0)");
    let model = studio.config.paint.model.clone();
    studio.config.paint = record.paint.clone();
    studio.config.paint.model = model;
    studio.config.paint.loras[0].path = path.display().to_string();
    let again = load(&studio, &[]);
    again.check(&record).unwrap();
    assert!(painted(&studio, &again) == picture);
    assert!(load(&plain, &[]).check(&record).is_err());
}

#[test]
fn a_part_of_which_a_lora_changes_nothing_is_told_with_what_it_changes() {
    let place = place();
    let path = place.path().join("loras/first.safetensors");
    let blocks = "blocks = { \"down_blocks.2\" = 0.5 }";
    let studio = studio(&place, &format!("loras = [{{ path = '{}', {blocks} }}]", path.display()));
    let model = ModelFolder::open(&studio).unwrap();
    let error = Easel::load(&studio, &model, &asked(&[]), &mut Listener::default()).unwrap_err();
    let message = error.to_string();
    for part in ["first.safetensors", "`down_blocks.2`", "`down_blocks.0`, `down_blocks.1`"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(error.exit_code(), 3);
}

/// A run of one picture of two chefs, whose plan a person edits.
struct Edited {
    place: TempDir,
}

impl Edited {
    fn new() -> Self {
        let it = Self { place: place() };
        let brief = brief_document("some chefs", &two_chefs());
        write_document(&it.path("brief.json"), &brief).unwrap();
        it
    }

    fn path(&self, file: &str) -> PathBuf {
        self.place.path().join("run/0001").join(file)
    }

    /// What is said of the picture, painted anew.
    fn go(&self, settings: &str) -> (RunReport, Vec<String>) {
        drop(fs::remove_file(self.path("image.png")));
        let out = Some(self.place.path().join("run"));
        let wanted = RunRequest::new(vec!["some chefs".to_owned()], 1, None, out).unwrap();
        let mut listener = Listener::default();
        let report = run(&studio(&self.place, settings), &wanted, &mut listener).unwrap();
        (report, listener.0)
    }

    fn picture(&self) -> (Vec<u8>, PictureRecord) {
        let png = fs::read(self.path("image.png")).unwrap();
        let record = read_png(&png).unwrap().troupe.unwrap();
        (colours(&png), serde_json::from_str(&record).unwrap())
    }

    /// Gives each of the two chefs the LoRAs of these names, at scale 0.8.
    fn give(&self, names: [&[&str]; 2]) {
        let mut plan: ScenePlan = read_document(&self.path("plan.json")).unwrap();
        for (subject, names) in plan.subjects.iter_mut().zip(names) {
            let lora = |name: &&str| SubjectLora { name: (*name).to_owned(), scale: 0.8 };
            subject.loras = names.iter().map(lora).collect();
        }
        write_document(&self.path("plan.json"), &plan).unwrap();
    }
}

#[test]
fn a_lora_in_a_plan_is_of_its_person_alone() {
    let run = Edited::new();
    run.go("");
    let (without, _) = run.picture();
    run.give([&["first"], &[]]);
    let (_, notes) = run.go("");
    let said = |note: &String| note.contains("at scale 0.8, for `s1`");
    assert!(notes.iter().any(said), "{notes:?}");
    let (of_one, record) = run.picture();
    assert!(of_one != without);
    let plan = &record.layout.as_ref().unwrap().plan;
    assert_eq!(
        (plan.edited, plan.subjects[0].loras.len(), plan.subjects[1].loras.len()),
        (true, 1, 0)
    );
    assert_eq!((record.loras.len(), &*record.loras[0].name), (1, "first"));
    // Painted again from the picture's own layout it is the same.
    let layout = record.layout.as_ref().unwrap();
    let again = laid_out(&studio(&run.place, ""), layout, record.seed);
    assert!(again == fs::read(run.path("image.png")).unwrap());

    // The same LoRA of both is one that both have, and another picture.
    run.give([&["first"], &["first"]]);
    run.go("");
    let (of_both, record) = run.picture();
    assert!(of_both != of_one && of_both != without);
    assert_eq!(record.loras.len(), 1);

    // As the configuration says it.
    run.give([&[], &[]]);
    run.go("");
    let (rgb, record) = run.picture();
    assert!(rgb == without);
    let path = run.place.path().join("loras/first.safetensors");
    let whose = "subjects = { id = \"s1\" }";
    let settings = format!("loras = [{{ path = '{}', scale = 0.8, {whose} }}]", path.display());
    let configured = studio(&run.place, &settings);
    let png = laid_out(&configured, record.layout.as_ref().unwrap(), record.seed);
    assert!(colours(&png) == of_one);
}

#[test]
fn a_lora_in_a_plan_is_a_plain_name_that_is_there() {
    let run = Edited::new();
    run.go("");
    let file = run.place.path().join("loras/first.safetensors").display().to_string();
    for (name, code, says) in [
        ("nobody", 3, "loras/nobody.safetensors"),
        ("../loras/first", 6, "no path"),
        (&*file, 6, "no path"),
        (".first", 6, "no path"),
    ] {
        run.give([&[], &[name]]);
        let failed = run.go("").0.failed;
        assert_eq!((failed.len(), failed[0].code), (1, code), "{name}: {}", failed[0].error);
        assert!(failed[0].error.contains(says), "{name}: {}", failed[0].error);
        assert!(!run.path("image.png").exists());
    }
    // Nor is anything else in its place.
    let text = fs::read_to_string(run.path("plan.json")).unwrap();
    for (from, to) in
        [("\"scale\": 0.8", "\"scale\": 11"), ("\"name\": \".first\"", "\"path\": \"x\"")]
    {
        assert!(text.contains(from), "{text}");
        fs::write(run.path("plan.json"), text.replace(from, to)).unwrap();
        assert!(read_document::<ScenePlan>(&run.path("plan.json")).is_err(), "{to}");
    }
}

/// What the language model writes can't attach a LoRA.
#[test]
fn a_brief_has_no_place_for_loras() {
    assert!(!troupe_plan::schema::brief_schema().to_lowercase().contains("lora"));
    let mut brief = serde_json::to_value(two_chefs()).unwrap();
    assert!(serde_json::from_value::<Brief>(brief.clone()).is_ok());
    brief["people"][0]["loras"] = serde_json::json!([{ "name": "first" }]);
    assert!(serde_json::from_value::<Brief>(brief).is_err());
}
