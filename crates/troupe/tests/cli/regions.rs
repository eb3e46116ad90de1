//! How regions are painted: settings, what a plan says of one person, and the second pass over small people.

use std::fs;

use image::RgbImage;
use serde_json::json;

use crate::support::{Place, read_json};
use crate::{laid_out, refuses};

fn pixels(place: &Place, name: &str) -> RgbImage {
    image::open(place.path(name)).unwrap().into_rgb8()
}

/// The mean difference of bytes.
fn apart(place: &Place, one: &str, two: &str) -> f64 {
    let (one, two) = (pixels(place, one), pixels(place, two));
    assert_eq!(one.dimensions(), two.dimensions());
    let differences = one.iter().zip(two.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    differences.sum::<f64>() / f64::from(3 * one.width() * one.height())
}

/// Two steps of five chefs.
fn paint(place: &Place, input: &str, output: &str, flags: &[&str]) {
    let paint = ["--quiet", "paint", input, "-o", output, "--steps", "2"];
    place.succeed(&[&paint[..], flags].concat());
}

#[test]
fn a_setting_of_regions_holds_and_is_in_the_picture() {
    let place = laid_out();
    paint(&place, "layout.json", "image.png", &[]);
    for (flag, usual) in [
        ("mixing=scores", "outputs"),
        ("base_ratio={ from = 0.6, to = 0 }", "0.2"),
        ("contrast=1", "0"),
    ] {
        paint(&place, "layout.json", "other.png", &["--region", flag]);
        assert!(0.01 < apart(&place, "image.png", "other.png"), "{flag} changes nothing");
        place.succeed(&["--quiet", "paint", "other.png", "-o", "again.png"]);
        let bytes = |name: &str| fs::read(place.path(name)).unwrap();
        assert!(bytes("again.png") == bytes("other.png"), "{flag} isn't in the picture");
        // And a flag says otherwise of a picture.
        let key = flag.split_once('=').unwrap().0;
        let back = format!("{key}={usual}");
        place.succeed(&["--quiet", "paint", "other.png", "-o", "back.png", "--region", &back]);
        assert!(apart(&place, "image.png", "back.png") < f64::EPSILON, "{back}");
    }
    let unknown = ["paint", "layout.json", "-o", "x.png", "--region", "feathers=1"];
    refuses(&place, &unknown, 2, &["feathers", "nearest is `paint.regions.feather`"]);
    let alone = ["paint", "layout.json", "-o", "x.png", "--region", "feather"];
    refuses(&place, &alone, 2, &["KEY=VALUE"]);
}

#[test]
fn what_a_plan_says_of_one_person_is_painted() {
    let place = laid_out();
    paint(&place, "layout.json", "image.png", &[]);
    for manner in
        [json!({ "negative": "a hat" }), json!({ "guidance": 9 }), json!({ "strength": 0.3 })]
    {
        let mut layout = read_json(&place.path("layout.json"));
        layout["plan"]["subjects"][1]["paint"] = manner.clone();
        fs::write(place.path("edited.json"), layout.to_string()).unwrap();
        paint(&place, "edited.json", "other.png", &[]);
        assert!(1e-3 < apart(&place, "image.png", "other.png"), "{manner} changes nothing");
    }
    let mut layout = read_json(&place.path("layout.json"));
    layout["plan"]["subjects"][1]["paint"] = json!({ "guidance": 0.5 });
    fs::write(place.path("edited.json"), layout.to_string()).unwrap();
    let low = ["paint", "edited.json", "-o", "x.png"];
    refuses(&place, &low, 2, &["edited.json", "subject `s2`", "`paint.guidance` takes 1 to 50"]);
}

#[test]
fn a_second_pass_paints_the_people_and_nothing_around_them() {
    let place = laid_out();
    // Whoever is there, however large.
    fs::write(place.path("pipeline.toml"), "paint.second_pass.enlarge = 1").unwrap();
    paint(&place, "layout.json", "image.png", &[]);
    paint(&place, "layout.json", "twice.png", &["--second-pass", "0.5"]);
    assert!(0.1 < apart(&place, "image.png", "twice.png"));
    let boxes = read_json(&place.path("layout.json"))["subjects"].clone();
    let (before, after) = (pixels(&place, "image.png"), pixels(&place, "twice.png"));
    let near = |x: u32, y: u32| {
        boxes.as_array().unwrap().iter().any(|it| {
            let edge = |name: &str, side: u32| it["box"][name].as_f64().unwrap() * f64::from(side);
            let [x, y] = [x, y].map(|at| f64::from(at) + 0.5);
            let across = edge("left", before.width()) - 9.0..edge("right", before.width()) + 9.0;
            let down = edge("top", before.height()) - 9.0..edge("bottom", before.height()) + 9.0;
            across.contains(&x) && down.contains(&y)
        })
    };
    for (x, y, pixel) in before.enumerate_pixels() {
        assert!(near(x, y) || pixel == after.get_pixel(x, y), "{x}, {y} is nobody's, and changed");
    }
    place.succeed(&["--quiet", "paint", "twice.png", "-o", "again.png"]);
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(bytes("again.png") == bytes("twice.png"), "repeated it differs");
    // Of a repainting only those who are painted anew, with the feather that it says.
    let only = ["--quiet", "paint", "twice.png", "--only", "s2", "--feather", "0", "-o", "two.png"];
    place.succeed(&only);
    let (before, after) = (pixels(&place, "twice.png"), pixels(&place, "two.png"));
    let inside = |x: u32, y: u32| {
        let edge =
            |name: &str, side: u32| boxes[1]["box"][name].as_f64().unwrap() * f64::from(side);
        let [x, y] = [x, y].map(|at| f64::from(at) + 0.5);
        (edge("left", before.width())..edge("right", before.width())).contains(&x)
            && (edge("top", before.height())..edge("bottom", before.height())).contains(&y)
    };
    assert!(0.01 < apart(&place, "twice.png", "two.png"));
    for (x, y, pixel) in before.enumerate_pixels() {
        assert!(inside(x, y) || pixel == after.get_pixel(x, y), "{x}, {y} isn't s2, and changed");
    }
    // Who is hidden by another is left as it is, and the picture is painted.
    let mut hidden = read_json(&place.path("layout.json"));
    hidden["subjects"][0]["box"] = hidden["subjects"][1]["box"].clone();
    hidden["subjects"][1]["depth"] = json!(9);
    fs::write(place.path("hidden.json"), hidden.to_string()).unwrap();
    paint(&place, "hidden.json", "hidden.png", &["--second-pass", "0.5"]);
    // Five chefs can't be enlarged sixteen times.
    fs::write(place.path("pipeline.toml"), "paint.second_pass.enlarge = 16").unwrap();
    paint(&place, "layout.json", "large.png", &["--second-pass", "0.5"]);
    assert!(apart(&place, "image.png", "large.png") < f64::EPSILON);
}

#[test]
fn with_less_strength_a_part_stays_nearer_to_what_it_was() {
    let place = laid_out();
    place.succeed(&["--quiet", "paint", "layout.json", "-o", "image.png", "--steps", "4"]);
    let only = |output: &str, strength: &str| {
        let only = ["--quiet", "paint", "image.png", "--only", "s2", "-o", output, "--strength"];
        place.succeed(&[&only[..], &[strength, "--seed", "5"]].concat());
        apart(&place, "image.png", output)
    };
    let (whole, part) = (only("whole.png", "1"), only("part.png", "0.5"));
    assert!(0.0 < part && part < 0.8 * whole, "{part} against {whole}");
    let shown = place.succeed(&["inspect", "part.png"]);
    assert!(shown.contains("strength 0.5"), "{shown}");
    place.succeed(&["--quiet", "paint", "part.png", "--of", "image.png", "-o", "again.png"]);
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(bytes("again.png") == bytes("part.png"), "repeated it differs");
    let nothing = ["paint", "image.png", "-o", "x.png", "--strength", "0.5"];
    refuses(&place, &nothing, 2, &["--strength", "--only"]);
    for strength in ["0", "1.5", "nan"] {
        let refused = ["paint", "image.png", "--only", "s2", "-o", "x.png", "--strength", strength];
        refuses(&place, &refused, 2, &["strength"]);
    }
}
