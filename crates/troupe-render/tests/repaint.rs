//! Parts of pictures painted anew by a model that wasn't made for it, against diffusers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;
#[path = "support/trace.rs"]
mod trace;

use troupe_core::layout::Canvas;
use troupe_render::{
    Job, Loras, Noise, Painter, RegionSettings, Repaint, Scene, Settings, Tensor4,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::{Golden, assert_close, golden_path, relative_error};

use self::support::tiny;
use self::trace::Trace;

/// The bound on a whole generation of twenty steps in f32.
const TOLERANCE: f64 = 1e-3;
const STEPS: usize = 20;
const SAMPLERS: [(&str, Sampler); 4] = [
    ("ddim", Sampler::Ddim),
    ("euler", Sampler::Euler),
    ("dpm++2m", Sampler::DpmPlusPlus2M),
    ("unipc", Sampler::UniPc),
];

fn painter() -> Painter {
    tiny(Loras::default(), |_, bytes| bytes).unwrap()
}

fn golden() -> Golden {
    Golden::read(golden_path("repaint/expected.safetensors"))
}

fn job(sampler: Sampler) -> Job {
    let (values, shape) = golden().tensor("noise");
    let noise = Tensor4 { shape: shape.try_into().unwrap(), values };
    Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene: Scene::Plain("two basketball players on an outdoor court".to_owned()),
        negative: "a photograph".to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(sampler, Schedule::Uniform, STEPS),
            guidance: 3.0,
            guidance_rescale: 0.0,
            regions: RegionSettings::new(0.2, 0.5),
        },
        noise: Noise::Given { noise, steps: None },
    }
}

fn picture() -> Repaint {
    let golden = golden();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
    let byte = |value: f32| value as u8;
    Repaint {
        rgb: golden.tensor("rgb").0.into_iter().map(byte).collect(),
        anew: golden.tensor("anew").0.into_iter().map(|it| 0.5 < it).collect(),
        feather: 0,
        strength: 1.0,
    }
}

// Fails when the picture isn't put back in a step or in the end, has another step's noise or another
// sampler's scale, or the mask is turned, inverted or of other pixels.
#[test]
fn an_ordinary_model_repaints_as_diffusers_does() {
    let painter = painter();
    assert!(!painter.inpaints());
    for (name, sampler) in SAMPLERS {
        let mut trace = Trace::default();
        painter.repaint(&job(sampler), &picture(), &mut trace).unwrap();
        let expected = golden().tensor(&format!("{name}.final"));
        assert_close(name, trace.0.last().unwrap(), &expected, TOLERANCE);
    }
}

// Fails when another step is the first, the picture enters it with other noise, or a solver of several steps takes the
// first for a later one.
#[test]
fn with_less_strength_it_begins_with_the_picture_as_in_diffusers() {
    let painter = painter();
    for (name, sampler) in SAMPLERS {
        let mut trace = Trace::default();
        let picture = Repaint { strength: 0.45, ..picture() };
        painter.repaint(&job(sampler), &picture, &mut trace).unwrap();
        let expected = golden().tensor(&format!("{name}.part"));
        assert_close(name, trace.0.last().unwrap(), &expected, TOLERANCE);
        assert_eq!(trace.0.len(), 10, "nine steps, and what is left");
    }
    // The least is one step.
    let mut trace = Trace::default();
    painter
        .repaint(&job(Sampler::Ddim), &Repaint { strength: 1e-3, ..picture() }, &mut trace)
        .unwrap();
    assert_eq!(trace.0.len(), 2);
}

#[test]
fn what_is_not_painted_anew_keeps_its_bytes() {
    let (painter, picture) = (painter(), picture());
    let (reference, _) = golden().tensor("ddim.picture");
    for feather in [0, 5] {
        let repaint = Repaint { feather, ..picture.clone() };
        let painted =
            painter.repaint(&job(Sampler::Ddim), &repaint, &mut Trace::default()).unwrap().rgb;
        let mut changed = 0;
        for (at, &byte) in painted.iter().enumerate() {
            let (y, x) = (at.div_euclid(3 * 96), at.rem_euclid(3 * 96).div_euclid(3));
            // The rectangle is 20..61 by 13..51.
            let beside = [20_usize.saturating_sub(x), x.saturating_sub(60)];
            let above = [13_usize.saturating_sub(y), y.saturating_sub(50)];
            let distance = beside.into_iter().chain(above).max().unwrap();
            let (old, new) = (f32::from(picture.rgb[at]), reference[at]);
            let byte = f32::from(byte);
            if distance == 0 {
                assert!((byte - new).abs() <= 1.0, "{x}, {y}: {byte}, and the reference has {new}");
                changed += usize::from(1.0 < (byte - old).abs());
            } else if distance <= usize::try_from(feather).unwrap() {
                let (low, high) = (old.min(new) - 1.0, old.max(new) + 1.0);
                assert!((low..=high).contains(&byte), "{x}, {y}: {byte} of {old} and {new}");
            } else {
                assert!((byte - old).abs() < 0.5, "{x}, {y}: {byte}, and it was {old}");
            }
        }
        assert!(41 * 38 < changed, "{changed} bytes of the rectangle changed");
    }
}

#[test]
fn the_noise_decides_what_is_painted_anew_and_nothing_else() {
    let painter = painter();
    let paint = |change: bool| {
        let mut job = job(Sampler::EulerAncestral);
        let later = [STEPS, 4, 8, 12];
        let Noise::Given { noise, steps } = &mut job.noise else { panic!("given") };
        if change {
            noise.values.iter_mut().for_each(|it| *it = -*it);
        }
        *steps = Some(Tensor4 { shape: later, values: vec![0.0; later.iter().product()] });
        let mut trace = Trace::default();
        let rgb = painter.repaint(&job, &picture(), &mut trace).unwrap().rgb;
        (trace.0.pop().unwrap(), rgb)
    };
    let ((latents, rgb), (other, other_rgb)) = (paint(false), paint(true));
    assert!(0.05 < relative_error(&other, &latents));
    let anew = picture().anew;
    for (at, (one, two)) in rgb.iter().zip(&other_rgb).enumerate() {
        assert!(one == two || anew[at.div_euclid(3)], "byte {at} isn't painted anew, and differs");
    }
}

#[test]
fn a_repainting_that_paints_nothing_or_of_another_size_is_refused() {
    let painter = painter();
    let refused = |change: &dyn Fn(&mut Repaint)| {
        let mut picture = picture();
        change(&mut picture);
        let error = painter.repaint(&job(Sampler::Ddim), &picture, &mut Trace::default());
        error.unwrap_err().to_string()
    };
    let error = refused(&|it| it.anew.fill(false));
    assert!(error.contains("nothing that can be painted anew"), "{error}");
    // A single pixel that is no square's first.
    let error = refused(&|it| {
        it.anew.fill(false);
        it.anew[9 * 96 + 9] = true;
    });
    assert!(error.contains("nothing that can be painted anew"), "{error}");
    let error = refused(&|it| it.anew.truncate(7));
    assert!(error.contains("aren't of 96 x 64 pixels"), "{error}");
    let error = refused(&|it| it.rgb.truncate(7));
    assert!(error.contains("aren't of 96 x 64 pixels"), "{error}");
}
