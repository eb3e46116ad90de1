//! Whole runs on the starter models: the same bytes by every way that leads to a picture.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::support::{Place, finish, read_json, repository};

const BASKETBALL: &str = "a multiracial women's basketball team, five players, on an outdoor court";

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// Two folders hold the same files with the same bytes.
#[track_caller]
fn same(left: &Path, right: &Path) {
    let (left, right) = (files(left), files(right));
    let names = |it: &BTreeMap<String, Vec<u8>>| it.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, bytes) in &left {
        assert!(right[name] == *bytes, "{name} differs");
    }
}

#[test]
fn every_way_to_a_picture_gives_the_same_bytes() {
    let place = Place::new();
    let run = ["--quiet", "run", BASKETBALL, "--seed", "7", "--steps", "2"];
    for out in ["one", "two"] {
        place.succeed(&[&run[..], &["--out", out]].concat());
    }
    same(&place.path("one"), &place.path("two"));

    place.succeed(&["plan", BASKETBALL, "--seed", "7", "-o", "stages/plan.json"]);
    place.succeed(&[
        "layout",
        "stages/plan.json",
        "-o",
        "stages/layout.json",
        "--preview",
        "stages/layout.svg",
    ]);
    place.succeed(&["paint", "stages/layout.json", "--steps", "2", "-o", "stages/image.png"]);
    let (run, stages) = (files(&place.path("one/0001")), files(&place.path("stages")));
    assert_eq!(stages.len(), 4);
    for (name, bytes) in &stages {
        assert!(run[name] == *bytes, "{name} differs");
    }

    place.succeed(&["paint", "one/0001/image.png", "-o", "again.png"]);
    assert!(
        fs::read(place.path("again.png")).unwrap() == run["image.png"],
        "painted again it differs"
    );
    place.succeed(&[
        "paint",
        "stages/layout.json",
        "--steps",
        "2",
        "--seed",
        "8",
        "-o",
        "other.png",
    ]);
    assert!(
        fs::read(place.path("other.png")).unwrap() != run["image.png"],
        "the seed does nothing"
    );

    // No path of this machine is in a picture, also where the model was named by one.
    let model = repository().join("models/starter/painter").display().to_string();
    let plain = [
        "paint",
        "--prompt",
        "three chefs",
        "--model",
        &model,
        "--steps",
        "1",
        "--size",
        "192x192",
    ];
    place.succeed(&plain);
    let picture = fs::read(place.path("image.png")).unwrap();
    assert!(!picture.windows(model.len()).any(|window| window == model.as_bytes()), "{model}");

    // The same call goes on where nothing is left to do; another run gets no place in its folder.
    let before = files(&place.path("one"));
    place.succeed(&["--quiet", "run", BASKETBALL, "--seed", "7", "--steps", "2", "--out", "one"]);
    let other = ["run", BASKETBALL, "--seed", "8", "--steps", "2", "--out", "one"];
    let done = place.run(&other);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("`one` holds the run "), "{}", done.stderr);
    assert!(files(&place.path("one")) == before, "a finished run was changed");
}

#[test]
fn a_batch_that_was_killed_ends_as_an_undisturbed_one() {
    let place = Place::new();
    let mut prompts: Vec<_> = fs::read_dir(repository().join("prompts/groups"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    prompts.sort();
    assert_eq!(prompts.len(), 20);
    place.write("prompts.txt", prompts.concat());
    let batch = |out| ["--quiet", "batch", "prompts.txt", "--steps", "1", "--out", out];
    place.succeed(&batch("whole"));

    let painted =
        || (1..=20).filter(|it| place.path(&format!("killed/{it:04}/image.png")).exists()).count();
    let mut child = place
        .command(&batch("killed"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while painted() < 5 {
        assert!(start.elapsed() < Duration::from_mins(5), "it paints nothing");
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let half = painted();
    assert!((5..20).contains(&half), "{half} of 20 pictures were painted when it was killed");
    // What it may have been writing just then.
    place.write("killed/0020/.troupe-k1LLed.tmp", "half");
    place.write("killed/.troupe-k1LLed.tmp", "half");

    let report = place.succeed(&[&batch("killed")[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["kept"].as_u64(), u64::try_from(half).ok());
    assert_eq!(report["pictures"].as_u64(), Some(20));
    same(&place.path("whole"), &place.path("killed"));
}

#[test]
fn a_signal_stops_between_steps_with_nothing_half_written() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = Place::new();
        let batch = ["--quiet", "run", BASKETBALL, "--steps", "400", "--out", "run"];
        let mut child =
            place.command(&batch).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while !place.path("run/0001/layout.json").exists() {
            assert!(start.elapsed() < Duration::from_mins(5), "it lays out nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        let number = child.id().to_string();
        assert!(Command::new("kill").args([signal, &number]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let left = files(&place.path("run"));
        assert!(!left.contains_key("0001/image.png"), "it was painted to the end");
        assert!(left.contains_key("run.toml") && left.contains_key("0001/layout.json"));
        assert!(left.keys().all(|name| !name.contains(".troupe-")), "something is half written");
    }
}

#[test]
fn a_signal_ends_the_language_model_too() {
    let place = Place::new();
    // So many prompts that it still reads when the signal comes.
    let prompts = (1..=400).map(|it| format!("four chefs on market day {it}\n"));
    place.write("prompts.txt", prompts.collect::<String>());
    let mut child = place
        .command(&["--quiet", "batch", "prompts.txt", "--out", "run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !place.path("run/0002/brief.json").exists() {
        assert!(start.elapsed() < Duration::from_mins(5), "it reads nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let number = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &number]).status().unwrap().success());
    let signalled = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(signalled.elapsed() < Duration::from_secs(10), "it waited for the model");
    assert!(!place.path("run/0001/plan.json").exists(), "it went on to cast");
}

#[test]
fn an_edited_plan_changes_one_person() {
    let place = Place::new();
    place.succeed(&["plan", BASKETBALL]);
    let mut plan = read_json(&place.path("plan.json"));
    let planned = plan.clone();
    place.succeed(&["layout", "plan.json", "-o", "before.json"]);
    let before = read_json(&place.path("before.json"));
    assert_eq!(before["plan"]["edited"], Value::Bool(false));

    let tone = plan.pointer_mut("/subjects/2/values/0/value").unwrap();
    *tone = if *tone == "dark" { "light" } else { "dark" }.into();
    place.write("plan.json", plan.to_string());
    place.succeed(&["layout", "plan.json", "-o", "after.json"]);
    let after = read_json(&place.path("after.json"));
    assert_eq!(after["plan"]["edited"], Value::Bool(true));
    for subject in 0..5 {
        let (was, is) = (&before["subjects"][subject], &after["subjects"][subject]);
        assert_eq!(was["sub_prompt"] == is["sub_prompt"], subject != 2, "{was} {is}");
        assert_eq!(was["box"], is["box"]);
    }
    assert_eq!(before["base_prompt"], after["base_prompt"]);
    let column = |plan: &Value, key: &str| -> Vec<Value> {
        let tallies = plan["axes"][0]["cells"][0]["tallies"].as_array().unwrap();
        tallies.iter().map(|tally| tally[key].clone()).collect()
    };
    assert_eq!(column(&after["plan"], "quota"), column(&planned, "quota"));
    assert_ne!(column(&after["plan"], "dealt"), column(&planned, "dealt"));
}

#[test]
fn over_forty_pictures_the_totals_are_exact() {
    let place = Place::new();
    let axis = "[[plan.axes]]\nname = \"skin tone\"\nscope = \"batch\"\nvalues = [\n\
        { name = \"light\", share = 25, phrase = \"with light skin\" },\n\
        { name = \"medium light\", share = 25, phrase = \"with medium light skin\" },\n\
        { name = \"medium dark\", share = 25, phrase = \"with medium dark skin\" },\n\
        { name = \"dark\", share = 25, phrase = \"with dark skin\" },\n]\n\
        [layout]\ncanvas = { width = 192, height = 64 }\n";
    place.write("pipeline.toml", axis);
    place.write("prompts.txt", "a group of five doctors in a hospital\n");
    let batch = [
        "--quiet",
        "batch",
        "prompts.txt",
        "--pictures",
        "40",
        "--steps",
        "1",
        "--guidance",
        "1",
        "--out",
        "out",
    ];
    let done = finish(&mut place.command(&batch));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let mut totals: BTreeMap<String, u32> = BTreeMap::new();
    for picture in 1..=40 {
        let plan = read_json(&place.path(&format!("out/{picture:04}/plan.json")));
        let mut here: BTreeMap<String, u32> = BTreeMap::new();
        for subject in plan["subjects"].as_array().unwrap() {
            let value = subject["values"][0]["value"].as_str().unwrap().to_owned();
            *here.entry(value.clone()).or_default() += 1;
            *totals.entry(value).or_default() += 1;
        }
        // Five of four tones: one has two, the others one.
        assert_eq!(here.values().sum::<u32>(), 5);
        assert!(here.len() == 4, "picture {picture}: {here:?}");
    }
    assert_eq!(totals.values().copied().collect::<Vec<_>>(), [50; 4], "{totals:?}");
    let tallies = read_json(&place.path("out/tallies.json"));
    for tally in tallies["axes"][0]["planned"].as_array().unwrap() {
        assert_eq!(
            (tally["dealt"].as_u64(), tally["quota"].as_f64()),
            (Some(50), Some(50.0)),
            "{tally}"
        );
    }
}
