//! The names of the original code (`ldm`, `sgm` and `OpenCLIP`) in those of diffusers and transformers.
//!
//! The correspondence is a fact of the two programs; `tests/golden/single-file` holds all of it
//! for the real networks, as diffusers' own conversion says it.

use crate::weights::Part;

/// A tensor's name in diffusers, and how it is made from the one in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renamed {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// How a tensor of diffusers is made from one of a single file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is the same.
    Same,
    /// A convolution of one pixel that is a matrix there.
    Matrix,
    /// The transposed matrix.
    Transposed,
    /// One third of the rows.
    Third(usize),
}

impl Kind {
    /// The shape there, and the part of the tensor here; `None` where the shape can't be.
    pub(super) fn apply(self, shape: &[usize]) -> Option<(Vec<usize>, Part)> {
        match (self, shape) {
            (Self::Same, _) => Some((shape.to_vec(), Part::Whole)),
            (Self::Matrix, &[rows, columns, 1, 1] | &[rows, columns]) => {
                Some((vec![rows, columns], Part::Whole))
            }
            (Self::Transposed, &[rows, columns]) => Some((vec![columns, rows], Part::Transposed)),
            (Self::Third(third), [rows, rest @ ..]) if rows.is_multiple_of(3) => {
                let rows = rows / 3;
                let start = third * rows * rest.iter().product::<usize>();
                Some(([&[rows], rest].concat(), Part::Slice { start }))
            }
            (Self::Matrix | Self::Transposed | Self::Third(_), _) => None,
        }
    }
}

/// A tensor that has nothing new but its name.
pub(super) fn same(name: String) -> Renamed {
    Renamed { name, kind: Kind::Same }
}

/// Splits `3.rest` into the number and the rest.
fn numbered(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// A name below `model.diffusion_model.`; `layers` are the residual blocks of each down block.
///
/// The blocks of one side are numbered through; each down block has `layers` of them and a change
/// of size, each up block one more, the last of which may hold the change of size too.
pub(crate) fn unet(path: &str, layers: usize) -> Option<String> {
    let starts = [
        ("time_embed.0.", "time_embedding.linear_1."),
        ("time_embed.2.", "time_embedding.linear_2."),
        ("label_emb.0.0.", "add_embedding.linear_1."),
        ("label_emb.0.2.", "add_embedding.linear_2."),
        ("input_blocks.0.0.", "conv_in."),
        ("out.0.", "conv_norm_out."),
        ("out.2.", "conv_out."),
    ];
    for (start, instead) in starts {
        if let Some(rest) = path.strip_prefix(start) {
            return Some(format!("{instead}{rest}"));
        }
    }
    if let Some(rest) = path.strip_prefix("middle_block.") {
        let (index, rest) = numbered(rest)?;
        return match index {
            0 => Some(format!("mid_block.resnets.0.{}", residual(rest)?)),
            1 => Some(format!("mid_block.attentions.0.{rest}")),
            2 => Some(format!("mid_block.resnets.1.{}", residual(rest)?)),
            _ => None,
        };
    }
    let each = layers + 1;
    let (blocks, place, index, rest) = if let Some(rest) = path.strip_prefix("input_blocks.") {
        let (place, rest) = numbered(rest)?;
        let (index, rest) = numbered(rest)?;
        ("down_blocks", place.checked_sub(1)?, index, rest)
    } else {
        let (place, rest) = numbered(path.strip_prefix("output_blocks.")?)?;
        let (index, rest) = numbered(rest)?;
        ("up_blocks", place, index, rest)
    };
    let layer = place % each;
    #[expect(clippy::integer_division, reason = "blocks are numbered through")]
    let block = place / each;
    if let Some(rest) = rest.strip_prefix("op.") {
        return Some(format!("{blocks}.{block}.downsamplers.0.conv.{rest}"));
    }
    if let Some(rest) = rest.strip_prefix("conv.").filter(|_| 0 < index) {
        return Some(format!("{blocks}.{block}.upsamplers.0.conv.{rest}"));
    }
    match index {
        0 => Some(format!("{blocks}.{block}.resnets.{layer}.{}", residual(rest)?)),
        1 => Some(format!("{blocks}.{block}.attentions.{layer}.{rest}")),
        _ => None,
    }
}

/// A name inside a residual block of the UNet.
fn residual(path: &str) -> Option<String> {
    let parts = [
        ("in_layers.0.", "norm1."),
        ("in_layers.2.", "conv1."),
        ("out_layers.0.", "norm2."),
        ("out_layers.3.", "conv2."),
        ("emb_layers.1.", "time_emb_proj."),
        ("skip_connection.", "conv_shortcut."),
    ];
    let of =
        |&(part, instead): &(&str, &str)| Some(format!("{instead}{}", path.strip_prefix(part)?));
    parts.iter().find_map(of)
}

/// A name of the autoencoder, below `first_stage_model.`; `levels` are its sizes.
pub(super) fn vae(path: &str, levels: usize) -> Option<Renamed> {
    let (half, rest) = path.split_once('.')?;
    if matches!(half, "quant_conv" | "post_quant_conv") {
        return Some(same(path.to_owned()));
    }
    if !matches!(half, "encoder" | "decoder") {
        return None;
    }
    if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        return Some(same(path.to_owned()));
    }
    if let Some(rest) = rest.strip_prefix("norm_out.") {
        return Some(same(format!("{half}.conv_norm_out.{rest}")));
    }
    if let Some(rest) = rest.strip_prefix("mid.attn_1.") {
        let parts = [
            ("norm.", "group_norm."),
            ("q.", "to_q."),
            ("k.", "to_k."),
            ("v.", "to_v."),
            ("proj_out.", "to_out.0."),
        ];
        let (rest, instead) =
            parts.iter().find_map(|(part, instead)| Some((rest.strip_prefix(part)?, instead)))?;
        let matrix = rest == "weight" && *instead != "group_norm.";
        let kind = if matrix { Kind::Matrix } else { Kind::Same };
        let name = format!("{half}.mid_block.attentions.0.{instead}{rest}");
        return Some(Renamed { name, kind });
    }
    let shortcut = |rest: &str| rest.replace("nin_shortcut.", "conv_shortcut.");
    for (part, resnet) in [("mid.block_1.", 0), ("mid.block_2.", 1)] {
        if let Some(rest) = rest.strip_prefix(part) {
            let name = format!("{half}.mid_block.resnets.{resnet}.{}", shortcut(rest));
            return Some(same(name));
        }
    }
    // The decoder's levels are counted from the other end.
    let (blocks, level, rest) = if let Some(rest) = rest.strip_prefix("down.") {
        let (level, rest) = numbered(rest)?;
        ("down_blocks", level, rest)
    } else {
        let (level, rest) = numbered(rest.strip_prefix("up.")?)?;
        ("up_blocks", levels.checked_sub(level + 1)?, rest)
    };
    let inside = if let Some(rest) = rest.strip_prefix("block.") {
        format!("resnets.{}", shortcut(rest))
    } else if let Some(rest) = rest.strip_prefix("downsample.conv.") {
        format!("downsamplers.0.conv.{rest}")
    } else {
        format!("upsamplers.0.conv.{}", rest.strip_prefix("upsample.conv.")?)
    };
    Some(same(format!("{half}.{blocks}.{level}.{inside}")))
}

/// A name of `OpenCLIP`'s text encoder; some of its tensors are three there.
pub(super) fn open_clip(path: &str) -> Vec<Renamed> {
    match path {
        "token_embedding.weight" => return vec![same(format!("embeddings.{path}"))],
        "positional_embedding" => {
            return vec![same("embeddings.position_embedding.weight".to_owned())];
        }
        "text_projection" => {
            let name = "text_projection.weight".to_owned();
            return vec![Renamed { name, kind: Kind::Transposed }];
        }
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("ln_final.") {
        return vec![same(format!("final_layer_norm.{rest}"))];
    }
    let Some((layer, rest)) = path.strip_prefix("transformer.resblocks.").and_then(numbered) else {
        return Vec::new();
    };
    let thirds = |end: &str| {
        let third = |(third, name)| Renamed {
            name: format!("encoder.layers.{layer}.self_attn.{name}_proj.{end}"),
            kind: Kind::Third(third),
        };
        [(0, "q"), (1, "k"), (2, "v")].map(third).to_vec()
    };
    match rest {
        "attn.in_proj_weight" => return thirds("weight"),
        "attn.in_proj_bias" => return thirds("bias"),
        _ => {}
    }
    let parts = [
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
        ("attn.out_proj.", "self_attn.out_proj."),
    ];
    let of = |(part, instead): &(&str, &str)| {
        Some(format!("encoder.layers.{layer}.{instead}{}", rest.strip_prefix(part)?))
    };
    parts.iter().find_map(of).map(same).into_iter().collect()
}
