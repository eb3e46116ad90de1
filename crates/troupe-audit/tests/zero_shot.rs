//! A judge that is asked with words, beside transformers: a drawn scene, seen by small CLIP and SigLIP models of random weights.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::sync::Arc;

use image::ImageReader;
use serde_json::Value;
use troupe_audit::{Judge, Picture, TextTokenizer, ZeroShotFiles, ZeroShotJudge, audit};
use troupe_core::audit::{Audit, JudgedBy, Presence, Verdict};
use troupe_core::document;
use troupe_core::layout::Layout;
use troupe_models::config::TextFile;
use troupe_models::tokenizer::{Tokenizer, TokenizerConfig, UnigramTokenizer};
use troupe_models::weights::Weights;
use troupe_testkit::golden_path;

fn read(path: &str) -> Vec<u8> {
    fs::read(golden_path(path)).unwrap()
}

fn tokenizer(name: &str) -> TextTokenizer {
    let folder = if name == "clip" { "clip" } else { "contrastive/siglip" };
    let (config, pieces) = ("tokenizer_config.json", "tokenizer.json");
    let (said, json) = (read(&format!("{folder}/{config}")), read(&format!("{folder}/{pieces}")));
    let said = TextFile { name: config, bytes: &said };
    let json = TextFile { name: pieces, bytes: &json };
    if name == "clip" {
        let said = TokenizerConfig::from_json(said).unwrap();
        return TextTokenizer::Clip(Tokenizer::from_json(json, &said).unwrap());
    }
    let said = TokenizerConfig::siglip(Some(said)).unwrap();
    TextTokenizer::SigLip(UnigramTokenizer::from_json(json, &said).unwrap())
}

fn judge(name: &str, margin: f32) -> Judge {
    let config = read(&format!("contrastive/{name}/config.json"));
    let weights = Arc::new(read(&format!("contrastive/{name}/model.safetensors")));
    let files = ZeroShotFiles {
        config: TextFile { name: "config.json", bytes: &config },
        preprocessor: None,
        tokenizer: tokenizer(name),
        weights: Weights::new("model.safetensors", weights).unwrap(),
    };
    Judge::ZeroShot(Box::new(ZeroShotJudge::load(files, margin).unwrap()))
}

fn layout() -> Layout {
    document::read(&String::from_utf8(read("audit/layout.json")).unwrap()).unwrap()
}

fn audited(judge: &Judge, layout: &Layout) -> Audit {
    let picture = ImageReader::open(golden_path("audit/scene.png")).unwrap().decode().unwrap();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rgb = picture.into_rgb8().into_raw();
    let by = JudgedBy { name: "words".to_owned(), hash: String::new() };
    audit(judge, by, (&Picture::new(&rgb, width, height).unwrap(), "hash"), layout).unwrap()
}

/// The place and the value of the largest.
fn largest(probabilities: &Value) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, it) in probabilities.as_array().unwrap().iter().enumerate() {
        if best.1 < it.as_f64().unwrap() {
            best = (at, it.as_f64().unwrap());
        }
    }
    best
}

/// Fails when a box is cut out otherwise, what is in front of it is seen, a text or its tokens are others, or a probability is.
#[track_caller]
fn check(name: &str) {
    let layout = layout();
    let expected: Vec<Value> =
        serde_json::from_slice(&read(&format!("contrastive/{name}/verdicts.json"))).unwrap();
    let audit = audited(&judge(name, 0.0), &layout);
    assert_eq!((audit.subjects.len(), expected.len()), (3, 3));
    for (subject, expected) in audit.subjects.iter().zip(&expected) {
        let (at, probable) = largest(&expected["presence"]);
        let numbers = [Presence::Nobody, Presence::One, Presence::More];
        // So that what follows is read of everybody.
        assert_eq!((subject.presence, numbers[at]), (Presence::One, Presence::One));
        assert!((f64::from(subject.confidence) - probable).abs() < 2e-5);
        assert_eq!((subject.values.len(), &subject.noun), (3, &None));
        for value in &subject.values {
            let (at, probable) = largest(&expected[&value.axis]);
            assert!((f64::from(value.reading.confidence) - probable).abs() < 2e-5, "{value:?}");
            let proof = layout.plan.axes.iter().find(|it| it.axis == value.axis).unwrap();
            let found = &proof.values[at].name;
            assert_eq!(value.reading.found.as_ref(), Some(found));
            let right = *found == value.reading.planned;
            assert_eq!(value.reading.verdict, if right { Verdict::Right } else { Verdict::Wrong });
        }
    }
    assert_eq!((audit.unread.len(), audit.unread[0].axis.as_str()), (1, "mood"));
    assert!(audit.unread[0].why.contains("no second value"), "{:?}", audit.unread);
}

#[test]
fn clip_says_what_transformers_says() {
    check("clip");
}

#[test]
fn siglip_says_what_transformers_says() {
    check("siglip");
}

#[test]
fn a_lead_below_the_margin_is_no_answer() {
    let audit = audited(&judge("clip", 1.0), &layout());
    assert!(audit.subjects.iter().all(|it| it.presence == Presence::NotSure));
    assert!(audit.strangers.is_empty());
}

/// The same boxes, of whom another noun and phrases around the noun are asked.
#[test]
fn nouns_and_phrases_around_them_are_asked_for() {
    let mut layout = layout();
    layout.plan.subjects[1].noun = "the doctor".to_owned();
    let gender = layout.plan.axes.iter_mut().find(|it| it.axis == "gender").unwrap();
    for value in &mut gender.values {
        value.phrase = format!("{} {{noun}}", value.name);
    }
    for name in ["clip", "siglip"] {
        let expected: Vec<Value> =
            serde_json::from_slice(&read(&format!("contrastive/{name}/verdicts.json"))).unwrap();
        let audit = audited(&judge(name, 0.0), &layout);
        for (subject, expected) in audit.subjects.iter().zip(&expected) {
            let (at, probable) = largest(&expected["nouns"]);
            let noun = subject.noun.as_ref().unwrap();
            assert_eq!(noun.found.as_deref(), Some(["runner", "the doctor"][at]));
            assert!((f64::from(noun.confidence) - probable).abs() < 2e-5, "{noun:?}");
            let value = subject.values.iter().find(|it| it.axis == "gender").unwrap();
            let doctor = noun.planned == "the doctor";
            let wrapped = &expected[if doctor { "doctors by gender" } else { "runners by gender" }];
            let (at, probable) = largest(wrapped);
            assert_eq!(value.reading.found.as_deref(), Some(["woman", "man"][at]));
            assert!((f64::from(value.reading.confidence) - probable).abs() < 2e-5, "{value:?}");
        }
    }
}

#[test]
fn a_tokenizer_of_another_family_is_refused() {
    let config = read("contrastive/siglip/config.json");
    let weights = Arc::new(read("contrastive/siglip/model.safetensors"));
    let files = ZeroShotFiles {
        config: TextFile { name: "config.json", bytes: &config },
        preprocessor: None,
        tokenizer: tokenizer("clip"),
        weights: Weights::new("model.safetensors", weights).unwrap(),
    };
    let error = ZeroShotJudge::load(files, 0.2).unwrap_err().to_string();
    let wanted = "has a model with one of Clip, and one with a tokenizer of SigLip was wanted";
    assert_eq!(error, format!("`config.json` {wanted}"));
}

#[test]
fn an_end_of_texts_that_the_tokenizer_does_not_write_is_refused() {
    let config = String::from_utf8(read("contrastive/clip/config.json")).unwrap();
    let config = config.replace(r#""eos_token_id": 2"#, r#""eos_token_id": 662"#);
    let weights = Arc::new(read("contrastive/clip/model.safetensors"));
    let files = ZeroShotFiles {
        config: TextFile { name: "config.json", bytes: config.as_bytes() },
        preprocessor: None,
        tokenizer: tokenizer("clip"),
        weights: Weights::new("model.safetensors", weights).unwrap(),
    };
    let error = ZeroShotJudge::load(files, 0.2).unwrap_err().to_string();
    assert!(error.contains("has eos_token_id 662, and the tokenizer's 663"), "{error}");
}
