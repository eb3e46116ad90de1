//! Kohya's names for SDXL: both families of paths, and both text encoders.

use super::*;
use crate::single_file::SingleFile;

const FILES: [&str; 2] = ["kohya", "kohya_original"];

fn golden(file: &str) -> Bytes {
    Arc::new(std::fs::read(golden_path(file)).unwrap())
}

fn lora(name: &str) -> Arc<Adapter> {
    let bytes = golden(&format!("lora-sdxl/{name}.safetensors"));
    Arc::new(Adapter::read(name, bytes, None, Tolerance::Strict).unwrap())
}

/// The networks of the folder: the UNet, and the two text encoders.
fn folder() -> (Weights, Vec<Weights>) {
    let network = |path: &str| {
        let path = format!("single-file/sdxl/{path}.fp16.safetensors");
        Weights::new(&path, golden(&path)).unwrap()
    };
    let texts = ["text_encoder/model", "text_encoder_2/model"].map(network);
    (network("unet/diffusion_pytorch_model"), texts.to_vec())
}

/// Merges a LoRA, and compares every weight that the reference kept for the case.
#[track_caller]
fn check(case: &str, scaled: Scaled, (unet, texts): &(Weights, Vec<Weights>)) {
    let expected = Golden::read(golden_path("lora-sdxl/expected.safetensors"));
    let attached = attach(&[scaled], unet, texts).unwrap();
    let mut networks = vec![("unet", unet.clone().with_adapters(attached.unet))];
    let merged = texts.iter().zip(attached.text_encoders);
    let merged = merged.map(|(weights, set)| weights.clone().with_adapters(set));
    networks.extend(["text_encoder", "text_encoder_2"].into_iter().zip(merged));
    let mut compared = 0;
    for (network, weights) in networks {
        let of_network = format!("{case}/{network}/");
        for name in expected.names() {
            let Some(module) = name.strip_prefix(&of_network) else { continue };
            let rooted = weights.at("text_model");
            let root =
                if rooted.contains(&format!("{module}.weight")) { &rooted } else { &weights };
            let wanted = expected.tensor(&name);
            let merged = root.at(module).get("weight", &wanted.1).unwrap();
            let merged = merged.flatten_all().unwrap().to_vec1().unwrap();
            assert_close(&name, &merged, &wanted, 1e-5);
            compared += 1;
        }
    }
    assert!(5 < compared, "{case}: {compared}");
}

// Fails when a block is counted by another number of layers, or the text encoders are exchanged.
#[test]
fn both_families_of_names_merge_as_diffusers_merges_them() {
    for name in FILES {
        check("0.7", Scaled { adapter: lora(name), scale: Scales::from(0.7) }, &folder());
    }
}

#[test]
fn a_checkpoint_in_one_file_takes_them_too() {
    let file = SingleFile::open("single", golden("single-file/sdxl/single.safetensors")).unwrap();
    let texts = file.text_encoders.into_iter().map(|part| part.weights).collect();
    let networks = (file.unet, texts);
    for name in FILES {
        check("0.7", Scaled { adapter: lora(name), scale: Scales::from(0.7) }, &networks);
    }
}

#[test]
fn a_model_with_one_text_encoder_refuses_the_part_of_the_second() {
    let (unet, mut texts) = folder();
    texts.pop();
    let scaled = [Scaled { adapter: lora("kohya"), scale: Scales::from(1.0) }];
    let error = attach(&scaled, &unet, &texts).unwrap_err().to_string();
    assert!(error.contains("this model has no second text encoder"), "{error}");
    assert!(error.contains("`lora_te2_text_model_encoder_layers_0_mlp_fc2.alpha`"), "{error}");
}

#[test]
fn a_module_is_not_changed_twice_under_two_names() {
    let names = ["input_blocks_1_0_emb_layers_1", "down_blocks_0_resnets_0_time_emb_proj"]
        .map(|module| ["down", "up"].map(|part| format!("lora_unet_{module}.lora_{part}.weight")));
    let tensors: Vec<(&str, &[usize], f32)> = names
        .iter()
        .flat_map(|[down, up]| [(down.as_str(), &[1, 16][..], 1.0), (up.as_str(), &[4, 1], 1.0)])
        .collect();
    let (unet, texts) = folder();
    assert_eq!(unet.shape("down_blocks.0.resnets.0.time_emb_proj.weight"), Some(&[4, 16][..]));
    let adapter =
        Arc::new(Adapter::read("x", file(&tensors, &[]), None, Tolerance::Strict).unwrap());
    let error = attach(&[Scaled { adapter, scale: Scales::from(1.0) }], &unet, &texts)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("2 of its 4 tensors") && error.contains("for the same module as"),
        "{error}"
    );
}

/// A LoRA of peft that says no network, for one matrix of a text encoder.
#[test]
fn a_name_that_says_no_network_means_the_one_that_it_fits() {
    let (unet, texts) = folder();
    let attempt = |texts: &[Weights], side: usize| {
        let tensors: [(&str, &[usize], f32); 2] = [
            ("base_model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight", &[1, side], 1.0),
            ("base_model.model.encoder.layers.0.self_attn.q_proj.lora_B.weight", &[side, 1], 1.0),
        ];
        let adapter =
            Arc::new(Adapter::read("x", file(&tensors, &[]), None, Tolerance::Strict).unwrap());
        let attached = attach(&[Scaled { adapter, scale: Scales::from(1.0) }], &unet, texts);
        attached.map(|mut it| it.applied.remove(0).tensors.remove(0).network)
    };
    assert_eq!(attempt(&texts, 8).unwrap(), Network::TextEncoder);
    assert_eq!(attempt(&texts, 12).unwrap(), Network::TextEncoder2);
    let error = attempt(&texts, 9).unwrap_err().to_string();
    assert!(error.contains("made for another model"), "{error}");
    let twice = [texts[0].clone(), texts[0].clone()];
    let error = attempt(&twice, 8).unwrap_err().to_string();
    assert!(error.contains("several networks of this model"), "{error}");
}
