//! A painter whose LoRAs change: it paints what one paints that was loaded with them.

use troupe_render::{Loras, Painter, Scaled, Scales};

use super::{group, job, load, made_up, of_text, of_unet, person, scaled};
use crate::trace::Trace;

/// The latents of all steps and the picture, of one person with all bound LoRAs and one with none.
fn painted(painter: &Painter, bound: usize) -> (Vec<u32>, Vec<u8>) {
    let all: Vec<usize> = (0..bound).collect();
    let people = vec![person("a woman", 0.0, 0.5, &all), person("a woman", 0.5, 1.0, &[])];
    let mut steps = Trace::default();
    let rgb = painter.paint(&job(group(people), 2, 0.2), &mut steps).unwrap().rgb;
    (steps.0.concat().into_iter().map(f32::to_bits).collect(), rgb)
}

#[test]
fn a_painter_with_other_loras_paints_as_one_loaded_with_them() {
    let (unet, text) = (of_unet(), of_text());
    let mut down = scaled(&unet, 0.7);
    down.scale = Scales { uniform: 0.7, blocks: [("down".to_owned(), 0.0)].into() };
    let cases: [(&[Scaled], &[Scaled]); 8] = [
        (&[scaled(&unet, 0.8)], &[]),
        (&[scaled(&text, 0.5), scaled(&unet, 0.8)], &[]),
        (&[down], &[]),
        (&[scaled(&text, 0.5)], &[]),
        (&[], &[scaled(&unet, 0.8)]),
        (&[scaled(&unet, -0.5)], &[scaled(&text, 0.3), scaled(&unet, 1.0)]),
        (&[], &[scaled(&text, 0.5)]),
        (&[], &[]),
    ];
    let mut painter = load(&[], &[]);
    let at_first = painted(&painter, 0);
    let mut seen = vec![at_first.clone()];
    for (case, (merged, bound)) in cases.into_iter().enumerate() {
        let applied = painter.set_loras(Loras { merged, bound }).unwrap();
        assert_eq!(applied.len(), merged.len() + bound.len());
        let found = painted(&painter, bound.len());
        assert!(found == painted(&load(merged, bound), bound.len()), "case {case}");
        if case < 7 {
            assert!(!seen.contains(&found), "case {case} is painted as another");
            seen.push(found);
        } else {
            assert!(found == at_first, "the LoRAs left something behind");
        }
    }
}

/// One that doesn't fit is told before anything changes; one whose product is no number while the UNet is built, when the
/// text encoder is built already.
#[test]
fn after_an_error_the_painter_is_as_it_was() {
    let (unet, text) = (of_unet(), of_text());
    let before = [scaled(&unet, 0.8)];
    let mut painter = load(&before, &before);
    let at_first = painted(&painter, 1);
    let nowhere = made_up("lora_unet_nowhere", [4, 4], 1.0);
    let module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let huge = made_up(module, [8, 8], 1e38);
    for (bad, message) in [(&nowhere, "does not fit"), (&huge, "NaN or infinite")] {
        let merged = [scaled(&text, 0.5), scaled(bad, 1.0)];
        let error = painter.set_loras(Loras { merged: &merged, bound: &[] }).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(painted(&painter, 1) == at_first, "{message}");
    }
    painter.set_loras(Loras::default()).unwrap();
    assert!(painted(&painter, 0) == painted(&load(&[], &[]), 0));
}
