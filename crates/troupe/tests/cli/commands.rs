//! What commands do with good input, and which setting holds where several are said.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, finish, read_json};
use crate::{BRIEF, laid_out, refuses};

#[test]
fn init_writes_what_holds_and_replaces_nothing() {
    let place = Place::new();
    let defaults = place.succeed(&["config", "show"]);
    place.succeed(&["init"]);
    assert_eq!(place.succeed(&["config", "show"]), defaults);
    refuses(&place, &["init"], 2, &["pipeline.toml", "there already"]);
    place.write("mine.toml", "mine");
    refuses(&place, &["init", "mine.toml"], 2, &["mine.toml"]);
    assert_eq!(fs::read_to_string(place.path("mine.toml")).unwrap(), "mine");
}

#[test]
fn the_file_overrules_the_defaults_then_the_environment_then_the_flags() {
    let place = laid_out();
    let steps = |text: &str| {
        let config: toml::Table = text.parse().unwrap();
        config["paint"]["steps"].as_integer()
    };
    assert_eq!(steps(&place.succeed(&["config", "show"])), Some(20));
    place.write("pipeline.toml", "[paint]\nsteps = 3\nguidance = 2\n");
    let shown = place.succeed(&["config", "show"]);
    assert_eq!(steps(&shown), Some(3));
    let shown = finish(place.command(&["config", "show"]).env("TROUPE_PAINT_STEPS", "2"));
    assert_eq!(steps(&shown.stdout), Some(2));
    let flags = ["paint", "layout.json", "--steps", "1"];
    let done = finish(place.command(&flags).env("TROUPE_PAINT_STEPS", "2"));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let record: Value =
        serde_json::from_str(&place.succeed(&["inspect", "image.png", "--json"])).unwrap();
    assert_eq!(record["paint"]["steps"], json!(1));
    assert_eq!(record["paint"]["guidance"], json!(2.0));
    place.write("resolved.toml", &shown.stdout);
    let again = place.succeed(&["--config", "resolved.toml", "config", "show"]);
    assert_eq!(again, shown.stdout, "what is shown is a configuration, and says the same");
}

#[test]
fn a_schedule_may_be_said_apart_from_the_sampler() {
    let place = laid_out();
    let paint = |flags: &[&str], name: &str| {
        place.succeed(
            &[&["--quiet", "paint", "layout.json", "--steps", "3", "-o", name], flags].concat(),
        );
        let shown = place.succeed(&["inspect", name, "--json"]);
        let record: Value = serde_json::from_str(&shown).unwrap();
        let layout = record["paint"]["sampler"].as_str().unwrap().to_lowercase();
        (layout.contains("karras"), image::open(place.path(name)).unwrap().into_rgb8().into_raw())
    };
    let plain = paint(&["--sampler", "euler"], "plain.png");
    let named = paint(&["--sampler", "euler karras"], "named.png");
    let said = paint(&["--sampler", "euler", "--schedule", "karras"], "said.png");
    assert!(named == said && said.0, "the two ways to say it differ");
    assert!(plain.1 != said.1, "the schedule does nothing");
    let normal = paint(&["--sampler", "euler karras", "--schedule", "normal"], "normal.png");
    assert!(normal.1 != said.1 && !normal.0, "the sampler's name holds");
    place.write("pipeline.toml", "[paint]\nsampler = \"euler\"\n");
    assert!(
        paint(&["--schedule", "karras"], "configured.png") == said,
        "of the configured sampler"
    );
    place.succeed(&["--quiet", "paint", "plain.png", "--schedule", "karras", "-o", "again.png"]);
    let again = image::open(place.path("again.png")).unwrap().into_rgb8().into_raw();
    assert!(again == said.1, "of the picture's own sampler");
    let wrong = ["paint", "layout.json", "--schedule", "kerras"];
    refuses(&place, &wrong, 2, &["--schedule", "`kerras`", "nearest is `karras`"]);
}

#[test]
fn what_a_sampler_does_not_use_is_said() {
    let place = laid_out();
    let notes = |name: &str, flags: &[&str]| {
        let paint = ["paint", "layout.json", "--steps", "1", "-o", name];
        let done = place.run(&[&paint, flags].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done.stderr
    };
    let unused = notes("eta.png", &["--sampler", "euler", "--schedule", "simple", "--eta", "0.5"]);
    assert!(unused.contains("eta is DDIM's; the sampler euler doesn't use it"), "{unused}");
    let simple = ["--sampler", "euler", "--schedule", "simple", "--spacing", "trailing"];
    let unused = notes("spacing.png", &simple);
    assert!(unused.contains("schedule simple") && unused.contains("trailing isn't"), "{unused}");
    let used = notes("used.png", &["--sampler", "ddim", "--eta", "0.5", "--spacing", "trailing"]);
    assert!(!used.contains("use"), "{used}");
}

/// A brief of nurses, patients and a doctor; `null` where the prompt doesn't say how many.
fn ward(nurses: &str, patients: &str) -> String {
    BRIEF.replace(
        "{ \"number\": 5, \"noun\": \"chef\", \"stated\": [] }",
        &format!(
            "{{ \"number\": {nurses}, \"noun\": \"nurse\", \"stated\": [{{ \"what\": \"women\", \"of\": null }}] }},
             {{ \"number\": {patients}, \"noun\": \"patient\", \"stated\": [{{ \"what\": \"blue uniform\", \"of\": 1 }}] }},
             {{ \"number\": 1, \"noun\": \"head nurse\", \"stated\": [] }}"
        ),
    )
}

#[test]
fn several_kinds_go_through_every_stage() {
    let place = Place::new();
    let axes = "[[plan.axes]]\nname = \"gender\"\nvalues = [\n\
        { name = \"woman\", share = 50, phrase = \"woman {noun}\", also = [\"women\"] },\n\
        { name = \"man\", share = 50, phrase = \"man {noun}\" },\n]\n\
        [[plan.axes]]\nname = \"uniform\"\napplies_to = [\"Nurses\"]\nvalues = [\n\
        { name = \"blue uniform\", share = 75, phrase = \"in a blue uniform\" },\n\
        { name = \"green uniform\", share = 25, phrase = \"in a green uniform\" },\n]\n";
    place.write("pipeline.toml", axes);
    for (nurses, patients, subjects, people) in [
        ("3", "2", None, vec![3, 2, 1]),
        ("3", "null", None, vec![3, 2, 1]),
        ("3", "null", Some("8"), vec![3, 4, 1]),
        ("3", "2", Some("12"), vec![6, 4, 2]),
    ] {
        place.write("brief.json", ward(nurses, patients));
        let plan = ["plan", "a ward", "--brief", "brief.json"];
        let asked: Vec<&str> = subjects.iter().flat_map(|it| ["--subjects", it]).collect();
        place.succeed(&[&plan[..], &asked].concat());
        let plan = read_json(&place.path("plan.json"));
        let subjects = plan["subjects"].as_array().unwrap();
        let number = |kind: usize| subjects.iter().filter(|it| it["kind"] == json!(kind)).count();
        assert_eq!([number(0), number(1), number(2)], people[..], "{nurses}, {patients}");
        for subject in subjects {
            let text = subject["sub_prompt"].as_str().unwrap();
            let nurse = subject["kind"] != json!(1);
            assert_eq!(subject["values"].as_array().unwrap().len(), if nurse { 2 } else { 1 });
            assert!(!nurse || text.contains("nurse") && text.contains("uniform"), "{text}");
        }
        let uniforms = &plan["axes"][1]["cells"][0];
        assert_eq!(uniforms["people"], json!(people[0] + people[2]));
        let notes = plan["notes"].to_string();
        assert!(notes.contains("`uniform`, which doesn't apply to the kind `patient`"), "{notes}");
    }
    place.write("brief.json", ward("3", "2"));
    place.succeed(&["plan", "a ward", "--brief", "brief.json"]);
    place.succeed(&["layout", "plan.json", "--preview", "layout.svg"]);
    place.succeed(&["--quiet", "paint", "layout.json", "--steps", "1"]);
    let plan = read_json(&place.path("plan.json"));
    let scene = "a group of three nurses, two patients and a head nurse in a kitchen";
    assert_eq!(plan["base_prompt"], json!(scene));
    for file in ["plan.json", "layout.json", "image.png"] {
        let shown = place.succeed(&["inspect", file]);
        for says in [
            "brief    3 x nurse; stated: women",
            "brief    2 x patient; stated: blue uniform (1)",
            "uniform (scope Batch, stream cast/uniform, of the kinds Nurses: 4 people)",
            scene,
        ] {
            assert!(shown.contains(says), "wanted {says:?} in {shown}");
        }
    }
}

#[test]
fn the_models_are_listed_and_verified() {
    let place = Place::new();
    let listed = place.succeed(&["models", "ls"]);
    assert_eq!(listed.matches("starter  ").count(), 3, "{listed}");
    assert!(!listed.contains("missing"), "{listed}");
    let verified = place.succeed(&["models", "verify"]);
    assert!(verified.lines().all(|line| line.ends_with("  ok")), "{verified}");

    let manifest = "[[planner]]\nname = \"mine\"\npath = \"mine.gguf\"\nsource = \"\"\nlicence = \"\"\n\
                    sha256 = { \"\" = \"00\" }\n";
    place.write("manifest.toml", manifest);
    place.write("mine.gguf", "GGUF");
    let done = finish(place.command(&["models", "verify"]).args(["--json"]));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_troupe"));
    let done = finish(other.arg("--models").arg(place.path("")).args(["models", "verify"]));
    assert_eq!(done.code, Some(3), "{}", done.stdout);
    assert!(done.stdout.contains("the manifest wants 00"), "{}", done.stdout);
}

#[test]
fn with_json_every_command_prints_json() {
    let place = laid_out();
    let calls: [&[&str]; 9] = [
        &["plan", "five chefs in a kitchen", "--brief", "brief.json"],
        &["layout", "plan.json"],
        &["paint", "layout.json", "--steps", "1"],
        &["inspect", "brief.json"],
        &["inspect", "plan.json"],
        &["inspect", "image.png"],
        &["models", "ls"],
        &["models", "verify"],
        &["config", "show"],
    ];
    for call in calls {
        let text = place.succeed(&[&["--json", "--quiet"], call].concat());
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object() || value.is_array(), "{call:?}: {text}");
    }
}
