//! LoRAs that fit nowhere, or not everywhere, or are no numbers; pickles.

use super::*;

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
