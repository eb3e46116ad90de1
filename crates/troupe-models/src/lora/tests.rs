//! Merges against peft's own, and files that must be refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use troupe_testkit::{Golden, assert_close, golden_path};

mod blocks;
mod hostile;
mod inspect;
mod kinds;
mod misfits;
mod sdxl;

use super::*;
use crate::weights::{Bytes, Weights};

fn read(name: &str) -> Vec<u8> {
    std::fs::read(golden_path("lora").join(name)).unwrap()
}

fn network(name: &str) -> Weights {
    Weights::new(name, Arc::new(read(name))).unwrap()
}

fn adapter(name: &str) -> Arc<Adapter> {
    let config = std::fs::read_to_string(golden_path("lora").join(format!("{name}.json"))).ok();
    let bytes: Bytes = Arc::new(read(&format!("{name}.safetensors")));
    Arc::new(Adapter::read(name, bytes, config.as_deref(), Tolerance::Strict).unwrap())
}

/// Merges golden files, and compares every weight that the reference kept for them.
#[track_caller]
fn check(loras: &[(&str, f64)]) {
    let text = |(name, scale): &(&str, f64)| format!("{name}*{scale:?}");
    let case = loras.iter().map(text).collect::<Vec<_>>().join("+");
    check_as(&case, loras, &network("text_encoder.safetensors"));
}

#[track_caller]
fn check_as(case: &str, loras: &[(&str, f64)], text_encoder: &Weights) {
    let expected = Golden::read(golden_path("lora/expected.safetensors"));
    let unet = network("unet.safetensors");
    let scaled: Vec<Scaled> = loras
        .iter()
        .map(|&(name, scale)| Scaled { adapter: adapter(name), scale: Scales::from(scale) })
        .collect();
    let mut attached = attach(&scaled, &unet, std::slice::from_ref(text_encoder)).unwrap();
    let (unet, text_encoder) = (
        unet.with_adapters(attached.unet),
        text_encoder.clone().with_adapters(attached.text_encoders.remove(0)),
    );

    let names = expected.names();
    let kept: Vec<&str> =
        names.iter().filter_map(|name| name.strip_prefix(case)?.strip_prefix('/')).collect();
    assert!(3 <= kept.len(), "{case}: {names:?}");
    for name in kept {
        let (network, module) = name.split_once('/').unwrap();
        let network = match network {
            "unet" => unet.clone(),
            _ if text_encoder.contains("text_model.embeddings.token_embedding.weight") => {
                text_encoder.at("text_model")
            }
            _ => text_encoder.clone(),
        };
        let wanted = expected.tensor(&format!("{case}/{name}"));
        let merged = network.at(module).get("weight", &wanted.1).unwrap();
        let merged = merged.flatten_all().unwrap().to_vec1().unwrap();
        assert_close(&format!("{case}/{name}"), &merged, &wanted, 1e-5);
    }
}

#[test]
fn folders_of_peft_merge_as_peft_does() {
    for scale in [1.0, 0.6] {
        check(&[("peft_unet", scale)]);
        check(&[("peft_text_encoder", scale)]);
    }
}

#[test]
fn files_of_diffusers_merge_as_peft_does() {
    check(&[("diffusers", 1.0)]);
    check(&[("diffusers", -0.4)]);
    let text_encoder = network("text_encoder.safetensors");
    check_as("diffusers*1.0", &[("diffusers_old_names", 1.0)], &text_encoder);
    check(&[("diffusers_kohya", 0.5)]);
}

#[test]
fn files_of_kohya_merge_as_peft_does() {
    check(&[("kohya", 1.0)]);
    check(&[("kohya", 0.7)]);
}

#[test]
fn two_loras_add_up() {
    check(&[("diffusers", 0.8), ("kohya", 0.55)]);
}

#[test]
fn text_encoders_are_found_under_either_root() {
    let plain = read("text_encoder.safetensors");
    let file = safetensors::SafeTensors::deserialize(&plain).unwrap();
    let rooted = file
        .iter()
        .map(|(name, view)| (format!("text_model.{name}"), view))
        .collect::<BTreeMap<_, _>>();
    let bytes = safetensors::serialize(&rooted, None).unwrap();
    let rooted = Weights::new("rooted", Arc::new(bytes)).unwrap();
    for name in ["kohya", "diffusers"] {
        check_as(&format!("{name}*1.0"), &[(name, 1.0)], &rooted);
    }
    check_as("peft_text_encoder*0.6", &[("peft_text_encoder", 0.6)], &rooted);
}

#[test]
fn every_tensor_is_reported() {
    for name in ["kohya", "diffusers", "diffusers_old_names", "diffusers_kohya", "peft_unet"] {
        let scaled = [Scaled { adapter: adapter(name), scale: Scales::from(0.5) }];
        let (unet, text) = (network("unet.safetensors"), network("text_encoder.safetensors"));
        let applied =
            attach(&scaled, &unet, std::slice::from_ref(&text)).unwrap().applied.remove(0);
        let mut keys: Vec<String> = applied.tensors.iter().map(|t| t.key.clone()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            Golden::read(golden_path("lora").join(format!("{name}.safetensors"))).names()
        );
        assert_eq!(applied.modules_without_alpha, 0);
        for tensor in applied.tensors {
            let network = if tensor.network == Network::Unet { &unet } else { &text };
            assert!(network.contains(&tensor.weight), "{tensor:?}");
        }
    }
}

#[test]
fn a_weight_that_no_lora_names_keeps_its_bits() {
    let unet = network("unet.safetensors");
    let scaled = [Scaled { adapter: adapter("kohya"), scale: Scales::from(1.0) }];
    let attached = attach(&scaled, &unet, &[network("text_encoder.safetensors")]).unwrap();
    let shape = unet.shape("conv_in.weight").unwrap();
    let values = |weights: &Weights| -> Vec<f32> {
        weights.get("conv_in.weight", shape).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    assert_eq!(values(&unet), values(&unet.clone().with_adapters(attached.unet)));
}

/// A safetensors file of f32 tensors, all of them `value`.
fn file(tensors: &[(&str, &[usize], f32)], metadata: &[(&str, &str)]) -> Bytes {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, value)| value.to_le_bytes().repeat(shape.iter().product()))
        .collect();
    let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap())
    });
    // With empty metadata and no tensors the writer makes invalid JSON.
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    Arc::new(safetensors::serialize(views, metadata).unwrap())
}

/// A UNet of one module `a.to_q` (4, 3), and a text encoder of one `b.fc` (2, 2).
fn one_module_each() -> (Weights, Weights) {
    let unet = file(&[("a.to_q.weight", &[4, 3], 1.0), ("a.to_q.bias", &[4], 0.0)], &[]);
    let text_encoder = file(&[("text_model.b.fc.weight", &[2, 2], 1.0)], &[]);
    (Weights::new("unet", unet).unwrap(), Weights::new("text", text_encoder).unwrap())
}

/// What attaching a made-up LoRA says, or the merged value of `a.to_q`.
fn attempt(tensors: &[(&str, &[usize], f32)], metadata: &[(&str, &str)]) -> Result<f32, String> {
    let (unet, text_encoder) = one_module_each();
    let adapter = Adapter::read("x.safetensors", file(tensors, metadata), None, Tolerance::Strict)
        .map_err(|error| error.to_string())?;
    let scaled = [Scaled { adapter: Arc::new(adapter), scale: Scales::from(0.5) }];
    let attached = attach(&scaled, &unet, &[text_encoder]).map_err(|error| error.to_string())?;
    let merged = unet.with_adapters(attached.unet).get("a.to_q.weight", &[4, 3]);
    Ok(merged.map_err(|error| error.to_string())?.to_vec2::<f32>().unwrap()[0][0])
}

#[test]
fn alpha_is_taken_beside_the_key_then_from_the_header_then_from_the_rank() {
    const DOWN: (&str, &[usize], f32) = ("lora_unet_a_to_q.lora_down.weight", &[2, 3], 3.0);
    const UP: (&str, &[usize], f32) = ("lora_unet_a_to_q.lora_up.weight", &[4, 2], 5.0);
    const ALPHA: (&str, &[usize], f32) = ("lora_unet_a_to_q.alpha", &[], 1.0);
    // B · A is 2 · 3 · 5 = 30 everywhere, the scale 0.5, the rank 2.
    let header = [("ss_network_alpha", "4")];
    assert_eq!(attempt(&[DOWN, UP, ALPHA], &header), Ok(1.0 + 0.5 * 0.5 * 30.0));
    assert_eq!(attempt(&[DOWN, UP], &header), Ok(1.0 + 0.5 * 2.0 * 30.0));
    assert_eq!(attempt(&[DOWN, UP], &[("ss_network_alpha", "None")]), Ok(1.0 + 0.5 * 30.0));
}
