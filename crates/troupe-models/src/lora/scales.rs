//! How strongly a LoRA is wanted: in all, and in parts of the model.
//!
//! diffusers says the same by `set_adapters(…, adapter_weights={"unet": {"down": …, "up": {"block_0": …}}, "text_encoder":
//! …})`: a scale of a part multiplies the updates of its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Network;

/// The names that a part may have, or begin with: the text encoders, both or one, the three stages of the UNet, and its
/// blocks and layers as diffusers calls them.
pub const PARTS: [&str; 14] = [
    "text",
    "text_encoder",
    "text_encoder_2",
    "down",
    "mid",
    "up",
    "down_blocks",
    "mid_block",
    "up_blocks",
    "conv_in",
    "time_embedding",
    "add_embedding",
    "conv_norm_out",
    "conv_out",
];

/// Those of [`PARTS`] that have parts of their own: `down_blocks.1.attentions.0`.
const WHOLES: [&str; 5] =
    ["down_blocks", "mid_block", "up_blocks", "time_embedding", "add_embedding"];

/// The most parts that a message names.
const SHOWN: usize = 16;

/// How strongly a LoRA is wanted.
///
/// It is written as a number, or with parts as a table `{ uniform, blocks }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Scales {
    /// Multiplies every update; 1 is the strength that the LoRA was trained with.
    pub uniform: f64,
    /// What that is multiplied by in parts of the model, by their names ([`is_part`]). The most precise name that a module
    /// is under holds, and no other; of `down` and `down_blocks`, which mean the same, the longer.
    pub blocks: BTreeMap<String, f64>,
}

/// [`Scales`] as they are written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Uniform(f64),
    Blocks(Blocks),
}

/// [`Scales`] with parts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    uniform: f64,
    blocks: BTreeMap<String, f64>,
}

/// Whether a name may be one of a part of a model; whether there is such a part depends on the model.
pub fn is_part(name: &str) -> bool {
    match name.split_once('.') {
        None => PARTS.contains(&name),
        Some((first, rest)) => {
            WHOLES.contains(&first) && rest.split('.').all(|part| !part.is_empty())
        }
    }
}

impl Scales {
    /// Whether each product of scales is a finite number.
    pub(super) fn are_finite(&self) -> bool {
        let mut blocks = self.blocks.values();
        self.uniform.is_finite() && blocks.all(|block| (self.uniform * block).is_finite())
    }

    /// The scale of a module.
    pub(super) fn of(&self, network: Network, module: &str) -> f64 {
        let meant = self.blocks.iter().filter_map(|(name, block)| {
            let precision = precision(name, network, module)?;
            Some((precision, self.uniform * block))
        });
        meant.max_by_key(|(precision, _)| *precision).map_or(self.uniform, |(_, scale)| scale)
    }

    /// The first name under which none of these modules is, and those that could stand in its place.
    pub(super) fn idle(&self, modules: &[(Network, &str)]) -> Option<(String, String)> {
        let means = |name: &str| {
            modules.iter().any(|(network, module)| precision(name, *network, module).is_some())
        };
        let name = self.blocks.keys().find(|name| !means(name))?;
        Some((name.clone(), possible(name, modules)))
    }
}

impl From<f64> for Scales {
    fn from(uniform: f64) -> Self {
        Self { uniform, blocks: BTreeMap::new() }
    }
}

/// For people: "0.8", or "0.8 (down 0.5, text 0)".
impl fmt::Display for Scales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uniform)?;
        if self.blocks.is_empty() {
            return Ok(());
        }
        let blocks: Vec<String> =
            self.blocks.iter().map(|(name, scale)| format!("{name} {scale}")).collect();
        write!(f, " ({})", blocks.join(", "))
    }
}

impl From<Written> for Scales {
    fn from(written: Written) -> Self {
        match written {
            Written::Uniform(uniform) => Self::from(uniform),
            Written::Blocks(Blocks { uniform, blocks }) => Self { uniform, blocks },
        }
    }
}

impl From<Scales> for Written {
    fn from(Scales { uniform, blocks }: Scales) -> Self {
        if blocks.is_empty() {
            Self::Uniform(uniform)
        } else {
            Self::Blocks(Blocks { uniform, blocks })
        }
    }
}

/// How precisely a name means a module; `None` where it doesn't.
fn precision(name: &str, network: Network, module: &str) -> Option<usize> {
    match (name, network) {
        ("text", Network::TextEncoder | Network::TextEncoder2) => Some(0),
        ("text_encoder", Network::TextEncoder) | ("text_encoder_2", Network::TextEncoder2) => {
            Some(1)
        }
        (_, Network::TextEncoder | Network::TextEncoder2) => None,
        (_, Network::Unet) => {
            let path = path(name);
            let rest = module.strip_prefix(path)?;
            (rest.is_empty() || rest.starts_with('.')).then_some(path.len())
        }
    }
}

/// The path of a part of the UNet.
fn path(name: &str) -> &str {
    match name {
        "down" => "down_blocks",
        "mid" => "mid_block",
        "up" => "up_blocks",
        path => path,
    }
}

/// The parts that are as near to `name` as any are in which these modules lie.
fn possible(name: &str, modules: &[(Network, &str)]) -> String {
    let of_unet = |above: &str| -> BTreeSet<String> {
        let below = modules.iter().filter(|(network, _)| *network == Network::Unet);
        below
            .filter_map(|(_, module)| {
                let rest = module.strip_prefix(above)?;
                Some(format!("{above}{}", rest.split('.').next()?))
            })
            .collect()
    };
    let mut above = path(name);
    let mut parts = BTreeSet::new();
    while parts.is_empty() {
        let Some((shorter, _)) = above.rsplit_once('.') else { break };
        above = shorter;
        parts = of_unet(&format!("{above}."));
    }
    if parts.is_empty() {
        parts = of_unet("");
        let texts = [(Network::TextEncoder, PARTS[1]), (Network::TextEncoder2, PARTS[2])];
        for (text, name) in texts {
            if modules.iter().any(|(network, _)| *network == text) {
                parts.insert(name.to_owned());
            }
        }
    }
    let mut shown: Vec<String> = parts.iter().take(SHOWN).map(|part| format!("`{part}`")).collect();
    if SHOWN < parts.len() {
        shown.push(format!("and {} more", parts.len() - SHOWN));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: [(Network, &str); 5] = [
        (Network::Unet, "down_blocks.1.attentions.0.to_q"),
        (Network::Unet, "down_blocks.10.attentions.0.to_q"),
        (Network::Unet, "mid_block.attentions.0.to_q"),
        (Network::Unet, "up_blocks.0.resnets.1.conv1"),
        (Network::TextEncoder, "text_model.encoder.layers.0.mlp.fc1"),
    ];

    fn scales(uniform: f64, blocks: &[(&str, f64)]) -> Scales {
        let blocks = blocks.iter().map(|&(name, scale)| (name.to_owned(), scale)).collect();
        Scales { uniform, blocks }
    }

    #[track_caller]
    fn check(blocks: &[(&str, f64)], expected: [f64; 5]) {
        let scales = scales(2.0, blocks);
        let found = MODULES.map(|(network, module)| scales.of(network, module));
        assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{found:?}");
    }

    #[test]
    fn the_most_precise_name_holds_on_whole_parts_of_a_path() {
        check(&[], [2.0; 5]);
        check(
            &[("down", 0.5), ("mid", 0.25), ("up", -1.0), ("text", 0.0)],
            [1.0, 1.0, 0.5, -2.0, 0.0],
        );
        // `down_blocks.1` is no part of `down_blocks.10`.
        check(&[("down_blocks.1", 0.0), ("down", 0.5)], [0.0, 1.0, 2.0, 2.0, 2.0]);
        check(
            &[("down_blocks.1.attentions.0", 3.0), ("down_blocks.1", 0.0)],
            [6.0, 2.0, 2.0, 2.0, 2.0],
        );
        check(&[("mid_block.attentions", 0.0), ("mid_block", 3.0)], [2.0, 2.0, 0.0, 2.0, 2.0]);
        check(&[("text_encoder", 3.0), ("text", 0.0)], [2.0, 2.0, 2.0, 2.0, 6.0]);
        check(&[("text_encoder_2", 3.0)], [2.0; 5]);
        check(&[("down", 0.0), ("down_blocks", 1.5)], [3.0, 3.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn names_of_parts_are_told_from_others() {
        for name in ["text", "down", "down_blocks", "up_blocks.0", "mid_block.attentions.0.proj_in"]
        {
            assert!(is_part(name), "{name}");
        }
        for name in ["", "dwon", "down.1", "text.0", "down_blocks.", "down_blocks..1", ".", "unet"]
        {
            assert!(!is_part(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_means_nothing_is_found_with_what_could_stand_there() {
        let idle = |name: &str| scales(1.0, &[("down", 0.5), (name, 0.5)]).idle(&MODULES);
        for name in ["up", "text", "mid_block.attentions.0.to_q", "up_blocks.0.resnets.1"] {
            assert_eq!(idle(name), None, "{name}");
        }
        for (name, possible) in [
            ("down_blocks.2", "`down_blocks.1`, `down_blocks.10`"),
            ("down_blocks.1.attentions.7.x", "`down_blocks.1.attentions.0`"),
            ("conv_in", "`down_blocks`, `mid_block`, `text_encoder`, `up_blocks`"),
            ("text_encoder_2", "`down_blocks`, `mid_block`, `text_encoder`, `up_blocks`"),
        ] {
            assert_eq!(idle(name), Some((name.to_owned(), possible.to_owned())));
        }
    }

    #[test]
    fn a_scale_is_written_as_a_number_unless_there_are_parts() {
        let with = scales(0.8, &[("down", 0.5), ("text", 0.0)]);
        for (scales, json, words) in [
            (scales(0.8, &[]), "0.8", "0.8"),
            (with, r#"{"uniform":0.8,"blocks":{"down":0.5,"text":0.0}}"#, "0.8 (down 0.5, text 0)"),
        ] {
            assert_eq!(serde_json::to_string(&scales).unwrap(), json);
            assert_eq!(serde_json::from_str::<Scales>(json).unwrap(), scales);
            assert_eq!(scales.to_string(), words);
        }
        assert_eq!(serde_json::from_str::<Scales>("1").unwrap(), Scales::from(1.0));
        assert!(serde_json::from_str::<Scales>(r#"{"uniform": 1, "block": {}}"#).is_err());
    }
}
