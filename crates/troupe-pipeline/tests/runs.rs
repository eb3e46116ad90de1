//! Runs from briefs that are there already, so that no language model is asked: whose brief is whose, and when a plan
//! is read.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use troupe_core::brief::{Brief, Kind};
use troupe_core::layout::Layout;
use troupe_core::plan::ScenePlan;
use troupe_llm::LlmError;
use troupe_pipeline::config::Config;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::run::{
    RunReport, RunRequest, brief_document, read_document, run, write_document,
};
use troupe_pipeline::{ChildLog, ChildProgram, PipelineError, Progress, Studio, Talk};

const PROMPT: &str = "some chefs";

/// The least effort.
const CONFIG: &str =
    "paint = { steps = 1, guidance = 1 }\nlayout.canvas = { width = 192, height = 64 }";

/// A run of one prompt in a folder of its own; its language model doesn't start.
struct Run {
    folder: TempDir,
    pictures: u32,
}

/// Keeps what is said, and does something while a picture is painted.
#[derive(Default)]
struct Listener<'a> {
    notes: Vec<String>,
    while_painting: Option<Box<dyn FnMut(usize) + 'a>>,
}

impl Talk for Listener<'_> {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn progress(&mut self, progress: Progress) {
        if let (Progress::Painting { picture, .. }, Some(act)) =
            (progress, &mut self.while_painting)
        {
            act(picture);
        }
    }

    fn stopped(&self) -> bool {
        false
    }
}

impl Run {
    fn new(pictures: u32) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), pictures }
    }

    fn path(&self, picture: u32, file: &str) -> PathBuf {
        self.folder.path().join(format!("run/{picture:04}/{file}"))
    }

    /// So many chefs as a picture's brief.
    fn brief(&self, picture: u32, chefs: u32) {
        let kind = Kind { number: Some(chefs), noun: "chef".to_owned(), stated: Vec::new() };
        let brief = Brief::of(vec![kind]);
        let document = brief_document(PROMPT, &brief);
        write_document(&self.path(picture, "brief.json"), &document).unwrap();
    }

    fn go(&self, talk: &mut dyn Talk) -> Result<RunReport, PipelineError> {
        self.go_with(CONFIG, talk)
    }

    fn go_with(&self, config: &str, talk: &mut dyn Talk) -> Result<RunReport, PipelineError> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        let child = ChildProgram {
            program: self.folder.path().join("no-such-program"),
            arguments: Vec::new(),
            log: ChildLog::Quoted,
            stop: None,
        };
        let config = Config::load(Some(("test", config)), &[], &[]).unwrap();
        let studio = Studio::new(config, Manifest::open(&models).unwrap(), child).unwrap();
        let out = Some(self.folder.path().join("run"));
        let wanted = RunRequest::new(vec![PROMPT.to_owned()], self.pictures, None, out).unwrap();
        run(&studio, &wanted, talk)
    }

    /// How many people every picture has.
    fn people(&self) -> Vec<usize> {
        let plan = |picture| read_document::<ScenePlan>(&self.path(picture, "plan.json")).unwrap();
        (1..=self.pictures).map(|picture| plan(picture).subjects.len()).collect()
    }

    fn layout(&self, picture: u32) -> Layout {
        read_document(&self.path(picture, "layout.json")).unwrap()
    }
}

#[test]
fn a_brief_is_of_its_picture_alone() {
    let run = Run::new(3);
    for (picture, chefs) in [(1, 2), (2, 3), (3, 3)] {
        run.brief(picture, chefs);
    }
    let report = run.go(&mut Listener::default()).unwrap();
    assert_eq!((report.pictures, report.failed.len()), (3, 0));
    assert_eq!(run.people(), [2, 3, 3]);
}

#[test]
fn a_picture_without_a_brief_does_not_take_another_ones() {
    let run = Run::new(2);
    run.brief(1, 2);
    let error = run.go(&mut Listener::default()).unwrap_err();
    assert!(matches!(error, PipelineError::Llm(LlmError::Start { .. })), "{error}");
    assert!(!run.path(2, "brief.json").exists());
    assert!(!run.path(1, "plan.json").exists(), "it was cast before all briefs were there");
}

#[test]
fn once_it_is_cast_the_brief_of_the_plan_holds_and_that_is_said() {
    let run = Run::new(2);
    run.brief(1, 3);
    run.brief(2, 3);
    let go = || {
        let mut listener = Listener::default();
        let report = run.go(&mut listener).unwrap();
        let said = listener.notes.iter().filter(|it| it.contains("1/plan.json` has another brief"));
        (report.kept, said.count())
    };
    assert_eq!(go(), (0, 0));
    let second = fs::read(run.path(2, "plan.json")).unwrap();

    run.brief(1, 2);
    fs::remove_file(run.path(1, "image.png")).unwrap();
    assert_eq!(go(), (1, 1));
    assert_eq!(run.people(), [3, 3]);

    fs::remove_file(run.path(1, "plan.json")).unwrap();
    fs::remove_file(run.path(1, "image.png")).unwrap();
    assert_eq!(go(), (1, 0));
    assert_eq!(run.people(), [2, 3]);
    assert_eq!(run.layout(1).subjects.len(), 2, "it was laid out anew");
    assert!(fs::read(run.path(2, "plan.json")).unwrap() == second, "another picture was cast anew");
}

#[test]
fn a_brief_of_another_prompt_is_refused() {
    let run = Run::new(1);
    run.brief(1, 3);
    let path = run.path(1, "brief.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(PROMPT, "some pilots")).unwrap();
    let error = run.go(&mut Listener::default()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    for part in ["0001/brief.json", "some pilots", PROMPT] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_plan_is_read_when_its_picture_is_painted() {
    let run = Run::new(2);
    run.brief(1, 2);
    run.brief(2, 2);
    let path = run.path(2, "plan.json");
    let edit = |picture: usize| {
        if picture == 1 {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("\"noun\": \"chef\"", "\"noun\": \"pilot\"")).unwrap();
        }
    };
    let mut listener = Listener { while_painting: Some(Box::new(edit)), ..Listener::default() };
    run.go(&mut listener).unwrap();
    let prompts: Vec<String> = run.layout(2).subjects.into_iter().map(|it| it.sub_prompt).collect();
    assert!(prompts.iter().all(|it| it.contains("pilot")), "{prompts:?}");
}

#[test]
fn a_picture_that_fails_leaves_the_model_loaded() {
    let run = Run::new(2);
    run.brief(1, 2);
    run.brief(2, 2);
    // The starter painter, in a folder from which a part can be taken away.
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter/painter");
    let model = run.folder.path().join("painter");
    let encoder = model.join("text_encoder/model.safetensors");
    fs::create_dir_all(encoder.parent().unwrap()).unwrap();
    let link = |file: &str| std::os::unix::fs::symlink(starter.join(file), model.join(file));
    for file in ["model_index.json", "scheduler", "tokenizer", "unet", "vae"] {
        link(file).unwrap();
    }
    for file in ["text_encoder/config.json", "text_encoder/model.safetensors"] {
        link(file).unwrap();
    }
    let config = format!("{CONFIG}\npaint.model = '{}'", model.display());
    let config = config
        .replace("paint = { steps = 1, guidance = 1 }", "paint.steps = 1\npaint.guidance = 1");
    run.go_with(&config, &mut Listener::default()).unwrap();

    // A weight that no single precision holds makes numbers that are none.
    let path = run.path(1, "layout.json");
    let text = fs::read_to_string(&path).unwrap();
    let weight = format!("\"sub_prompt\": \"(x:1{}) ", "0".repeat(40));
    fs::write(&path, text.replacen("\"sub_prompt\": \"", &weight, 1)).unwrap();
    for picture in [1, 2] {
        fs::remove_file(run.path(picture, "image.png")).unwrap();
    }
    let take_away = |_| drop(fs::remove_file(&encoder));
    let mut listener =
        Listener { while_painting: Some(Box::new(take_away)), ..Listener::default() };
    let report = run.go_with(&config, &mut listener).unwrap();
    let failed: Vec<_> = report.failed.iter().map(|it| (it.picture, it.error.as_str())).collect();
    assert!(
        matches!(&*failed, [(1, error)] if error.contains("encoded prompt `(x:1000") && error.contains("NaN or infinity")),
        "{failed:?}"
    );
    assert!(run.path(2, "image.png").exists());
}

#[test]
fn a_run_is_bounded() {
    let request = |prompts: usize, pictures: u32| {
        RunRequest::new(vec![PROMPT.to_owned(); prompts], pictures, None, None)
    };
    assert!(request(1, 100_000).is_ok());
    for (prompts, pictures) in [(1, 100_001), (2, 50_001), (0, 1), (1, 0), (3, u32::MAX)] {
        let error = request(prompts, pictures).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("1 to 100000 pictures"), "{error}");
    }
}
