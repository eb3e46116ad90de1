//! Merges against peft's own, and files that must be refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use troupe_testkit::{Golden, assert_close, golden_path};

mod blocks;
mod hostile;
mod kinds;
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

#[test]
fn what_does_not_fit_is_refused_and_named() {
    type Tensors<'a> = &'a [(&'a str, &'a [usize], f32)];
    let cases: [(Tensors<'_>, &str); 14] = [
        (
            &[("unet.z.lora_A.weight", &[2, 3], 1.0), ("unet.z.lora_B.weight", &[4, 2], 1.0)],
            "2 of its 2 tensors can't be applied: `unet.z.lora_A.weight` (this model's UNet has no",
        ),
        (
            &[("unet.b.fc.lora_A.weight", &[2, 2], 1.0), ("unet.b.fc.lora_B.weight", &[2, 2], 1.0)],
            "this model's UNet has no such module",
        ),
        (
            &[("z.lora_A.weight", &[2, 3], 1.0), ("z.lora_B.weight", &[4, 2], 1.0)],
            "this model has no such module",
        ),
        (
            &[
                ("unet.a.to_q.lora_A.weight", &[2, 768], 1.0),
                ("unet.a.to_q.lora_B.weight", &[4, 2], 1.0),
            ],
            "made for another model: shapes [2, 768] and [4, 2], for a weight of shape [4, 3]",
        ),
        (
            &[
                ("unet.a.to_q.lora_A.weight", &[2, 3], 1.0),
                ("unet.a.to_q.lora_B.weight", &[320, 2], 1.0),
            ],
            "made for another model",
        ),
        (
            &[
                ("unet.a.to_q.lora_A.weight", &[2, 3], 1.0),
                ("unet.a.to_q.lora_B.weight", &[4, 1], 1.0),
            ],
            "have no rank in common",
        ),
        (
            &[
                ("unet.a.to_q.lora_A.weight", &[0, 3], 1.0),
                ("unet.a.to_q.lora_B.weight", &[4, 0], 1.0),
            ],
            "have no rank in common",
        ),
        (&[("unet.a.to_q.lora_A.weight", &[2, 3], 1.0)], "lacks one of the two matrices"),
        (&[("lora_unet_a_to_q.alpha", &[], 1.0)], "lacks one of the two matrices"),
        (
            &[
                ("lora_te2_a_to_q.lora_down.weight", &[2, 3], 1.0),
                ("lora_te2_a_to_q.lora_up.weight", &[4, 2], 1.0),
            ],
            "this model has no second text encoder",
        ),
        (&[("lora_unet_a_to_q.oft_blocks", &[4, 2], 1.0)], "OFT is not supported yet"),
        (&[("a.to_q.weight", &[4, 3], 1.0)], "not the name of a LoRA tensor"),
        (
            &[
                ("unet.a.to_q.lora_A.weight", &[2, 3], 1.0),
                ("unet.a.to_q.lora_B.weight", &[4, 2], 1.0),
                ("a.to_q.lora_A.weight", &[2, 3], 1.0),
                ("a.to_q.lora_B.weight", &[4, 2], 1.0),
            ],
            "for the same module as",
        ),
        (&[], "has no tensors"),
    ];
    for (tensors, says) in cases {
        let error = attempt(tensors, &[]).unwrap_err();
        assert!(error.contains(says) && error.contains("`x.safetensors`"), "{says}: {error}");
    }
}

#[test]
fn one_bad_tensor_among_good_ones_is_enough() {
    let good: [(&str, &[usize], f32); 2] =
        [("a.to_q.lora_A.weight", &[2, 3], 1.0), ("a.to_q.lora_B.weight", &[4, 2], 1.0)];
    assert!(attempt(&good, &[]).is_ok());
    let error = attempt(&[good[0], good[1], ("a.to_q.lora_C.weight", &[1], 1.0)], &[]).unwrap_err();
    assert!(error.contains("1 of its 3 tensors"), "{error}");
}

#[test]
fn tolerated_misfits_are_left_out_and_reported_one_by_one() {
    let tensors: [(&str, &[usize], f32); 6] = [
        ("a.to_q.lora_A.weight", &[2, 3], 1.0),
        ("a.to_q.lora_B.weight", &[4, 2], 1.0),
        ("b.fc.lora_A.weight", &[2, 9], 1.0),
        ("b.fc.lora_B.weight", &[2, 2], 1.0),
        ("b.fc.oft_r", &[1], 1.0),
        ("lora_te2_a.alpha\u{1b}[31m", &[1], 1.0),
    ];
    let read = |count: usize, tolerance| {
        Adapter::read("x", file(&tensors[6 - count..], &[]), None, tolerance).map(Arc::new)
    };
    let (unet, text_encoder) = one_module_each();
    let apply = |adapter: Arc<Adapter>| {
        let scaled = [Scaled { adapter, scale: Scales::from(0.5) }];
        attach(&scaled, &unet, std::slice::from_ref(&text_encoder))
    };
    assert!(read(6, Tolerance::Strict).is_err());
    let attached = apply(read(6, Tolerance::Lenient).unwrap()).unwrap();
    let applied = &attached.applied[0];
    let keys: Vec<&str> = applied.tensors.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, [tensors[0].0, tensors[1].0]);
    let skipped: Vec<(&str, &str)> =
        applied.skipped.iter().map(|it| (it.key.as_str(), it.reason.as_str())).collect();
    let says = [
        ("b.fc.lora_A.weight", "made for another model"),
        ("b.fc.lora_B.weight", "made for another model"),
        ("b.fc.oft_r", "OFT is not supported yet"),
        ("lora_te2_a.alpha", "not the name of a LoRA tensor"),
    ];
    assert_eq!(skipped.len(), says.len(), "{skipped:?}");
    for ((key, reason), (wanted, because)) in skipped.iter().zip(says) {
        assert!(key.starts_with(wanted) && reason.contains(because), "{key}: {reason}");
        assert!(!key.contains('\u{1b}'), "{key}");
    }
    // Nothing of it fits.
    let error = apply(read(4, Tolerance::Lenient).unwrap()).unwrap_err().to_string();
    assert!(error.contains("4 of its 4 tensors"), "{error}");
    let error = read(2, Tolerance::Lenient).unwrap_err().to_string();
    assert!(error.contains("2 of its 2 tensors"), "{error}");
}

#[test]
fn long_lists_of_misfits_are_cut() {
    let names: Vec<String> = (0..9).map(|i| format!("x{i}.\u{1b}[31m")).collect();
    let tensors: Vec<(&str, &[usize], f32)> =
        names.iter().map(|name| (name.as_str(), &[1][..], 1.0)).collect();
    let error = attempt(&tensors, &[]).unwrap_err();
    assert!(error.contains("9 of its 9") && error.contains("and 4 more"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    let lora = |value: f32, alpha: f32| {
        attempt(
            &[
                ("lora_unet_a_to_q.lora_down.weight", &[2, 3], value),
                ("lora_unet_a_to_q.lora_up.weight", &[4, 2], 1.0),
                ("lora_unet_a_to_q.alpha", &[1], alpha),
            ],
            &[],
        )
    };
    assert!(lora(1.0, 1.0).is_ok());
    let error = lora(f32::NAN, 1.0).unwrap_err();
    assert!(error.contains("`lora_unet_a_to_q.lora_down.weight`"), "{error}");
    assert!(lora(1.0, f32::INFINITY).is_err());
}

#[test]
fn a_scale_that_is_no_number_is_refused() {
    let (unet, text_encoder) = (network("unet.safetensors"), network("text_encoder.safetensors"));
    let scaled = [Scaled { adapter: adapter("kohya"), scale: Scales::from(f64::NAN) }];
    assert!(matches!(attach(&scaled, &unet, &[text_encoder]), Err(LoraError::Scale { .. })));
}

#[test]
fn inspection_says_what_a_file_is() {
    let kohya = adapter("kohya").inspect();
    assert_eq!(kohya.dialects.iter().collect::<Vec<_>>(), [&Dialect::Kohya]);
    assert_eq!(kohya.networks, BTreeMap::from([("text_encoder", 6), ("unet", 41)]));
    assert_eq!(kohya.ranks, BTreeMap::from([(2, 6), (4, 41)]));
    assert_eq!(kohya.metadata["ss_output_name"], "tiny");
    assert!(kohya.alphas.iter().all(|used| used.source == AlphaSource::Key));
    let alphas: Vec<f64> = kohya.alphas.iter().map(|used| used.alpha).collect();
    assert_eq!(alphas.len(), 3, "{alphas:?}");

    let peft = adapter("peft_unet").inspect();
    assert_eq!(peft.networks.keys().collect::<Vec<_>>(), [&"unet"]);
    assert!(peft.alphas.iter().all(|used| used.source == AlphaSource::AdapterConfig));
    let diffusers = adapter("diffusers_old_names").inspect();
    assert!(diffusers.dialects.contains(&Dialect::Diffusers));
    assert!(diffusers.alphas.iter().all(|used| used.source == AlphaSource::AdapterMetadata));
}

#[test]
fn inspection_shows_metadata_bounded_and_clean() {
    let many: Vec<(String, String)> =
        (0..70).map(|i| (format!("k{i:02}"), "\u{1b}]0;x\u{7}".repeat(200))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let tensors: [(&str, &[usize], f32); 2] =
        [("a.lora_A.weight", &[2, 3], 1.0), ("a.lora_B.weight", &[4, 2], 1.0)];
    let shown =
        Adapter::read("x", file(&tensors, &many), None, Tolerance::Strict).unwrap().inspect();
    assert_eq!((shown.metadata.len(), shown.metadata_left_out), (64, 6));
    for value in shown.metadata.values() {
        assert!(value.chars().count() <= 301 && !value.chars().any(char::is_control), "{value}");
    }
    assert_eq!(shown.alphas, [UsedAlpha { alpha: 2.0, source: AlphaSource::Rank, modules: 1 }]);
}

#[test]
fn pickles_are_refused_by_policy_and_misfits_are_not() {
    let error = Adapter::read(
        "x.safetensors",
        Arc::new(b"PK\x03\x04rest".to_vec()),
        None,
        Tolerance::Lenient,
    );
    assert_eq!(error.unwrap_err().blame(), Blame::Policy);
    let error =
        Adapter::read("x.safetensors", file(&[("z", &[1], 0.0)], &[]), None, Tolerance::Lenient);
    assert_eq!(error.unwrap_err().blame(), Blame::Asset);
}

#[test]
fn numbers_that_are_none_are_found_when_the_file_is_read() {
    let (down, up) = ("lora_unet_a_to_q.lora_down.weight", "lora_unet_a_to_q.lora_up.weight");
    for (down_value, up_value, named) in
        [(f32::NAN, 1.0, down), (1.0, f32::INFINITY, up), (f32::NEG_INFINITY, 1.0, down)]
    {
        let tensors: [(&str, &[usize], f32); 2] =
            [(down, &[2, 3], down_value), (up, &[4, 2], up_value)];
        let error = Adapter::read("x.safetensors", file(&tensors, &[]), None, Tolerance::Lenient)
            .unwrap_err();
        assert_eq!(error.blame(), Blame::Asset);
        let text = error.to_string();
        assert!(text.contains("NaN or infinity") && text.contains(named), "{text}");
    }
}
