//! Parts of pictures painted anew: what changes, what doesn't, and how it is repeated.

use std::fs;

use image::{ImageFormat, Luma, Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Place, read_json};
use crate::{laid_out, refuses};

/// The program's own, in pixels.
const FEATHER: u32 = 8;

fn pixels(place: &Place, name: &str) -> RgbImage {
    image::open(place.path(name)).unwrap().into_rgb8()
}

fn record(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.succeed(&["inspect", name, "--json"])).unwrap()
}

/// How many pixels inside of a rectangle differ; none may that is further from it than the feather.
#[track_caller]
fn changed(one: &RgbImage, two: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> usize {
    assert_eq!(one.dimensions(), two.dimensions());
    let mut changed = 0;
    for (x, y, pixel) in one.enumerate_pixels() {
        let beside = left.saturating_sub(x).max((x + 1).saturating_sub(right));
        let distance = beside.max(top.saturating_sub(y)).max((y + 1).saturating_sub(bottom));
        if pixel != two.get_pixel(x, y) {
            assert!(distance <= FEATHER, "{x}, {y} changed, {distance} pixels from the part");
            changed += usize::from(distance == 0);
        }
    }
    changed
}

#[test]
fn one_person_is_painted_anew_and_again() {
    let place = laid_out();
    place.succeed(&["--quiet", "paint", "layout.json", "--steps", "2"]);
    let only = ["--quiet", "paint", "image.png", "--only", "s2"];
    place.succeed(&[&only[..], &["-o", "two.png"]].concat());

    let layout = read_json(&place.path("layout.json"));
    let bounds = &layout["subjects"][1]["box"];
    assert_eq!(layout["subjects"][1]["id"], "s2");
    let before = pixels(&place, "image.png");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a picture")]
    let edge =
        |name: &str, side: u32| (bounds[name].as_f64().unwrap() * f64::from(side)).round() as u32;
    let [width, height] = [before.width(), before.height()];
    let rectangle =
        [edge("left", width), edge("top", height), edge("right", width), edge("bottom", height)];
    assert!(100 < changed(&before, &pixels(&place, "two.png"), rectangle));

    // From its own metadata and the picture that it was, byte for byte.
    let repeat = ["--quiet", "paint", "two.png", "--of", "image.png", "-o", "again.png"];
    place.succeed(&repeat);
    let two = fs::read(place.path("two.png")).unwrap();
    assert!(fs::read(place.path("again.png")).unwrap() == two, "repeated it differs");
    // Other seeds are other people, and each repainting has one of its own.
    place.succeed(&[&only[..], &["--seed", "5", "-o", "five.png"]].concat());
    assert_ne!(pixels(&place, "five.png"), pixels(&place, "two.png"));
    place.succeed(&["--quiet", "paint", "two.png", "--only", "s2", "-o", "three.png"]);
    assert!(0 < changed(&pixels(&place, "two.png"), &pixels(&place, "three.png"), rectangle));
    let seed = |name: &str| record(&place, name)["seed"].as_u64().unwrap();
    let seeds = ["image.png", "two.png", "three.png"].map(seed);
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2], "{seeds:?}");
    assert_eq!(seed("five.png"), 5);

    // The other picture is known by its hash.
    let hash = record(&place, "two.png")["repainted"]["of"].as_str().unwrap().to_owned();
    assert_eq!(hash.len(), 64);
    let shown = place.succeed(&["inspect", "two.png"]);
    assert!(shown.contains(&format!("anew     s2 of {hash}, feather 8")), "{shown}");
    refuses(&place, &["paint", "two.png", "-o", "x.png"], 2, &["--of", &hash]);
    let other = ["paint", "two.png", "--of", "five.png", "-o", "x.png"];
    refuses(&place, &other, 3, &["five.png", &hash, "--of"]);
    refuses(
        &place,
        &["paint", "image.png", "--of", "two.png", "-o", "x.png"],
        2,
        &["no repainting"],
    );
    let layout = ["paint", "layout.json", "--of", "two.png", "-o", "x.png"];
    refuses(&place, &layout, 2, &["no repainting"]);
}

#[test]
fn a_repainting_leaves_the_picture_that_it_is_of() {
    let place = laid_out();
    place.succeed(&["--quiet", "paint", "layout.json", "--steps", "1"]);
    let stays = ["image.png", "stays", "-o"];
    refuses(&place, &["paint", "image.png", "--only", "s2"], 2, &stays);
    refuses(&place, &["paint", "image.png", "--only", "s2", "-o", "./image.png"], 2, &stays);
    let unknown = ["paint", "image.png", "--only", "s2", "--only", "s9", "-o", "x.png"];
    refuses(&place, &unknown, 2, &["no subject `s9`", "s1, s2, s3, s4, s5"]);
    let wide = ["paint", "image.png", "--only", "s2", "--feather", "300", "-o", "x.png"];
    refuses(&place, &wide, 2, &["300", "256"]);
    refuses(&place, &["paint", "layout.json", "--only", "s2", "-o", "x.png"], 2, &["layout.json"]);
    let both = ["paint", "image.png", "--only", "s2", "--mask", "m.png", "-o", "x.png"];
    refuses(&place, &both, 2, &["--only", "--mask"]);
    let prompt = ["paint", "image.png", "--prompt", "a chef", "-o", "x.png"];
    refuses(&place, &prompt, 2, &["--mask"]);
}

#[test]
fn any_picture_is_painted_anew_where_a_mask_is_white() {
    let place = Place::new();
    let colour = |at: u32| u8::try_from(at.min(255)).unwrap();
    let photo = RgbImage::from_fn(192, 128, |x, y| Rgb([colour(x), colour(y), colour(x + y)]));
    photo.save(place.path("photo.png")).unwrap();
    let rectangle = [40, 24, 104, 96];
    let white = |x, y| (40..104).contains(&x) && (24..96).contains(&y);
    let mask = |width, height| {
        image::GrayImage::from_fn(width, height, |x, y| Luma([if white(x, y) { 255 } else { 0 }]))
    };
    mask(192, 128).save(place.path("mask.png")).unwrap();
    let paint = [
        "--quiet",
        "paint",
        "photo.png",
        "--mask",
        "mask.png",
        "--prompt",
        "a chef",
        "--steps",
        "2",
    ];
    place.succeed(&[&paint[..], &["-o", "out.png"]].concat());
    assert!(100 < changed(&photo, &pixels(&place, "out.png"), rectangle));
    // The mask is in the picture.
    fs::remove_file(place.path("mask.png")).unwrap();
    place.succeed(&["--quiet", "paint", "out.png", "--of", "photo.png", "-o", "again.png"]);
    let [out, again] = ["out.png", "again.png"].map(|name| fs::read(place.path(name)).unwrap());
    assert!(out == again, "repeated it differs");
    let shown = place.succeed(&["inspect", "out.png"]);
    assert!(shown.contains("anew     a mask of "), "{shown}");

    let to = [&paint[..], &["-o", "x.png"]].concat();
    refuses(&place, &to, 2, &["mask.png"]);
    mask(128, 128).save(place.path("mask.png")).unwrap();
    refuses(&place, &to, 2, &["mask.png", "128x128", "192x128"]);
    image::GrayImage::new(192, 128).save(place.path("mask.png")).unwrap();
    refuses(&place, &to, 2, &["nothing that can be painted anew"]);
    mask(192, 128).save(place.path("mask.png")).unwrap();
    let silent = ["paint", "photo.png", "--mask", "mask.png", "-o", "x.png"];
    refuses(&place, &silent, 2, &["photo.png", "--prompt"]);
    let whole = fs::read(place.path("photo.png")).unwrap();
    for (content, says) in [
        (&whole[..whole.len() - 40], "photo.png"),
        (&b"PK\x03\x04"[..], "can't be read as PNG"),
        (b"", "can't be read as PNG"),
    ] {
        place.write("photo.png", content);
        refuses(&place, &to, 2, &[says]);
    }
    for (width, height, says) in [(100, 128, "multiples of 8"), (8192, 8, "can't be read as PNG")] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::new(width, height).write_to(&mut bytes, ImageFormat::Png).unwrap();
        place.write("photo.png", bytes.into_inner());
        refuses(&place, &to, 2, &[says]);
    }
}
