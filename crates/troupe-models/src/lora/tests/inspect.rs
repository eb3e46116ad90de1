//! What is said of a LoRA file.

use super::*;

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
