//! Reads the names of the tensors of a LoRA file.
//!
//! The spellings are facts of the programs that write them: kohya's sd-scripts
//! (`lora_unet_down_blocks_0_…to_q.lora_down.weight`, dots of the path become underscores), peft
//! (`base_model.model.….to_q.lora_A.weight`), diffusers (`unet.….to_q.lora_A.weight`, and from
//! `convert_state_dict_to_diffusers` also `….lora.down.weight` and `….lora_linear_layer.down.weight`)
//! and ComfyUI (`diffusion_model.….to_q.lora_up.weight`). A path in the UNet may be that of diffusers
//! or that of the original code, as kohya writes it for SDXL (`lora_unet_input_blocks_4_1_…`).

use serde::Serialize;

use super::Network;

/// A tensor's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// The network that the name says.
    pub(super) network: Owner,
    /// How the path of the module is written.
    pub(super) spelling: Spelling,
    /// The path of the module, without the network.
    pub(super) module: String,
}

/// The network that a name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// One of ours.
    Network(Network),
    /// The name begins with the module: the one network that has such a module.
    Unsaid,
    /// A network that we don't have.
    Other(&'static str),
}

/// How the path of a module is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// `down_blocks.0.attentions.0`
    Dotted,
    /// `down_blocks_0_attentions_0`
    Underscored,
}

/// What a tensor is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The scalar alpha.
    Alpha,
    /// A, `(rank, in, …)`.
    Down,
    /// B, `(out, rank, …)`.
    Up,
    /// The core between them, `(rank, rank, …)`.
    Mid,
    /// The bias of B, `(out,)`.
    UpBias,
    /// LoHa's first matrix at the outputs.
    HadaW1A,
    /// LoHa's first matrix at the inputs.
    HadaW1B,
    /// LoHa's first core.
    HadaT1,
    /// LoHa's second matrix at the outputs.
    HadaW2A,
    /// LoHa's second matrix at the inputs.
    HadaW2B,
    /// LoHa's second core.
    HadaT2,
    /// LoKr's first factor, whole.
    LokrW1,
    /// The matrix at the outputs of LoKr's first factor.
    LokrW1A,
    /// The matrix at the inputs of LoKr's first factor.
    LokrW1B,
    /// LoKr's second factor, whole.
    LokrW2,
    /// The matrix at the outputs of LoKr's second factor.
    LokrW2A,
    /// The matrix at the inputs of LoKr's second factor.
    LokrW2B,
    /// The core of LoKr's second factor.
    LokrT2,
    /// The difference of the weight itself.
    Diff,
    /// The difference of the bias itself.
    DiffBias,
    /// DoRA's lengths as peft writes them.
    Magnitude,
    /// DoRA's lengths as LyCORIS writes them.
    DoraScale,
}

/// Whose spelling a file follows; a file of diffusers mixes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// kohya's sd-scripts.
    Kohya,
    /// peft: `lora_A` and `lora_B`.
    Peft,
    /// diffusers' own names for the two matrices.
    Diffusers,
    /// LyCORIS: `hada_` and `lokr_`, which peft writes too, differences and `dora_scale`.
    Lycoris,
}

/// Ends of names, and what they say.
const PARTS: [(&str, Part, Dialect); 36] = [
    (".alpha", Part::Alpha, Dialect::Kohya),
    (".lora_down.weight", Part::Down, Dialect::Kohya),
    (".lora_up.weight", Part::Up, Dialect::Kohya),
    (".lora_mid.weight", Part::Mid, Dialect::Lycoris),
    (".lora_A.weight", Part::Down, Dialect::Peft),
    (".lora_B.weight", Part::Up, Dialect::Peft),
    (".lora_B.bias", Part::UpBias, Dialect::Peft),
    (".lora_A.default.weight", Part::Down, Dialect::Peft),
    (".lora_B.default.weight", Part::Up, Dialect::Peft),
    (".lora_B.default.bias", Part::UpBias, Dialect::Peft),
    (".lora_magnitude_vector", Part::Magnitude, Dialect::Peft),
    (".lora_magnitude_vector.weight", Part::Magnitude, Dialect::Peft),
    (".lora_magnitude_vector.default", Part::Magnitude, Dialect::Peft),
    (".lora_magnitude_vector.default.weight", Part::Magnitude, Dialect::Peft),
    (".lora.down.weight", Part::Down, Dialect::Diffusers),
    (".lora.up.weight", Part::Up, Dialect::Diffusers),
    (".lora_linear_layer.down.weight", Part::Down, Dialect::Diffusers),
    (".lora_linear_layer.up.weight", Part::Up, Dialect::Diffusers),
    (".hada_w1_a", Part::HadaW1A, Dialect::Lycoris),
    (".hada_w1_b", Part::HadaW1B, Dialect::Lycoris),
    (".hada_t1", Part::HadaT1, Dialect::Lycoris),
    (".hada_w2_a", Part::HadaW2A, Dialect::Lycoris),
    (".hada_w2_b", Part::HadaW2B, Dialect::Lycoris),
    (".hada_t2", Part::HadaT2, Dialect::Lycoris),
    (".lokr_w1", Part::LokrW1, Dialect::Lycoris),
    (".lokr_w1_a", Part::LokrW1A, Dialect::Lycoris),
    (".lokr_w1_b", Part::LokrW1B, Dialect::Lycoris),
    (".lokr_w2", Part::LokrW2, Dialect::Lycoris),
    (".lokr_w2_a", Part::LokrW2A, Dialect::Lycoris),
    (".lokr_w2_b", Part::LokrW2B, Dialect::Lycoris),
    (".lokr_t2", Part::LokrT2, Dialect::Lycoris),
    (".dora_scale", Part::DoraScale, Dialect::Lycoris),
    (".diff", Part::Diff, Dialect::Lycoris),
    (".diff_b", Part::DiffBias, Dialect::Lycoris),
    (".w_norm", Part::Diff, Dialect::Lycoris),
    (".b_norm", Part::DiffBias, Dialect::Lycoris),
];

/// Parts of names that belong to methods which we don't have, and what they are called.
const UNSUPPORTED: [(&str, &str); 18] = [
    (".oft_", "OFT is not supported yet"),
    (".boft_", "BOFT is not supported yet"),
    (".ia3_", "IA3 is not supported yet"),
    (".on_input", "IA3 is not supported yet"),
    (".a1.weight", "GLoRA is not supported yet"),
    (".a2.weight", "GLoRA is not supported yet"),
    (".b1.weight", "GLoRA is not supported yet"),
    (".b2.weight", "GLoRA is not supported yet"),
    (".lora_embedding_", "LoRA of an embedding is not supported yet"),
    (".lora_A.bias", "a bias of the matrix at the inputs is not supported yet"),
    (".lora_down.bias", "a bias of the matrix at the inputs is not supported yet"),
    (".lora_up.bias", "LoRA with a bias is not supported yet in kohya's spelling"),
    (".reshape_weight", "a weight of another shape is not supported yet"),
    (".set_weight", "whole replaced weights are not supported yet"),
    (".modules_to_save", "whole replaced modules are not supported yet"),
    (".processor.", "LoRA inside attention processors is not supported yet"),
    (".lokr_t1", "a core of LoKr's first factor is not supported yet"),
    ("bundle_emb.", "an embedding bundled with a LoRA is not supported yet"),
];

/// First parts of names, and their networks. The longer of two that fit comes first.
const OWNERS: [(&str, Spelling, Owner); 18] = [
    ("lora_unet_", Spelling::Underscored, Owner::Network(Network::Unet)),
    ("lora_te_", Spelling::Underscored, Owner::Network(Network::TextEncoder)),
    // diffusers' `convert_state_dict_to_kohya` numbers the only text encoder, too.
    ("lora_te1_", Spelling::Underscored, Owner::Network(Network::TextEncoder)),
    ("lora_te2_", Spelling::Underscored, Owner::Network(Network::TextEncoder2)),
    ("lora_te3_", Spelling::Underscored, Owner::Other("third text encoder")),
    ("lycoris_", Spelling::Underscored, Owner::Unsaid),
    ("lora_prior_", Spelling::Underscored, Owner::Other("prior")),
    ("lora_transformer_", Spelling::Underscored, Owner::Other("diffusion transformer")),
    ("unet.", Spelling::Dotted, Owner::Network(Network::Unet)),
    ("text_encoder.", Spelling::Dotted, Owner::Network(Network::TextEncoder)),
    ("text_encoder_2.", Spelling::Dotted, Owner::Network(Network::TextEncoder2)),
    ("text_encoder_3.", Spelling::Dotted, Owner::Other("third text encoder")),
    ("transformer.", Spelling::Dotted, Owner::Other("diffusion transformer")),
    ("diffusion_model.", Spelling::Dotted, Owner::Network(Network::Unet)),
    ("text_encoders.clip_l.transformer.", Spelling::Dotted, Owner::Network(Network::TextEncoder)),
    ("text_encoders.clip_h.transformer.", Spelling::Dotted, Owner::Network(Network::TextEncoder)),
    ("text_encoders.clip_g.transformer.", Spelling::Dotted, Owner::Network(Network::TextEncoder2)),
    ("prior.", Spelling::Dotted, Owner::Other("prior")),
];

/// Takes a tensor's name apart, or says why that can't be done.
pub(super) fn parse(key: &str) -> Result<(Target, Part, Dialect), &'static str> {
    if let Some((_, reason)) = UNSUPPORTED.iter().find(|(mark, _)| key.contains(mark)) {
        return Err(reason);
    }
    let (module, part, dialect) = PARTS
        .iter()
        .find_map(|&(end, part, dialect)| Some((key.strip_suffix(end)?, part, dialect)))
        .ok_or("not the name of a LoRA tensor")?;
    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
    let target = OWNERS
        .iter()
        .find_map(|(start, spelling, owner)| {
            let module = module.strip_prefix(start)?.to_owned();
            Some(Target { network: owner.clone(), spelling: *spelling, module })
        })
        .unwrap_or_else(|| Target {
            network: Owner::Unsaid,
            spelling: Spelling::Dotted,
            module: module.to_owned(),
        });
    Ok((target, part, dialect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, network: Owner, module: &str, part: Part) {
        let (target, found, _) = parse(key).unwrap();
        assert_eq!((target.network, target.module.as_str(), found), (network, module, part));
    }

    #[test]
    fn kohya_names_say_their_network() {
        let unet = Owner::Network(Network::Unet);
        let text = Owner::Network(Network::TextEncoder);
        check("lora_unet_mid_block_x.lora_down.weight", unet.clone(), "mid_block_x", Part::Down);
        check("lora_unet_mid_block_x.alpha", unet, "mid_block_x", Part::Alpha);
        check("lora_te_text_model_y.lora_up.weight", text.clone(), "text_model_y", Part::Up);
        check("lora_te1_text_model_y.lora_up.weight", text, "text_model_y", Part::Up);
        let second = Owner::Network(Network::TextEncoder2);
        check("lora_te2_text_projection.alpha", second, "text_projection", Part::Alpha);
        check("lora_te3_y.alpha", Owner::Other("third text encoder"), "y", Part::Alpha);
    }

    #[test]
    fn peft_and_diffusers_names_may_leave_it_out() {
        let unet = Owner::Network(Network::Unet);
        let text = Owner::Network(Network::TextEncoder);
        check("base_model.model.unet.a.b.lora_A.weight", unet.clone(), "a.b", Part::Down);
        check("unet.a.b.lora_B.weight", unet.clone(), "a.b", Part::Up);
        check("unet.a.b.lora.up.weight", unet, "a.b", Part::Up);
        check("text_encoder.a.lora_linear_layer.down.weight", text, "a", Part::Down);
        check("base_model.model.a.b.lora_A.weight", Owner::Unsaid, "a.b", Part::Down);
        check("a.b.lora_A.default.weight", Owner::Unsaid, "a.b", Part::Down);
        let second = Owner::Network(Network::TextEncoder2);
        check("text_encoder_2.a.lora_A.weight", second, "a", Part::Down);
    }

    #[test]
    fn names_of_comfyui_are_the_original_ones() {
        let unet = Owner::Network(Network::Unet);
        check("diffusion_model.out.2.lora_up.weight", unet, "out.2", Part::Up);
        let second = Owner::Network(Network::TextEncoder2);
        let key = "text_encoders.clip_g.transformer.text_model.a.b.lora_down.weight";
        check(key, second, "text_model.a.b", Part::Down);
    }

    #[test]
    fn kinds_are_told_by_the_ends_of_names() {
        let unet = Owner::Network(Network::Unet);
        check("lora_unet_x.hada_w1_a", unet.clone(), "x", Part::HadaW1A);
        check("lora_unet_x.lokr_w2_b", unet.clone(), "x", Part::LokrW2B);
        check("lora_unet_x.lokr_w2", unet.clone(), "x", Part::LokrW2);
        check("lora_unet_x.dora_scale", unet.clone(), "x", Part::DoraScale);
        check("unet.x.lora_magnitude_vector", unet.clone(), "x", Part::Magnitude);
        check("base_model.model.x.lora_B.bias", Owner::Unsaid, "x", Part::UpBias);
        check("diffusion_model.out.0.diff_b", unet, "out.0", Part::DiffBias);
        check("lycoris_mid_block_x.b_norm", Owner::Unsaid, "mid_block_x", Part::DiffBias);
    }

    #[test]
    fn other_methods_are_refused_by_name() {
        for (key, name) in [
            ("lora_unet_x.oft_blocks", "OFT"),
            ("lora_unet_x.a1.weight", "GLoRA"),
            ("lora_unet_x.on_input", "IA3"),
            ("base_model.model.x.lora_embedding_A", "embedding"),
            ("base_model.model.x.modules_to_save.weight", "replaced modules"),
            ("lora_unet_x.lora_down.bias", "a bias of the matrix at the inputs"),
        ] {
            let reason = parse(key).unwrap_err();
            assert!(reason.contains(name), "{key}: {reason}");
        }
        assert!(parse("model.diffusion_model.out.2.weight").is_err());
    }
}
