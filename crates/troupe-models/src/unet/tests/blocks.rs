//! Blocks and whole networks against diffusers, with weights as they are and in bf16.

use std::collections::BTreeMap;

use super::*;

/// What comes out of a golden's network with weights of a precision, given two plain prompts.
fn sample_in(
    precision: Precision,
    name: &str,
    observe: &mut dyn FnMut(Stage, &Tensor),
) -> (Tensor, usize, Golden) {
    let files = ["json", "safetensors"].map(|ending| format!("unet/{name}.{ending}"));
    let (unet, golden) = read_in(precision, &files[0], &files[1]);
    let latents = tensor(&golden, "input.latents");
    let contexts = tensor(&golden, "input.contexts");
    let rows = [0, 1].map(|row| Conditioning::Plain(contexts.get(row).unwrap()));
    let added = added(&unet, &golden);
    let context = unet.prepare(&rows, &added, None, &[], grid(&latents)).unwrap();
    let timestep = f64::from(golden.tensor("input.timestep").0[0]);
    let sample = unet.forward_observed(&latents, timestep, &context, Isolation::Free, observe);
    (sample.unwrap(), unet.config.levels.len(), golden)
}

/// Fails if a block is further than 1e-4 from diffusers. Returns what comes out of the last.
#[track_caller]
fn check_blocks(name: &str) -> Vec<f32> {
    let mut seen = Vec::new();
    let keep = &mut |stage, x: &Tensor| seen.push((stage, x.clone()));
    let (sample, levels, golden) = sample_in(Precision::Stored, name, keep);
    for (stage, x) in &seen {
        let key = match stage {
            Stage::ConvIn => "expected.conv_in".to_owned(),
            Stage::Down(index) => format!("expected.down.{index}"),
            Stage::Mid => "expected.mid".to_owned(),
            Stage::Up(index) => format!("expected.up.{index}"),
        };
        let expected = golden.tensor(&key);
        assert_eq!(x.dims(), expected.1, "{name}: {key}");
        assert_close(&format!("{name}: {key}"), &values(x), &expected, 1e-4);
    }
    assert_close(name, &values(&sample), &golden.tensor("expected.sample"), 1e-4);
    assert_eq!(seen.len(), 2 * levels + 2);
    values(&sample)
}

// Each fails when a skip connection, the order of sine and cosine, an epsilon, a projection's
// transposition or the size of an odd feature map is wrong.
#[test]
fn blocks_with_two_layers_are_those_of_diffusers() {
    check_blocks("two_layers");
}

#[test]
fn blocks_with_linear_projection_are_those_of_diffusers() {
    check_blocks("linear_projection");
}

#[test]
fn uncommon_blocks_are_those_of_diffusers() {
    check_blocks("uncommon");
}

#[test]
fn a_single_block_is_that_of_diffusers() {
    check_blocks("one_block");
}

// Fails when the order of pooled text and sizes, or what a row is told, is wrong.
#[test]
fn blocks_of_sdxl_are_those_of_diffusers() {
    check_blocks("sdxl");
}

#[test]
fn blocks_of_an_inpainting_model_are_those_of_diffusers() {
    check_blocks("inpainting");
}

// Fails when weights aren't rounded to the nearest, or not at all.
#[test]
fn with_weights_of_bf16_a_network_is_near_or_as_near_as_diffusers_in_bf16() {
    let errors = fs::read_to_string(golden_path("unet/bf16.json")).unwrap();
    let errors: BTreeMap<String, f64> = serde_json::from_str(&errors).unwrap();
    assert_eq!(errors.len(), 6);
    for (name, of_diffusers) in errors {
        let exact = check_blocks(&name);
        let (rounded, _, golden) = sample_in(Precision::Bf16, &name, &mut |_, _| ());
        let (found, expected) = (values(&rounded), golden.tensor("expected.sample"));
        assert_close(&name, &found, &expected, of_diffusers.max(3e-2));
        let moved = relative_error(&found, &exact);
        assert!(1e-3 < moved, "{name}: bf16 moves what comes out by {moved}");
    }
}
