//! LoRAs bound to subjects: against the same merged, diffusers', and the formula in PyTorch.

use super::*;
use crate::lora::{Adapter, AdapterSet, Scaled, Scales, Tolerance, attach};

pub(super) fn files() -> (UNetConfig, Weights, Golden) {
    let config = fs::read_to_string(golden_path("regional/config.json")).unwrap();
    let bytes = fs::read(golden_path("regional/regional.safetensors")).unwrap();
    let weights = Weights::new("regional", Arc::new(bytes)).unwrap();
    let expected = Golden::read(golden_path("bound-lora/expected.safetensors"));
    (UNetConfig::from_json(&config).unwrap(), weights, expected)
}

/// What the LoRA of a number does to the UNet.
pub(super) fn lora(number: usize, unet: &Weights) -> AdapterSet {
    let name = format!("bound-lora/{number}.safetensors");
    let bytes = fs::read(golden_path(&name)).unwrap();
    let adapter = Arc::new(Adapter::read(&name, Arc::new(bytes), None, Tolerance::Strict).unwrap());
    attach(&[Scaled { adapter, scale: Scales::from(1.0) }], unet, &[]).unwrap().unet
}

fn bound(numbers: &[usize]) -> (UNet, Golden) {
    let (config, weights, expected) = files();
    let loras = numbers.iter().map(|&number| lora(number, &weights)).collect();
    (UNet::new(config, &weights.with_bound(loras)).unwrap(), expected)
}

fn region(left: f64, right: f64) -> Placed {
    Placed { bounds: BoundingBox::new(left, 0.0, right, 1.0).unwrap(), depth: 0 }
}

/// Both rows regional, each region told what its row is told: only LoRAs make a difference.
fn rows_as_plain(contexts: &Tensor, regions: usize) -> [Conditioning; 2] {
    [0, 1].map(|row| {
        let prompt = contexts.get(row).unwrap();
        Conditioning::Regional { base: prompt.clone(), regions: vec![prompt; regions] }
    })
}

// Fails when a layer, alpha, or the key or value of a prompt is left out.
#[test]
fn merged_and_bound_to_everything_are_diffusers() {
    let it = Regional::read();
    let plain = [0, 1].map(|row| Conditioning::Plain(it.contexts.get(row).unwrap()));
    let everything = Regions::new(vec![region(0.0, 1.0)], 0.0);
    let rows = rows_as_plain(&it.contexts, 1);
    for number in [0, 1] {
        let (config, weights, expected) = files();
        let expected = expected.tensor(&format!("expected.merged.{number}"));
        let merged = weights.clone().with_adapters(lora(number, &weights));
        let merged = UNet::new(config, &merged).unwrap();
        let size = grid(&it.latents);
        let context = merged.prepare(&plain, &[], None, &[], size).unwrap();
        let merged = merged.forward(&it.latents, 421.0, &context, Isolation::Free).unwrap();
        assert_close("merged", &values(&merged), &expected, 1e-4);

        let (unet, _) = bound(&[number]);
        let context = unet.prepare(&rows, &[], Some(&everything), &[vec![0]], size).unwrap();
        let at_run_time = unet.forward(&it.latents, 421.0, &context, Isolation::Free).unwrap();
        assert_close("bound", &values(&at_run_time), &expected, 1e-4);
    }
}

// Fails when a mask, its level, or the negative prompt's part is wrong.
#[test]
fn bound_loras_are_their_formula_in_pytorch() {
    let it = Regional::read();
    let (unet, expected) = bound(&[0, 1]);
    let negative = it.contexts.get(0).unwrap();
    let rows = [
        Conditioning::Regional { base: negative.clone(), regions: vec![negative; 3] },
        Conditioning::Regional { base: it.contexts.get(1).unwrap(), regions: it.prompts.clone() },
    ];
    let loras = [vec![0], Vec::new(), vec![1]];
    let context = unet.prepare(&rows, &[], Some(&it.regions), &loras, grid(&it.latents)).unwrap();
    let found = unet.forward(&it.latents, 421.0, &context, Isolation::Free).unwrap();
    assert_close("bound", &values(&found), &expected.tensor("expected.bound"), 1e-4);
}

#[test]
fn in_the_first_layer_each_half_has_its_lora_alone() {
    let it = Regional::read();
    let (unet, _) = bound(&[0, 1]);
    let size = grid(&it.latents);
    let first = |regions: Vec<Placed>, loras: &[Vec<usize>]| {
        let rows = rows_as_plain(&it.contexts, regions.len());
        let regions = Regions::new(regions, 0.0);
        let context = unet.prepare(&rows, &[], Some(&regions), loras, size).unwrap();
        let mut found = None;
        let mut observe = |stage: Stage, x: &Tensor| {
            if stage == Stage::ConvIn {
                found = Some(x.clone());
            }
        };
        let free = Isolation::Free;
        unet.forward_observed(&it.latents, 421.0, &context, free, &mut observe).unwrap();
        found.unwrap()
    };
    let halves = first(vec![region(0.0, 0.5), region(0.5, 1.0)], &[vec![0], vec![1]]);
    let half = size.width >> 1;
    for (lora, start) in [(0, 0), (1, half)] {
        let alone = first(vec![region(0.0, 1.0)], &[vec![lora]]);
        let part = |x: &Tensor| x.narrow(2, start, half).unwrap();
        assert_eq!(bits(&part(&halves)), bits(&part(&alone)));
        let other = first(vec![region(0.0, 1.0)], &[vec![1 - lora]]);
        assert!(0.1 < relative_error(&values(&part(&halves)), &values(&part(&other))));
    }
}

#[test]
fn a_lora_that_no_subject_has_changes_no_bit() {
    let it = Regional::read();
    let (unet, _) = bound(&[0]);
    let size = grid(&it.latents);
    let without = bits(&it.sample(&it.rows(), Some(&it.regions), ISOLATED));
    let none = [const { Vec::new() }; 3];
    let context = unet.prepare(&it.rows(), &[], Some(&it.regions), &none, size).unwrap();
    let found = unet.forward(&it.latents, 421.0, &context, ISOLATED).unwrap();
    assert_eq!(bits(&found), without);
}
