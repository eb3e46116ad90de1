//! Scales of parts of the model: what becomes of each weight, merged and bound.

use super::*;

const SCALE: f64 = 0.8;

fn with_blocks(blocks: &[(&str, f64)]) -> Scaled {
    let blocks = blocks.iter().map(|&(name, scale)| (name.to_owned(), scale)).collect();
    Scaled { adapter: adapter("kohya"), scale: Scales { uniform: SCALE, blocks } }
}

fn networks() -> (Weights, [Weights; 1]) {
    (network("unet.safetensors"), [network("text_encoder.safetensors")])
}

/// Every weight that the LoRA changes, with the bits that it makes of it.
fn merged(scaled: Scaled) -> BTreeMap<(Network, String), Vec<u32>> {
    let (unet, texts) = networks();
    let mut attached = attach(&[scaled], &unet, &texts).unwrap();
    let text = texts[0].clone().with_adapters(attached.text_encoders.remove(0));
    let unet = unet.with_adapters(attached.unet);
    let places = attached.applied.remove(0).tensors.into_iter().map(|it| (it.network, it.weight));
    places
        .map(|(network, name)| {
            let weights = if network == Network::Unet { &unet } else { &text };
            let bits = bits(weights, &name);
            ((network, name), bits)
        })
        .collect()
}

fn bits(weights: &Weights, name: &str) -> Vec<u32> {
    let values = weights.get(name, weights.shape(name).unwrap()).unwrap();
    let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Each weight is what the LoRA at the scale of its part makes of it, to the bit.
#[test]
fn each_part_has_its_own_scale() {
    let block = |network: Network, name: &str| match name {
        _ if network != Network::Unet => 0.0,
        _ if name.starts_with("down_blocks.0.") => 0.3,
        _ if name.starts_with("down_blocks.") => 0.5,
        _ if name.starts_with("mid_block.") => -1.0,
        _ => 1.0,
    };
    let names = merged(with_blocks(&[]));
    let has = |start: &str| names.keys().any(|(_, name)| name.starts_with(start));
    let parts = ["down_blocks.0.", "down_blocks.1.", "mid_block.", "up_blocks."];
    let there: Vec<&str> = parts.into_iter().filter(|part| has(part)).collect();
    assert_eq!(there, parts, "{:?}", names.keys());
    let found =
        merged(with_blocks(&[("text", 0.0), ("down_blocks.0", 0.3), ("down", 0.5), ("mid", -1.0)]));
    let (unet, [text]) = networks();
    for ((network, name), bits_found) in found {
        let scale = Scales::from(SCALE * block(network, &name));
        let alone = merged(Scaled { scale, adapter: adapter("kohya") });
        assert!(alone[&(network, name.clone())] == bits_found, "{name}");
        if network == Network::Unet {
            assert!(bits(&unet, &name) != bits_found, "{name} isn't changed");
        } else {
            assert!(bits(&text, &name) == bits_found, "{name} is changed");
        }
    }
}

#[test]
fn a_bound_lora_has_the_same_scales_as_a_merged_one() {
    let (unet, texts) = networks();
    let scaled = with_blocks(&[("down", 0.5), ("text", 0.0)]);
    let bound = bind(&scaled, &unet, &texts).unwrap();
    let multiplier =
        |name: &str| bound.unet.low_rank(&format!("{name}.weight")).unwrap().unwrap()[0].multiplier;
    // Their alphas and ranks are the same.
    let [down, mid] = ["down_blocks.0", "mid_block"].map(|it| format!("{it}.resnets.0.conv1"));
    assert_eq!(multiplier(&down).to_bits(), (multiplier(&mid) * 0.5).to_bits());
    let merged = attach(&[scaled], &unet, &texts).unwrap();
    assert!(bound.unet.differing(&merged.unet).is_empty());
    assert!(bound.text_encoders[0].differing(&merged.text_encoders[0]).is_empty());
}

#[test]
fn a_part_of_which_nothing_is_changed_is_an_error_that_says_what_there_is() {
    let (unet, texts) = networks();
    for (part, possible) in [("down_blocks.9", "`down_blocks.0`"), ("conv_out", "`mid_block`")] {
        let scaled = with_blocks(&[("mid", 0.5), (part, 0.5)]);
        let error = attach(std::slice::from_ref(&scaled), &unet, &texts).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, LoraError::Part { .. }), "{message}");
        assert!(message.contains(part) && message.contains(possible), "{message}");
        assert!(bind(&scaled, &unet, &texts).is_err());
    }
    let infinite = with_blocks(&[("mid", f64::INFINITY)]);
    assert!(matches!(attach(&[infinite], &unet, &texts), Err(LoraError::Scale { .. })));
}
