//! Judges against PyTorch: crops, logits and verdicts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use troupe_audit::{Answer, Picture, TrainedJudge, crop};
use troupe_core::audit::Presence;
use troupe_core::region::{BoundingBox, Placed};
use troupe_models::config::TextFile;
use troupe_models::weights::Weights;
use troupe_testkit::{Golden, assert_close, golden_path};

/// The bound on crops, which are sums of few terms.
const CROP_TOLERANCE: f64 = 1e-5;
/// The bound on logits in f32.
const TOLERANCE: f64 = 1e-4;

/// The picture's bytes, and the boxes on it.
struct Scene {
    golden: Golden,
    rgb: Vec<u8>,
    placed: Vec<Placed>,
}

const WIDTH: usize = 80;
const HEIGHT: usize = 56;

fn scene() -> Scene {
    let golden = Golden::read(golden_path("judge/expected.safetensors"));
    let (picture, shape) = golden.tensor("picture");
    assert_eq!(shape, [HEIGHT, WIDTH, 3]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
    let rgb = picture.iter().map(|&it| it as u8).collect();
    let (boxes, _) = golden.tensor("boxes");
    let (depths, _) = golden.tensor("depths");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 or 1")]
    let placed = boxes.as_chunks::<4>().0.iter().zip(depths).map(|(edges, depth)| {
        let [left, top, right, bottom] = edges.map(f64::from);
        let bounds = BoundingBox::new(left, top, right, bottom).unwrap();
        Placed { bounds, depth: depth as u32 }
    });
    Scene { placed: placed.collect(), golden, rgb }
}

fn judge(name: &str) -> TrainedJudge {
    let path = |extension: &str| golden_path(&format!("judge/{name}.{extension}"));
    let weights = fs::read(path("safetensors")).unwrap();
    let weights = Weights::new("judge.safetensors", Arc::new(weights)).unwrap();
    let config = fs::read(path("json")).unwrap();
    TrainedJudge::load(TextFile { name: "judge.json", bytes: &config }, &weights).unwrap()
}

#[test]
fn crops_are_those_of_the_trainer() {
    let Scene { golden, rgb, placed } = scene();
    let picture = Picture::new(&rgb, WIDTH, HEIGHT).unwrap();
    let bounds = |at: usize| placed[at].bounds;
    // The third box is farthest behind; of the others, which are equally deep, the second is in front.
    let crops = [
        crop(&picture, bounds(0), &[bounds(1)], &[bounds(2)]),
        crop(&picture, bounds(1), &[], &[bounds(0), bounds(2)]),
        crop(&picture, bounds(2), &[bounds(0), bounds(1)], &[]),
    ];
    assert_close("crops", &crops.concat(), &golden.tensor("crops"), CROP_TOLERANCE);
}

#[test]
fn logits_are_those_of_pytorch() {
    let golden = scene().golden;
    let (crops, _) = golden.tensor("crops");
    for name in ["residual", "pooled"] {
        let judge = judge(name);
        let logits = judge.logits(&crops).unwrap();
        assert_eq!(judge.config().heads.len(), 3);
        for (head, logits) in judge.config().heads.iter().zip(logits) {
            let key = format!("{name}.{}", head.name);
            assert_close(&key, &logits, &golden.tensor(&key), TOLERANCE);
        }
    }
}

#[test]
fn verdicts_are_those_of_the_trainer() {
    let Scene { golden, rgb, placed } = scene();
    let picture = Picture::new(&rgb, WIDTH, HEIGHT).unwrap();
    let expected = fs::read_to_string(golden_path("judge/verdicts.json")).unwrap();
    let expected: BTreeMap<String, Vec<BTreeMap<String, String>>> =
        serde_json::from_str(&expected).unwrap();
    let mut answers = Vec::new();
    for (name, expected) in expected {
        let verdicts = judge(&name).judge(&picture, &placed).unwrap();
        assert_eq!(verdicts.len(), expected.len());
        let mut confidences = Vec::new();
        for (verdict, expected) in verdicts.iter().zip(expected) {
            let presence = match verdict.presence {
                Presence::Nobody => "nobody",
                Presence::One => "one",
                Presence::More => "more",
                Presence::NotSure => "not sure",
            };
            assert_eq!(presence, expected["presence"]);
            confidences.push(verdict.confidence);
            for finding in &verdict.attributes {
                let answer = match &finding.answer {
                    Answer::Value(value) => value,
                    Answer::NotVisible => "not visible",
                    Answer::NotSure => "not sure",
                };
                assert_eq!(answer, expected[&finding.attribute], "{name}");
                confidences.push(finding.confidence);
                answers.push(answer.to_owned());
            }
        }
        let key = format!("{name}.confidence");
        assert_close(&key, &confidences, &golden.tensor(&key), TOLERANCE);
    }
    for answer in ["not sure", "not visible"] {
        assert!(answers.iter().any(|it| it == answer), "the golden has no answer {answer:?}");
    }
}

#[test]
fn a_box_by_itself_is_seen_as_it_is_in_an_empty_layout() {
    let Scene { rgb, placed, .. } = scene();
    let picture = Picture::new(&rgb, WIDTH, HEIGHT).unwrap();
    let judge = judge("residual");
    let alone = judge.judge(&picture, &placed[..1]).unwrap();
    let elsewhere = judge.judge_elsewhere(&picture, &[placed[0].bounds], &[]).unwrap();
    assert_eq!(alone, elsewhere);
    let hidden = judge.judge_elsewhere(&picture, &[placed[0].bounds], &[placed[1].bounds]).unwrap();
    assert_ne!(alone, hidden);
    assert_eq!(judge.judge(&picture, &[]).unwrap(), []);
}
