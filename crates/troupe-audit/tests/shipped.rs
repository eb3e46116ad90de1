//! The judges that are shipped are read, say the same things of a picture, and judge a plain one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use troupe_audit::{Picture, TrainedJudge};
use troupe_core::region::{BoundingBox, Placed};
use troupe_models::config::TextFile;
use troupe_models::weights::Weights;

fn judge(name: &str) -> TrainedJudge {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter/judge");
    let config = fs::read(folder.join(format!("{name}.json"))).unwrap();
    let weights = fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let weights = Weights::new(name, Arc::new(weights)).unwrap();
    TrainedJudge::load(TextFile { name, bytes: &config }, &weights).unwrap()
}

#[test]
fn both_judges_say_the_same_things_and_each_says_them_of_every_box() {
    let judges = ["first", "second"].map(judge);
    let said = judges.each_ref().map(|judge| {
        let heads = judge.config().heads.iter();
        heads.map(|head| (&head.name, &head.values, head.not_visible)).collect::<Vec<_>>()
    });
    assert_eq!(said[0], said[1]);

    let rgb = [200; 3 * 48 * 32];
    let picture = Picture::new(&rgb, 48, 32).unwrap();
    let bounds = BoundingBox::new(0.25, 0.1, 0.5, 0.9).unwrap();
    for judge in &judges {
        let verdicts = judge.judge(&picture, &[Placed { bounds, depth: 0 }]).unwrap();
        let [verdict] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        let attributes: Vec<&str> = verdict.attributes.iter().map(|it| &*it.attribute).collect();
        let heads = judge.config().heads.iter().skip(1);
        assert_eq!(attributes, heads.map(|it| it.name.as_str()).collect::<Vec<_>>());
        let confidences = verdict.attributes.iter().map(|it| it.confidence);
        assert!(confidences.chain([verdict.confidence]).all(|it| 0.0 < it && it <= 1.0));
    }
}
