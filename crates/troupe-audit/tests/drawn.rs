//! A drawn scene of which everything is known: who is there, who was planned otherwise, and who wasn't planned at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::ImageReader;
use troupe_audit::{Judge, Picture, TrainedJudge, audit};
use troupe_core::audit::{Audit, JudgedBy, Presence, SubjectAudit, Verdict};
use troupe_core::document;
use troupe_core::layout::Layout;
use troupe_models::config::TextFile;
use troupe_models::weights::Weights;
use troupe_testkit::golden_path;

/// The first judge that is shipped.
fn judge() -> Judge {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter/judge");
    let config = fs::read(folder.join("first.json")).unwrap();
    let weights = fs::read(folder.join("first.safetensors")).unwrap();
    let weights = Weights::new("first", Arc::new(weights)).unwrap();
    let config = TextFile { name: "first", bytes: &config };
    Judge::Trained(Box::new(TrainedJudge::load(config, &weights).unwrap()))
}

/// Three runners: dark, medium light and light.
fn layout() -> Layout {
    document::read(&fs::read_to_string(golden_path("audit/layout.json")).unwrap()).unwrap()
}

fn audited(layout: &Layout) -> Audit {
    let picture = ImageReader::open(golden_path("audit/scene.png")).unwrap().decode().unwrap();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rgb = picture.into_rgb8().into_raw();
    let by = JudgedBy { name: "first".to_owned(), hash: String::new() };
    audit(&judge(), by, (&Picture::new(&rgb, width, height).unwrap(), "hash"), layout).unwrap()
}

fn verdict(subject: &SubjectAudit, axis: &str) -> (Verdict, Option<String>, Vec<String>) {
    let value = subject.values.iter().find(|value| value.axis == axis).unwrap();
    (value.reading.verdict, value.reading.found.clone(), value.planned_of.clone())
}

#[test]
fn everybody_is_who_was_planned() {
    let audit = audited(&layout());
    assert!(audit.count_is_right(), "{audit:?}");
    for subject in &audit.subjects {
        assert!(subject.is_right() && subject.values.len() == 3, "{subject:?}");
        assert_eq!(subject.noun.as_ref().map(|it| it.verdict), Some(Verdict::Right));
    }
    let unread: Vec<&str> = audit.unread.iter().map(|it| it.axis.as_str()).collect();
    assert_eq!(unread, ["mood"]);
    assert!(audit.is_of("hash", &layout().plan) && !audit.is_of("other", &layout().plan));
    // What is written is read again.
    let text = document::write(&audit).unwrap();
    assert_eq!(document::read::<Audit>(&text).unwrap(), audit);
}

#[test]
fn who_was_planned_otherwise_is_wrong_and_who_else_it_may_be_is_said() {
    let mut layout = layout();
    let subjects = &mut layout.plan.subjects;
    let [first, _, third] = subjects.as_mut_slice() else { panic!("{subjects:?}") };
    std::mem::swap(&mut first.values, &mut third.values);
    "chef".clone_into(&mut subjects[1].noun);
    let audit = audited(&layout);
    let [first, second, third] = audit.subjects.as_slice() else { panic!("{audit:?}") };
    let found = |it: &str| Some(it.to_owned());
    let of = |id: &str| vec![id.to_owned()];
    assert_eq!(verdict(first, "skin tone"), (Verdict::Wrong, found("dark"), of("s3")));
    assert_eq!(verdict(third, "skin tone"), (Verdict::Wrong, found("light"), of("s1")));
    assert_eq!(verdict(second, "skin tone").0, Verdict::Right);
    let noun = second.noun.as_ref().unwrap();
    assert_eq!((noun.verdict, noun.found.as_deref()), (Verdict::Wrong, Some("runner")));
    assert!(audit.count_is_right() && !audit.subjects.iter().any(SubjectAudit::is_right));
}

#[test]
fn an_empty_box_and_somebody_beside_the_boxes_are_seen() {
    let mut layout = layout();
    let empty = troupe_core::region::BoundingBox::new(0.42, 0.0, 0.6, 0.5).unwrap();
    let taken = layout.subjects[1].bounds.edges();
    layout.subjects[1].bounds = empty;
    let audit = audited(&layout);
    assert_eq!(audit.subjects[1].presence, Presence::Nobody);
    assert_eq!(verdict(&audit.subjects[1], "gender").0, Verdict::Absent);
    let [stranger] = audit.strangers.as_slice() else { panic!("{:?}", audit.strangers) };
    let it = stranger.bounds.edges();
    let middle = f64::midpoint(taken.left, taken.right);
    assert!(it.left < middle && middle < it.right, "{it:?} and {taken:?}");
    assert!(!audit.count_is_right());
}
