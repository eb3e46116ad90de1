//! Finished pictures judged: one, a run, and who is painted again.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, read_json, repository};
use crate::{laid_out, refuses};

/// The scene of the golden `audit`.
fn drawn() -> Place {
    let place = Place::new();
    let golden = repository().join("tests/golden/audit");
    for name in ["scene.png", "layout.json"] {
        fs::copy(golden.join(name), place.path(name)).unwrap();
    }
    place
}

fn ids(subjects: &Value) -> Vec<&str> {
    subjects.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn a_picture_is_judged_by_either_judge() {
    let place = drawn();
    let call = ["audit", "scene.png", "--layout", "layout.json"];
    let said = place.succeed(&[&call[..], &["-o", "audit.json"]].concat());
    assert!(said.contains("s2       there") && said.contains("skin tone medium light"), "{said}");
    assert!(said.contains("unread   mood: "), "{said}");
    assert_eq!(place.succeed(&["inspect", "audit.json"]), said);
    let printed: Value =
        serde_json::from_str(&place.succeed(&[&call[..], &["--json"]].concat())).unwrap();
    assert_eq!(printed, read_json(&place.path("audit.json")));
    assert_eq!(printed["schema"], "troupe.audit/1");

    let second = place.succeed(&[&call[..], &["--second"]].concat());
    assert!(second.starts_with("judge    starter second ["), "{second}");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let place = drawn();
    refuses(&place, &["audit", "scene.png"], 2, &["`scene.png` carries no layout of ours"]);
    refuses(&place, &["audit", "layout.json"], 2, &["`layout.json` can't be read as PNG"]);
    refuses(&place, &["audit", "none.png"], 2, &["none.png"]);
    fs::create_dir(place.path("empty")).unwrap();
    refuses(&place, &["audit", "empty"], 2, &["`empty` is no run folder with a picture in it"]);
    let beside = ["audit", "empty", "-o", "audit.json"];
    refuses(&place, &beside, 2, &["--layout and --output are of one picture"]);
    let call = ["audit", "scene.png", "--layout", "layout.json", "--judge"];
    let other = [&call[..], &["other"]].concat();
    refuses(&place, &other, 3, &["there is no judge `other`", "starter"]);
    // A judge whose weights are another's, and one that was cut short.
    let shipped = repository().join("models/starter/judge");
    fs::create_dir(place.path("mine")).unwrap();
    fs::copy(shipped.join("first.json"), place.path("mine/first.json")).unwrap();
    fs::copy(shipped.join("second.safetensors"), place.path("mine/first.safetensors")).unwrap();
    let mine = [&call[..], &["mine"]].concat();
    refuses(&place, &mine, 3, &["mine/first.safetensors"]);
    let whole = fs::read(shipped.join("first.safetensors")).unwrap();
    place.write("mine/first.safetensors", &whole[..whole.len() - 9]);
    refuses(&place, &mine, 3, &["mine/first.safetensors"]);
}

#[test]
fn a_run_is_judged_and_who_is_wrong_is_painted_again() {
    let place = Place::new();
    // One step of it paints no five players.
    let run = ["--quiet", "run", "five basketball players", "--steps", "1", "--guidance", "1"];
    let retried = [&run[..], &["--out", "run", "--retries", "2"]].concat();
    place.succeed(&retried);
    let audit = read_json(&place.path("run/0001/audit.json"));
    let right = |subject: &&Value| {
        let good = |it: &Value| it["verdict"] == "right" || it["verdict"] == "not_visible";
        let values = subject["values"].as_array().unwrap();
        subject["presence"] == "one" && good(&subject["noun"]) && values.iter().all(good)
    };
    let right = audit["subjects"].as_array().unwrap().iter().filter(right).count();
    let tries = audit["tries"].as_array().unwrap();
    assert!(right < 5 && tries.len() == 2, "{audit}");
    let mut stays = "tries/0.png";
    for (index, it) in tries.iter().enumerate() {
        assert_eq!(it["image"], format!("tries/{}.png", index + 1));
        assert!(!ids(&it["subjects"]).is_empty());
        if it["kept"] == true {
            stays = it["image"].as_str().unwrap();
        }
    }
    assert_ne!(tries[0]["seed"], tries[1]["seed"]);
    let bytes = |name: &str| fs::read(place.path(&format!("run/0001/{name}"))).unwrap();
    assert!(bytes("image.png") == bytes(stays));
    assert!(bytes("tries/0.png") != bytes("tries/1.png"));
    assert!(bytes("tries/1.png") != bytes("tries/2.png"));
    let measured = read_json(&place.path("run/measured.json"));
    assert_eq!((&measured["people"], &measured["people_right"]), (&json!(5), &json!(right)));

    // Without tries the picture is the same; a try is repeated from itself and the picture before.
    place.succeed(&[&run[..], &["--out", "plain"]].concat());
    assert!(fs::read(place.path("plain/0001/image.png")).unwrap() == bytes("tries/0.png"));
    let again = ["--quiet", "paint", "run/0001/tries/1.png", "--of", "run/0001/tries/0.png"];
    place.succeed(&again);
    assert!(fs::read(place.path("image.png")).unwrap() == bytes("tries/1.png"));

    // Judged once more it is the same; a run that goes on takes up what was found.
    let before = bytes("audit.json");
    let said = place.succeed(&["audit", "run"]);
    let there = format!("pictures 1, {} with everybody there", measured["pictures_of_right_count"]);
    assert!(said.contains(&there), "{said}");
    assert!(bytes("audit.json") == before);
    assert_eq!(read_json(&place.path("run/measured.json")), measured);
    place.succeed(&retried);
    assert_eq!(read_json(&place.path("run/measured.json")), measured);
    place.succeed(&["audit", "run", "--second"]);
    assert!(place.path("run/measured-second.json").is_file());
    assert!(place.path("run/0001/audit-second.json").is_file());
}

#[test]
fn who_is_there_but_somebody_else_is_painted_again_with_contrast() {
    let place = Place::new();
    // Steps for the judge to see wizards; who has a beard is a man to it.
    let run = ["--quiet", "run", "three women wizards", "--steps", "8", "--retries", "1"];
    place.succeed(&[&run[..], &["--out", "run"]].concat());
    let audit = place.succeed(&["audit", "run/0001/tries/0.png", "--json"]);
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let subjects = audit["subjects"].as_array().unwrap();
    assert!(subjects.iter().all(|it| it["presence"] == "one" && it["noun"]["verdict"] == "right"));
    let record = |name: &str| -> Value {
        let path = format!("run/0001/{name}");
        serde_json::from_str(&place.succeed(&["inspect", &path, "--json"])).unwrap()
    };
    let tried = record("tries/1.png");
    assert_eq!(tried["repainted"]["contrast"], json!(1.0));
    assert_eq!(tried["paint"], record("tries/0.png")["paint"]);
    let again = ["--quiet", "paint", "run/0001/tries/1.png", "--of", "run/0001/tries/0.png"];
    place.succeed(&again);
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(bytes("image.png") == bytes("run/0001/tries/1.png"));
}

#[test]
fn nobody_is_painted_again_without_a_judge() {
    let place = Place::new();
    let model = repository().join("models/starter/painter").display().to_string();
    let run = ["run", "two doctors", "--steps", "1", "--out", "run"];
    let retried = [&run[..], &["--retries", "1", "--model", &model]].concat();
    refuses(&place, &retried, 2, &["`paint.retries` is 1", "`audit.judge` is `auto`"]);
    refuses(&place, &[&run[..], &["--retries", "11"]].concat(), 2, &["`paint.retries`", "0 to 10"]);
    place.succeed(&[&["--quiet"], &run[..], &["--model", &model]].concat());
    assert!(!place.path("run/measured.json").exists());
    assert!(!place.path("run/0001/audit.json").exists());
}

#[test]
fn a_person_is_given_another_value() {
    let place = laid_out();
    place.succeed(&["--quiet", "paint", "layout.json", "--steps", "2"]);
    let set = ["--quiet", "paint", "image.png", "--set", "s2.skin tone=dark"];
    place.succeed(&[&set[..], &["--set", "s2.gender = woman", "-o", "two.png"]].concat());
    let record: Value =
        serde_json::from_str(&place.succeed(&["inspect", "two.png", "--json"])).unwrap();
    let subject = &record["layout"]["plan"]["subjects"][1];
    let values = json!([
        { "axis": "skin tone", "value": "dark" }, { "axis": "gender", "value": "woman" },
    ]);
    assert_eq!((&subject["id"], &subject["values"]), (&json!("s2"), &values));
    let prompt = "a woman chef with dark skin";
    assert_eq!(record["layout"]["subjects"][1]["sub_prompt"], prompt);
    assert_eq!(record["layout"]["plan"]["edited"], true);
    assert_eq!(record["repainted"]["part"], json!({ "subjects": ["s2"] }));
    place.succeed(&["--quiet", "paint", "two.png", "--of", "image.png", "-o", "again.png"]);
    assert!(fs::read(place.path("again.png")).unwrap() == fs::read(place.path("two.png")).unwrap());

    let cases = [
        ("s9.gender=man", "there is no subject `s9`; wanted one of s1, s2"),
        ("s2.mood=glad", "there is no axis of `s2` `mood`; wanted one of skin tone, gender"),
        ("s2.gender=robot", "there is no value of `gender` `robot`; wanted one of woman, man"),
        ("s2.gender", "wanted SUBJECT.AXIS=VALUE"),
        ("s2=man", "wanted SUBJECT.AXIS=VALUE"),
    ];
    for (change, says) in cases {
        refuses(&place, &["paint", "image.png", "--set", change, "-o", "x.png"], 2, &[says]);
    }
}

/// A folder with a small CLIP model of random weights.
fn words(place: &Place) {
    fs::create_dir(place.path("words")).unwrap();
    let golden = repository().join("tests/golden");
    for name in ["contrastive/clip/config.json", "contrastive/clip/model.safetensors"] {
        let file = name.rsplit('/').next().unwrap();
        fs::copy(golden.join(name), place.path("words").join(file)).unwrap();
    }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(golden.join("clip").join(name), place.path("words").join(name)).unwrap();
    }
}

#[test]
fn a_picture_of_any_style_is_judged_with_words() {
    let place = drawn();
    words(&place);
    let call = ["audit", "scene.png", "--layout", "layout.json", "--judge", "words"];
    let said: Value =
        serde_json::from_str(&place.succeed(&[&call[..], &["--json"]].concat())).unwrap();
    assert_eq!(said["judge"]["name"], "words margin 0.2");
    let values: Vec<&Value> = said["subjects"][0]["values"].as_array().unwrap().iter().collect();
    assert_eq!(values.len(), 3);
    // Nothing is sure where all of the probability is wanted.
    place.write("pipeline.toml", b"[audit]\njudge = \"words\"\nmargin = 1.0\n");
    let call = ["audit", "scene.png", "--layout", "layout.json", "--json"];
    let said: Value = serde_json::from_str(&place.succeed(&call)).unwrap();
    assert_eq!(
        (&said["judge"]["name"], &said["subjects"][0]["presence"]),
        (&json!("words margin 1"), &json!("not_sure"))
    );

    let second = [&call[..], &["--second"]].concat();
    refuses(&place, &second, 2, &["the judge `words` is one model, and there is no second of it"]);

    fs::rename(place.path("words"), place.path("clip")).unwrap();
    fs::create_dir(place.path("words")).unwrap();
    let siglip = repository().join("tests/golden/contrastive/siglip");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(siglip.join(name), place.path("words").join(name)).unwrap();
    }
    let other: Value = serde_json::from_str(&place.succeed(&call)).unwrap();
    assert_ne!(other["judge"]["hash"], said["judge"]["hash"]);
    fs::remove_file(place.path("words/model.safetensors")).unwrap();
    refuses(&place, &call, 3, &["model.safetensors"]);
    place.write("words/config.json", b"{\"model_type\": \"siglip2\"}");
    refuses(&place, &call, 3, &["model_type siglip2, and clip or siglip was wanted"]);
}
