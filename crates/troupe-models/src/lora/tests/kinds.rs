//! LoHa, LoKr, DoRA and others against peft and LyCORIS.

use super::*;

const FOLDER: &str = "lora-kinds";

/// What people call a case, and its files with their scales.
const CASES: [(&str, &[(&str, f64)]); 18] = [
    ("LoHa", &[("loha", 1.0)]),
    ("LoHa", &[("loha", 0.6)]),
    ("LoHa, Tucker form", &[("loha_tucker", 1.0)]),
    ("LoHa, Tucker form", &[("loha_tucker", 0.6)]),
    ("LoKr", &[("lokr", 1.0)]),
    ("LoKr", &[("lokr", 0.6)]),
    ("LoKr, Tucker form", &[("lokr_tucker", 1.0)]),
    ("LoKr, Tucker form", &[("lokr_tucker", 0.6)]),
    ("DoRA of peft", &[("dora", 1.0)]),
    ("DoRA of peft", &[("dora", 0.6)]),
    ("LoRA with a bias", &[("with_bias", 1.0)]),
    ("LoRA with a bias", &[("with_bias", 0.6)]),
    ("LoRA", &[("plain", 1.0)]),
    ("LoRA", &[("plain", 0.6)]),
    ("LoRA and DoRA", &[("plain", 0.7), ("dora", 0.6)]),
    ("DoRA and LoRA", &[("dora", 0.6), ("plain", 0.7)]),
    ("LyCORIS", &[("lycoris", 1.0)]),
    ("LyCORIS", &[("lycoris", 0.6)]),
];

/// Modules of `lycoris.safetensors`, and what people call what each has.
const LYCORIS: [(&str, &str); 14] = [
    ("attn1.to_q.", "DoRA of LyCORIS, by rows"),
    ("attn1.to_k.", "DoRA of LyCORIS, by columns"),
    ("mid_block.resnets.0.conv2.", "DoRA of LyCORIS, by columns"),
    ("attn1.to_v.", "LoKr"),
    ("attn1.to_out.0.", "LoKr with DoRA"),
    ("attn2.to_q.", "LoHa"),
    ("attn2.to_k.", "LoHa with DoRA"),
    ("down_blocks.0.resnets.0.conv1.", "LoCon, Tucker form"),
    ("down_blocks.0.resnets.0.conv2.", "LoCon, Tucker form, with DoRA"),
    ("down_blocks.1.resnets.0.conv1.", "LoHa, Tucker form"),
    ("down_blocks.1.resnets.0.conv2.", "LoKr, Tucker form"),
    ("norm", "difference of a norm"),
    ("ff.net.2.", "full difference"),
    ("mid_block.resnets.1.conv2.", "full difference"),
];

fn lora(name: &str) -> Arc<Adapter> {
    let at = |end: &str| golden_path(FOLDER).join(format!("{name}.{end}"));
    let config = std::fs::read_to_string(at("json")).ok();
    let bytes: Bytes = Arc::new(std::fs::read(at("safetensors")).unwrap());
    Arc::new(Adapter::read(name, bytes, config.as_deref(), Tolerance::Strict).unwrap())
}

fn is_bias(key: &str) -> bool {
    key.rsplit('.').next() == Some("bias")
}

fn unet() -> Weights {
    let path = "single-file/sd1/unet/diffusion_pytorch_model.fp16.safetensors";
    Weights::new(path, Arc::new(std::fs::read(golden_path(path)).unwrap())).unwrap()
}

fn scaled(loras: &[(&str, f64)]) -> Vec<Scaled> {
    loras
        .iter()
        .map(|&(name, scale)| Scaled { adapter: lora(name), scale: Scales::from(scale) })
        .collect()
}

// Fails when a factor, a core or a length is turned round, or alpha counts otherwise.
#[test]
fn every_kind_makes_the_weights_of_peft_and_lycoris() {
    let expected = Golden::read(golden_path(FOLDER).join("expected.safetensors"));
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    let mut compared = 0;
    for (kind, loras) in CASES {
        let attached = attach(&scaled(loras), &unet(), &[]).unwrap();
        let merged = unet().with_adapters(attached.unet);
        let text = |(name, scale): &(&str, f64)| format!("{name}*{scale:?}");
        let case = loras.iter().map(text).collect::<Vec<_>>().join("+");
        for name in expected.names() {
            let Some(tensor) = name.strip_prefix(&format!("{case}/")) else { continue };
            let wanted = expected.tensor(&name);
            let values = merged.get(tensor, &wanted.1).unwrap();
            let values = values.flatten_all().unwrap().to_vec1().unwrap();
            assert_close(&name, &values, &wanted, 1e-5);
            let of_lycoris = LYCORIS.iter().find(|(part, _)| tensor.contains(part));
            let kind = match of_lycoris {
                Some((_, kind)) if case.starts_with("lycoris") => *kind,
                Some(_) | None => kind,
            };
            let error = worst.entry(kind).or_default();
            *error = error.max(troupe_testkit::relative_error(&values, &wanted.0));
            compared += 1;
        }
    }
    // All that the reference kept, and no case twice.
    assert_eq!(compared, expected.names().len());
    // `cargo test -- --nocapture` shows them; docs/parity.md lists them.
    #[expect(clippy::print_stdout, reason = "shown only when asked for")]
    for (kind, error) in worst {
        println!("parity lora | {kind} | {error:.1e} |");
    }
}

#[test]
fn every_tensor_of_every_kind_is_reported() {
    for name in ["loha", "loha_tucker", "lokr", "lokr_tucker", "dora", "with_bias", "lycoris"] {
        let applied = attach(&scaled(&[(name, 1.0)]), &unet(), &[]).unwrap().applied.remove(0);
        let mut keys: Vec<String> = applied.tensors.iter().map(|it| it.key.clone()).collect();
        keys.sort_unstable();
        let file = Golden::read(golden_path(FOLDER).join(format!("{name}.safetensors")));
        assert_eq!(keys, file.names(), "{name}");
        assert_eq!((applied.modules_without_alpha, applied.skipped), (0, Vec::new()));
        for tensor in applied.tensors {
            assert!(unet().contains(&tensor.weight), "{tensor:?}");
            let of_bias = [".lora_B.bias", ".diff_b", ".b_norm"];
            let of_bias = of_bias.iter().any(|end| tensor.key.ends_with(end));
            assert_eq!(is_bias(&tensor.weight), of_bias, "{tensor:?}");
        }
    }
}

#[test]
fn inspection_says_which_kinds_a_file_has() {
    let of = |name: &str| lora(name).inspect();
    assert_eq!(of("loha").kinds.keys().collect::<Vec<_>>(), [&Kind::Loha]);
    assert_eq!(of("loha").ranks.keys().collect::<Vec<_>>(), [&2, &4]);
    assert_eq!(of("dora").kinds, BTreeMap::from([(Kind::Lora, of("dora").dora)]));
    let all = of("lycoris");
    assert_eq!(all.kinds.len(), 5);
    assert_eq!((all.dora, all.dialects.contains(&Dialect::Lycoris)), (6, true));
    let text = serde_json::to_string(&all).unwrap();
    assert!(text.contains("\"LoKr\":5") && text.contains("\"full difference\":4"), "{text}");
}

#[test]
fn the_matrices_of_a_plain_lora_can_be_had() {
    let key = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let attach = |loras: &[(&str, f64)]| attach(&scaled(loras), &unet(), &[]).unwrap().unet;
    let set = attach(&[("plain", 0.7), ("plain", 0.2)]);
    let pairs = set.low_rank(key).unwrap().unwrap();
    let mut sum = unet().get(key, &[8, 8]).unwrap();
    for LowRank { up, down, multiplier } in &pairs {
        assert_eq!((up.dims(), down.dims()), (&[8, 2][..], &[2, 8][..]));
        sum = (sum + up.matmul(down).unwrap().affine(*multiplier, 0.0).unwrap()).unwrap();
    }
    assert_eq!(pairs.len(), 2);
    let merged = unet().with_adapters(set).get(key, &[8, 8]).unwrap();
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    assert_close(key, &values(&sum), &(values(&merged), vec![8, 8]), 1e-6);
    assert!(attach(&[("plain", 0.7), ("dora", 0.6)]).low_rank(key).unwrap().is_none());
    assert!(attach(&[("lokr", 0.6)]).low_rank(key).unwrap().is_none());
    assert!(attach(&[]).low_rank(key).unwrap().unwrap().is_empty());
}

#[test]
fn sets_differ_in_the_weights_that_become_others() {
    let (plain, bias) = (lora("plain"), lora("with_bias"));
    let set = |loras: &[(&Arc<Adapter>, f64)]| {
        let scaled: Vec<Scaled> = loras
            .iter()
            .map(|&(adapter, scale)| Scaled {
                adapter: adapter.clone(),
                scale: Scales::from(scale),
            })
            .collect();
        attach(&scaled, &unet(), &[]).unwrap().unet
    };
    let both = set(&[(&plain, 0.5), (&bias, 1.0)]);
    assert!(both.differing(&set(&[(&plain, 0.5), (&bias, 1.0)])).is_empty());
    // What `bias` changes: both tensors of its modules, which `plain` changes too.
    let changed = both.differing(&set(&[(&plain, 0.5)]));
    assert!(changed.iter().all(|key| key.contains("to_out.0") || key.contains("time_emb_proj")));
    assert!(changed.iter().any(|key| is_bias(key)));
    assert_eq!(both.differing(&set(&[(&bias, 1.0), (&plain, 0.5)])).len() * 2, changed.len());
    assert!(changed.len() < both.differing(&set(&[(&plain, 0.4), (&bias, 1.0)])).len());
    assert_eq!(both.differing(&AdapterSet::default()), AdapterSet::default().differing(&both));
}
