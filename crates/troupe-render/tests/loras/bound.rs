//! LoRAs that only some people have.

use troupe_render::{Painter, Person, RenderError, Scene};
use troupe_testkit::relative_error;

use super::{group, job, load, of_text, of_unet, person, scaled};
use crate::trace::Trace;

/// The latents after the last step.
fn latents(painter: &Painter, scene: Scene) -> Result<Vec<f32>, RenderError> {
    let mut steps = Trace::default();
    painter.paint(&job(scene, 3, 0.0), &mut steps)?;
    Ok(steps.0.pop().unwrap())
}

/// Fails when a LoRA, or its part for the text encoder, doesn't reach prompt and negative prompt.
#[test]
fn on_one_person_who_fills_the_picture_a_bound_lora_is_a_merged_one() {
    let words = "a woman with dark skin";
    let plain = || Scene::Plain(words.to_owned());
    let without = latents(&load(&[], &[]), plain()).unwrap();
    let (unet, text) = (of_unet(), of_text());
    for loras in [
        &[scaled(&unet, 0.8)][..],
        &[scaled(&text, 0.3)],
        &[scaled(&unet, -0.5), scaled(&text, 0.2)],
    ] {
        let merged = latents(&load(loras, &[]), plain()).unwrap();
        assert!(1e-2 < relative_error(&merged, &without), "the LoRA does nothing");
        let numbers: Vec<usize> = (0..loras.len()).collect();
        let alone = group(vec![person(words, 0.0, 1.0, &numbers)]);
        let bound = latents(&load(&[], loras), alone).unwrap();
        let error = relative_error(&bound, &merged);
        assert!(error < 1e-4, "{} LoRAs: {error:e}", loras.len());
    }
}

#[test]
fn a_lora_is_where_its_person_is() {
    let bound = load(&[], &[scaled(&of_unet(), 1.0)]);
    let two = |left: &[usize], right: &[usize]| {
        let people = vec![person("a woman", 0.0, 0.5, left), person("a man", 0.5, 1.0, right)];
        latents(&bound, group(people)).unwrap()
    };
    let none = two(&[], &[]);
    // (1, 4, 8, 12): how far the left halves of the rows moved, and the right ones. Norms and self-attention carry a
    // part of it everywhere.
    let moved = |with: Vec<f32>| {
        let half = |right: bool| -> f32 {
            let far = none.iter().zip(&with).enumerate().filter(|(at, _)| (6 <= at % 12) == right);
            far.map(|(_, (a, b))| (a - b).powi(2)).sum()
        };
        (half(false), half(true))
    };
    let (left, right) = (moved(two(&[0], &[])), moved(two(&[], &[0])));
    assert!(left.1 < left.0 && right.0 < right.1, "{left:?}, {right:?}");
    assert_eq!(
        two(&[], &[]),
        latents(
            &load(&[], &[]),
            group(vec![person("a woman", 0.0, 0.5, &[]), person("a man", 0.5, 1.0, &[]),])
        )
        .unwrap()
    );
}

#[test]
fn who_is_painted_alone_has_the_own_lora_and_no_other() {
    let bound = load(&[], &[scaled(&of_unet(), 1.0), scaled(&of_text(), 0.5)]);
    // Boxes as large as these have all of the picture for their window.
    let [woman, man] = [person("a woman", 0.0, 0.7, &[0, 1]), person("a man", 0.3, 1.0, &[])];
    let painted = |people: &[Person]| {
        let mut job = job(group(people.to_vec()), 3, 0.0);
        job.settings.regions.alone = 1.0;
        let mut steps = Trace::default();
        bound.paint(&job, &mut steps).unwrap();
        steps.0.pop().unwrap()
    };
    let columns = |latents: &[f32], columns: std::ops::Range<usize>| -> Vec<f32> {
        latents.chunks_exact(12).flat_map(|row| row[columns.clone()].to_vec()).collect()
    };
    let both = painted(&[woman.clone(), man.clone()]);
    let same = |range: std::ops::Range<usize>, other: &[f32]| {
        relative_error(&columns(&both, range.clone()), &columns(other, range)) < 1e-5
    };
    assert!(same(0..4, &painted(std::slice::from_ref(&woman))));
    assert!(same(4..12, &painted(std::slice::from_ref(&man))));
    let without = painted(&[Person { loras: Vec::new(), ..woman }, man]);
    assert!(!same(0..4, &without) && same(4..12, &without));
}

#[test]
fn a_lora_that_is_not_there_is_refused() {
    let scene = group(vec![person("a woman", 0.0, 1.0, &[0])]);
    let error = latents(&load(&[], &[]), scene).unwrap_err().to_string();
    assert!(error.contains("LoRA 0"), "{error}");
}
