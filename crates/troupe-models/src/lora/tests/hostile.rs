//! Files whose tensors don't belong together, are for no weight, or make numbers that are none.

use proptest::prelude::*;

use super::*;

/// A matrix `m` (4, 6) with a bias, a matrix `n` (4, 6) without one, and a convolution `c` (4, 2, 3, 3).
fn unet() -> Weights {
    let tensors: [(&str, &[usize], f32); 4] = [
        ("m.weight", &[4, 6], 1.0),
        ("m.bias", &[4], 0.5),
        ("n.weight", &[4, 6], 1.0),
        ("c.weight", &[4, 2, 3, 3], 1.0),
    ];
    Weights::new("unet", file(&tensors, &[])).unwrap()
}

/// A part of a module's tensors: how its name ends, its shape, and its value everywhere.
type Tensor<'a> = (&'a str, &'a [usize], f32);

/// Merges a made-up LoRA of one module, and gives the first number of each tensor that it changes.
fn attempt(module: &str, tensors: &[Tensor<'_>]) -> Result<Vec<f32>, LoraError> {
    let names: Vec<String> =
        tensors.iter().map(|(end, ..)| format!("lora_unet_{module}.{end}")).collect();
    let tensors: Vec<Tensor<'_>> = names
        .iter()
        .zip(tensors)
        .map(|(name, &(_, shape, value))| (name.as_str(), shape, value))
        .collect();
    let adapter = Adapter::read("x.safetensors", file(&tensors, &[]), None, Tolerance::Strict)?;
    let attached =
        attach(&[Scaled { adapter: Arc::new(adapter), scale: Scales::from(0.5) }], &unet(), &[])?;
    let changed = attached.unet.differing(&AdapterSet::default());
    let merged = unet().with_adapters(attached.unet);
    let first = |key: &String| {
        let shape = merged.shape(key).unwrap().to_vec();
        let tensor = merged.get(key, &shape)?;
        assert_eq!(tensor.dims(), shape);
        Ok(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0])
    };
    changed.iter().map(first).collect::<Result<_, WeightsError>>().map_err(LoraError::from)
}

#[test]
fn what_fits_is_merged() {
    let ok = |module: &str, tensors: &[Tensor<'_>]| attempt(module, tensors).unwrap();
    // 1 + 0.5 · 2 / 2 · 2 · 3 · 5, and so on.
    let lora = [("lora_up.weight", &[4, 2][..], 3.0), ("lora_down.weight", &[2, 6], 5.0)];
    assert_eq!(ok("m", &lora), [1.0 + 0.5 * 30.0]);
    assert_eq!(ok("m", &[lora[0], lora[1], ("diff_b", &[4], 2.0)]), [0.5 + 1.0, 1.0 + 0.5 * 30.0]);
    assert_eq!(ok("m", &[("diff_b", &[4], 2.0)]), [0.5 + 0.5 * 2.0]);
    assert_eq!(ok("c", &[("diff", &[4, 2, 3, 3], 2.0)]), [1.0 + 0.5 * 2.0]);
    let loha = [
        ("hada_w1_a", &[4, 2][..], 1.0),
        ("hada_w1_b", &[2, 18], 2.0),
        ("hada_w2_a", &[4, 2], 3.0),
        ("hada_w2_b", &[2, 18], 1.0),
        ("alpha", &[], 1.0),
    ];
    assert_eq!(ok("c", &loha), [1.0 + 0.5 * 0.5 * (2.0 * 2.0) * (2.0 * 3.0)]);
    let whole = [("lokr_w1", &[2, 3][..], 2.0), ("lokr_w2", &[2, 2], 3.0), ("alpha", &[], 9.0)];
    assert_eq!(ok("n", &whole), [1.0 + 0.5 * 6.0]);
    let mid = [
        ("lora_up.weight", &[4, 3, 1, 1][..], 1.0),
        ("lora_mid.weight", &[3, 2, 3, 3], 1.0),
        ("lora_down.weight", &[2, 2, 1, 1], 1.0),
    ];
    assert_eq!(ok("c", &mid), [1.0 + 0.5 * 6.0]);
    // Scaled by 1 / 2 from outside: W + 0.5 · (7 / ‖W + Δ‖ · (W + Δ) − W), where all numbers are equal.
    let dora = [lora[0], lora[1], ("dora_scale", &[4, 1], 7.0)];
    let of_row = 7.0 / 6.0_f32.sqrt();
    assert!((ok("n", &dora)[0] - (1.0 + 0.5 * (of_row - 1.0))).abs() < 1e-5);
    let of_column = [lora[0], lora[1], ("dora_scale", &[1, 6], 7.0)];
    assert!((ok("n", &of_column)[0] - (1.0 + 0.5 * (7.0 / 2.0 - 1.0))).abs() < 1e-5);
    let of_peft = [lora[0], lora[1], ("lora_magnitude_vector", &[4], 7.0)];
    assert!((ok("n", &of_peft)[0] - of_row).abs() < 1e-5);
}

#[test]
fn what_does_not_belong_together_is_refused_and_says_why() {
    const UP: Tensor<'_> = ("lora_up.weight", &[4, 2], 1.0);
    const DOWN: Tensor<'_> = ("lora_down.weight", &[2, 6], 1.0);
    const W1: Tensor<'_> = ("lokr_w1", &[2, 3], 1.0);
    const W2: Tensor<'_> = ("lokr_w2", &[2, 2], 1.0);
    const HUGE: usize = 1 << 40;
    let cases: [(&str, &[Tensor<'_>], &str); 27] = [
        ("m", &[("lora_up.weight", &[4, 0], 1.0), ("lora_down.weight", &[0, 6], 1.0)], "no rank"),
        ("m", &[("lora_up.weight", &[], 1.0), ("lora_down.weight", &[], 1.0)], "no rank"),
        ("m", &[("lora_up.weight", &[4, 1, 1, 2], 1.0), DOWN], "no rank"),
        ("m", &[UP, DOWN, ("lora_mid.weight", &[2, 3, 1, 1], 1.0)], "no ranks"),
        ("m", &[UP, DOWN, ("lora_mid.weight", &[], 1.0)], "no ranks"),
        ("c", &[UP, DOWN, ("lora_mid.weight", &[2, 2, 3, 3], 1.0)], "another model"),
        ("m", &[UP, DOWN, W1], "doesn't belong to the others"),
        ("m", &[UP, DOWN, ("diff", &[4, 6], 1.0)], "doesn't belong to the others"),
        ("m", &[W1], "lacks one of the two matrices"),
        ("m", &[W1, ("lokr_w2_a", &[2, 1], 1.0)], "lacks one of the two matrices"),
        ("m", &[W1, W2, ("lokr_w2_b", &[1, 2], 1.0)], "doesn't belong to the others"),
        ("m", &[W1, ("lokr_w2", &[2, 3], 1.0)], "another model"),
        ("m", &[("lokr_w1", &[2, 3, 3, 3], 1.0), W2], "no weight's"),
        ("m", &[("lokr_w1", &[HUGE, 0], 1.0), ("lokr_w2", &[HUGE, 0], 1.0)], "no weight's"),
        (
            "m",
            &[("lokr_w1", &[1 << 10, 1 << 8], 1.0), ("lokr_w2", &[1 << 10, 1], 1.0)],
            "another model",
        ),
        (
            "m",
            &[
                ("lokr_w1_a", &[2, 1], 1.0),
                ("lokr_w1_b", &[1, 3], 1.0),
                ("lokr_w2_a", &[2, 3], 1.0),
                ("lokr_w2_b", &[3, 2], 1.0),
            ],
            "the ranks 1 and 3",
        ),
        ("m", &[("hada_w1_a", &[4, 1], 1.0), ("hada_w1_b", &[1, 6], 1.0)], "lacks one of the two"),
        (
            "m",
            &[
                ("hada_w1_a", &[4, 1], 1.0),
                ("hada_w1_b", &[1, 6], 1.0),
                ("hada_w2_a", &[1 << 10, 1], 1.0),
                ("hada_w2_b", &[1, 1 << 10], 1.0),
            ],
            "the same was wanted",
        ),
        (
            "m",
            &[
                ("hada_w1_a", &[1 << 10, 1], 1.0),
                ("hada_w1_b", &[1, 1 << 10], 1.0),
                ("hada_w2_a", &[1 << 10, 1], 1.0),
                ("hada_w2_b", &[1, 1 << 10], 1.0),
            ],
            "another model",
        ),
        ("m", &[("diff", &[6, 4], 1.0)], "another model"),
        ("m", &[("diff", &[24], 1.0)], "another model"),
        ("n", &[("diff_b", &[4], 1.0)], "has no bias"),
        ("m", &[("diff_b", &[5], 1.0)], "another model"),
        ("m", &[("diff", &[4, 6], 1.0), ("dora_scale", &[4, 1], 1.0)], "has no magnitude"),
        ("m", &[UP, DOWN, ("dora_scale", &[6, 1], 1.0)], "lengths of shape [6, 1]"),
        ("m", &[UP, DOWN, ("lora_magnitude_vector", &[1, 6], 1.0)], "lengths of shape [1, 6]"),
        ("m", &[("dora_scale", &[4, 1], 1.0)], "lacks one of the two matrices"),
    ];
    for (module, tensors, says) in cases {
        let error = attempt(module, tensors).unwrap_err();
        assert_eq!(error.blame(), Blame::Asset);
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("`x.safetensors`"), "{says}: {text}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_wherever_they_are() {
    let good: [(&str, &[Tensor<'_>]); 3] = [
        (
            "c",
            &[
                ("lora_up.weight", &[4, 3], 1.0),
                ("lora_mid.weight", &[3, 2, 3, 3], 1.0),
                ("lora_down.weight", &[2, 2], 1.0),
                ("dora_scale", &[4, 1, 1, 1], 1.0),
            ],
        ),
        (
            "m",
            &[
                ("lora_up.weight", &[4, 3], 1.0),
                ("lora_down.weight", &[3, 6], 1.0),
                ("lora_magnitude_vector", &[4], 1.0),
                ("diff_b", &[4], 1.0),
            ],
        ),
        ("m", &[("lokr_w1", &[2, 3], 1.0), ("lokr_w2", &[2, 2], 1.0)]),
    ];
    for (module, tensors) in good {
        assert!(attempt(module, tensors).is_ok());
        for index in 0..tensors.len() {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut tensors = tensors.to_vec();
                tensors[index].2 = bad;
                let text = attempt(module, &tensors).unwrap_err().to_string();
                assert!(
                    text.contains("NaN or infinity") && text.contains(tensors[index].0),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn products_that_grow_beyond_all_numbers_are_refused() {
    let lora = [("lora_up.weight", &[4, 1][..], 1e30), ("lora_down.weight", &[1, 6], 1e30)];
    let loha = [
        ("hada_w1_a", &[4, 1][..], 1e15),
        ("hada_w1_b", &[1, 6], 1e15),
        ("hada_w2_a", &[4, 1], 1e15),
        ("hada_w2_b", &[1, 6], 1e15),
    ];
    // A row of zeros has no direction.
    let zeros = [
        ("lora_up.weight", &[4, 1][..], -2.0),
        ("lora_down.weight", &[1, 6], 1.0),
        ("lora_magnitude_vector", &[4], 1.0),
    ];
    for tensors in [&lora[..], &loha, &zeros] {
        let error = attempt("m", tensors).unwrap_err();
        assert_eq!(error.blame(), Blame::Asset);
        let text = error.to_string();
        assert!(text.contains("`x.safetensors`") && text.contains("`m.weight`"), "{text}");
    }
}

const ENDS: [&str; 18] = [
    "lora_up.weight",
    "lora_down.weight",
    "lora_mid.weight",
    "hada_w1_a",
    "hada_w1_b",
    "hada_t1",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "dora_scale",
    "diff_b",
];

/// Sides of weights and their divisors, and what is none.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(4), Just(6), Just(9)]
}

fn tensors() -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
    let kinds = prop_oneof![Just(0..3_usize), Just(3..9), Just(9..16), Just(0..ENDS.len())];
    kinds.prop_flat_map(|ends| {
        let shape = proptest::collection::vec(side(), 0..5);
        proptest::collection::vec((ends, shape), 1..7)
    })
}

proptest! {
    // Whatever stands in a header: no panic, and what is merged has the weight's shape.
    #[test]
    fn any_shapes_are_merged_or_refused(module in "[mnc]", parts in tensors()) {
        let mut parts = parts;
        parts.sort();
        parts.dedup_by_key(|(end, _)| *end);
        let tensors: Vec<Tensor<'_>> =
            parts.iter().map(|(end, shape)| (ENDS[*end], shape.as_slice(), 0.5)).collect();
        match attempt(&module, &tensors) {
            Ok(changed) => prop_assert!(!changed.is_empty()),
            Err(error) => prop_assert_eq!(error.blame(), Blame::Asset),
        }
    }
}
