//! Finds the alpha of a LoRA module, and from it the factor of its update.
//!
//! The factor is alpha / rank, and alpha / √rank where `use_rslora` is set
//! (Kalajdzievski 2023, arXiv:2312.03732). The keys are those of peft's `LoraConfig`, `LoHaConfig` and
//! `LoKrConfig`; its patterns name a module by the end of its path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Network;
use super::names::{Owner, Spelling, Target};
use crate::weights::printable;

/// The longest configuration that is read, in bytes; real ones have a few thousand.
const LONGEST_CONFIG: usize = 1 << 20;

/// Where an alpha was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaSource {
    /// A tensor `alpha` beside the two matrices.
    Key,
    /// The file `adapter_config.json`.
    AdapterConfig,
    /// `lora_adapter_metadata` in the header, which diffusers writes.
    AdapterMetadata,
    /// `ss_network_alpha` in the header, which kohya's sd-scripts write.
    KohyaMetadata,
    /// Nowhere: alpha is taken to be the rank.
    Rank,
}

/// An alpha, what it is divided by, and where it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Alpha {
    pub(super) value: f64,
    pub(super) source: AlphaSource,
    /// alpha / rank, or alpha / √rank.
    pub(super) factor: f64,
}

/// What is known about the alphas of a file beside its tensors.
#[derive(Debug, Default)]
pub(super) struct Alphas {
    adapter_config: Option<Config>,
    /// By network; `None` where the metadata names no network.
    adapter_metadata: BTreeMap<Option<Network>, Config>,
    kohya: Option<f64>,
}

/// The part of peft's configurations that a merge depends on.
#[derive(Debug, Deserialize)]
struct Config {
    lora_alpha: Option<f64>,
    /// What `LoHaConfig` and `LoKrConfig` call it.
    alpha: Option<f64>,
    r: Option<usize>,
    #[serde(default)]
    peft_type: Option<String>,
    #[serde(default)]
    alpha_pattern: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    rank_pattern: Option<BTreeMap<String, usize>>,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    use_dora: Option<bool>,
    #[serde(default)]
    fan_in_fan_out: Option<bool>,
}

impl Alphas {
    /// Reads what the header's metadata and `adapter_config.json`, if there is one, say.
    ///
    /// The error is the rule that one of them breaks.
    pub(super) fn read(
        metadata: &BTreeMap<String, String>,
        adapter_config: Option<&str>,
    ) -> Result<Self, String> {
        let adapter_config = adapter_config
            .map(|text| {
                bounded(text)
                    .and_then(|text| Config::check(serde_json::from_str(text)))
                    .map_err(|rule| format!("has an adapter_config.json that {rule}"))
            })
            .transpose()?;
        let adapter_metadata = metadata
            .get("lora_adapter_metadata")
            .map(|text| {
                bounded(text).and_then(read_adapter_metadata).map_err(|rule| {
                    format!("has `lora_adapter_metadata` in its header that {rule}")
                })
            })
            .transpose()?
            .unwrap_or_default();
        // kohya writes "None" where its command line had no alpha.
        let kohya = metadata
            .get("ss_network_alpha")
            .and_then(|text| text.parse().ok())
            .filter(|alpha: &f64| alpha.is_finite());
        Ok(Self { adapter_config, adapter_metadata, kohya })
    }

    /// Whether the configuration of a module says that its lengths are learned.
    pub(super) fn wants_magnitude(&self, target: &Target) -> bool {
        self.config(target).is_some_and(|(config, _)| config.use_dora == Some(true))
    }

    /// The alpha of a module; `beside` is the one in its own tensor.
    ///
    /// `None` where the update is no product (LoKr of two whole factors), and nothing but a configuration of peft says by
    /// what it is scaled. ComfyUI and LyCORIS then scale by 1, whatever stands beside it.
    ///
    /// The error is the rule that the configuration breaks.
    pub(super) fn of(
        &self,
        target: &Target,
        rank: Option<usize>,
        beside: Option<f64>,
    ) -> Result<Option<Alpha>, String> {
        let configured = self.config(target);
        let said = configured.and_then(|(config, _)| config.rank(&target.module));
        let said = said.filter(|_| beside.is_none());
        let Some(rank) = rank.or(said) else { return Ok(None) };
        let whole = rank_as_f64(rank);
        let plain = |value: f64, source| Alpha { value, source, factor: value / whole };
        if let Some(value) = beside {
            return Ok(Some(plain(value, AlphaSource::Key)));
        }
        let Some((config, source)) = configured else {
            return Ok(Some(match self.kohya {
                Some(value) if target.spelling == Spelling::Underscored => {
                    plain(value, AlphaSource::KohyaMetadata)
                }
                Some(_) | None => plain(whole, AlphaSource::Rank),
            }));
        };
        if let Some(expected) = said.filter(|&expected| expected != rank) {
            return Err(format!("rank {rank}, and its configuration says {expected}"));
        }
        let value = config.alpha(&target.module);
        let divisor = if config.use_rslora == Some(true) { whole.sqrt() } else { whole };
        Ok(Some(Alpha { value, source, factor: value / divisor }))
    }

    /// The configuration of a module, which names of kohya have none of.
    fn config(&self, target: &Target) -> Option<(&Config, AlphaSource)> {
        if target.spelling == Spelling::Underscored {
            return None;
        }
        let network = match target.network {
            Owner::Network(network) => Some(network),
            Owner::Unsaid | Owner::Other(_) => None,
        };
        let metadata =
            || self.adapter_metadata.get(&network).or_else(|| self.adapter_metadata.get(&None));
        match &self.adapter_config {
            Some(config) => Some((config, AlphaSource::AdapterConfig)),
            None => Some((metadata()?, AlphaSource::AdapterMetadata)),
        }
    }
}

impl Config {
    fn check(parsed: serde_json::Result<Self>) -> Result<Self, String> {
        let config = parsed
            .map_err(|error| format!("is not valid: {}", printable(&error.to_string(), 300)))?;
        let own = match config.peft_type.as_deref() {
            None | Some("LORA") => config.lora_alpha.ok_or("has no `lora_alpha`")?,
            Some("LOHA" | "LOKR") => config.alpha.ok_or("has no `alpha`")?,
            Some(kind) => {
                let kind = printable(kind, 40);
                return Err(format!(
                    "says `peft_type` {kind}, and LORA, LOHA and LOKR are supported yet"
                ));
            }
        };
        let alphas = config.alpha_pattern.iter().flat_map(BTreeMap::values);
        if !alphas.chain([&own]).all(|alpha| alpha.is_finite()) {
            return Err("has an alpha that is not finite".to_owned());
        }
        if config.fan_in_fan_out == Some(true) {
            return Err("says `fan_in_fan_out`, which is not supported yet".to_owned());
        }
        let alpha_keys = config.alpha_pattern.iter().flat_map(BTreeMap::keys);
        let rank_keys = config.rank_pattern.iter().flat_map(BTreeMap::keys);
        match alpha_keys.chain(rank_keys).find(|key| !is_literal(key)) {
            Some(key) => Err(format!(
                "has the pattern `{}`; only names of modules are supported yet",
                printable(key, 200)
            )),
            None => Ok(config),
        }
    }

    /// The alpha of a module; that there is one was checked.
    fn alpha(&self, module: &str) -> f64 {
        let own = match self.peft_type.as_deref() {
            Some("LOHA" | "LOKR") => self.alpha,
            Some(_) | None => self.lora_alpha,
        };
        find(self.alpha_pattern.as_ref(), module).or(own).unwrap_or(1.0)
    }

    /// The rank of a module, where one is said.
    fn rank(&self, module: &str) -> Option<usize> {
        find(self.rank_pattern.as_ref(), module).or(self.r)
    }
}

/// The text, unless it is too long to be a configuration.
fn bounded(text: &str) -> Result<&str, String> {
    if text.len() <= LONGEST_CONFIG {
        Ok(text)
    } else {
        Err(format!("has {} bytes, and at most {LONGEST_CONFIG} are read", text.len()))
    }
}

/// Reads the configurations that diffusers packs into one object, `unet.r`, `text_encoder.r` and
/// so on, or without a network where only one was saved.
fn read_adapter_metadata(text: &str) -> Result<BTreeMap<Option<Network>, Config>, String> {
    let whole: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| format!("is not valid: {}", printable(&error.to_string(), 300)))?;
    let mut configs = BTreeMap::new();
    for (network, prefix) in [
        (Some(Network::Unet), "unet."),
        (Some(Network::TextEncoder), "text_encoder."),
        (Some(Network::TextEncoder2), "text_encoder_2."),
        (None, ""),
    ] {
        let part: Map<String, Value> = whole
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
            .collect();
        if part.contains_key("lora_alpha") {
            configs.insert(network, Config::check(serde_json::from_value(Value::Object(part)))?);
        }
    }
    Ok(configs)
}

/// The value of the first pattern that names the module: a caret and its whole path, or the end
/// of its path.
fn find<T: Copy>(patterns: Option<&BTreeMap<String, T>>, module: &str) -> Option<T> {
    let names = |pattern: &str| match pattern.strip_prefix('^') {
        Some(whole) => whole == module,
        None => module
            .strip_suffix(pattern)
            .is_some_and(|before| before.is_empty() || before.ends_with('.')),
    };
    patterns?.iter().find_map(|(pattern, &value)| names(pattern).then_some(value))
}

/// Whether a pattern is the name of a module, and no other regular expression.
fn is_literal(pattern: &str) -> bool {
    let name = pattern.strip_prefix('^').unwrap_or(pattern);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// A rank is the side of a matrix in memory, far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
fn rank_as_f64(rank: usize) -> f64 {
    rank as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(network: Owner, module: &str) -> Target {
        Target { network, spelling: Spelling::Dotted, module: module.to_owned() }
    }

    fn metadata(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    const CONFIG: &str = r#"{"lora_alpha": 8, "r": 4, "alpha_pattern": {"to_q": 2, "^a.to_k": 3},
        "rank_pattern": {"b.to_v": 2}, "peft_type": "LORA"}"#;

    #[track_caller]
    fn check(module: &str, rank: usize, value: f64) {
        let alphas = Alphas::read(&BTreeMap::new(), Some(CONFIG)).unwrap();
        let alpha = alphas.of(&target(Owner::Unsaid, module), Some(rank), None).unwrap();
        let factor = value / f64::from(u32::try_from(rank).unwrap());
        assert_eq!(alpha, Some(Alpha { value, source: AlphaSource::AdapterConfig, factor }));
    }

    #[test]
    fn patterns_name_the_end_of_a_path() {
        check("a.to_q", 4, 2.0);
        check("to_q", 4, 2.0);
        check("a.not_to_q", 4, 8.0);
        check("a.to_k", 4, 3.0);
        check("x.a.to_k", 4, 8.0);
        check("x.b.to_v", 2, 8.0);
    }

    #[test]
    fn a_rank_that_the_configuration_denies_is_refused() {
        let alphas = Alphas::read(&BTreeMap::new(), Some(CONFIG)).unwrap();
        assert!(alphas.of(&target(Owner::Unsaid, "a.to_q"), Some(5), None).is_err());
    }

    #[test]
    fn the_alpha_beside_the_matrices_wins() {
        let alphas = Alphas::read(&BTreeMap::new(), Some(CONFIG)).unwrap();
        let alpha = alphas.of(&target(Owner::Unsaid, "a.to_q"), Some(4), Some(1.0)).unwrap();
        let alpha = alpha.unwrap();
        assert_eq!(alpha, Alpha { value: 1.0, source: AlphaSource::Key, factor: 0.25 });
    }

    #[test]
    fn rank_stabilised_updates_divide_by_the_root() {
        let config = r#"{"lora_alpha": 8, "r": 4, "use_rslora": true}"#;
        let alphas = Alphas::read(&BTreeMap::new(), Some(config)).unwrap();
        let alpha = alphas.of(&target(Owner::Unsaid, "a"), Some(4), None).unwrap().unwrap();
        assert!((alpha.factor - 4.0).abs() < 1e-12);
    }

    #[test]
    fn metadata_of_diffusers_is_read_by_network() {
        let text = r#"{"unet.lora_alpha": 2, "unet.r": 4, "text_encoder.lora_alpha": 3,
            "text_encoder_2.lora_alpha": 5}"#;
        let alphas = Alphas::read(&metadata("lora_adapter_metadata", text), None).unwrap();
        for (network, value) in
            [(Network::Unet, 2.0), (Network::TextEncoder, 3.0), (Network::TextEncoder2, 5.0)]
        {
            let alpha =
                alphas.of(&target(Owner::Network(network), "a"), Some(4), None).unwrap().unwrap();
            assert_eq!((alpha.value, alpha.source), (value, AlphaSource::AdapterMetadata));
        }
    }

    #[test]
    fn metadata_of_kohya_counts_for_its_spelling_only() {
        let alphas = Alphas::read(&metadata("ss_network_alpha", "2.0"), None).unwrap();
        let mut target = target(Owner::Network(Network::Unet), "a");
        assert_eq!(alphas.of(&target, Some(4), None).unwrap().unwrap().source, AlphaSource::Rank);
        target.spelling = Spelling::Underscored;
        let alpha = alphas.of(&target, Some(4), None).unwrap().unwrap();
        assert_eq!((alpha.value, alpha.factor), (2.0, 0.5));
        assert_eq!(alpha.source, AlphaSource::KohyaMetadata);
    }

    #[test]
    fn without_any_alpha_it_is_the_rank() {
        let alpha = Alphas::default().of(&target(Owner::Unsaid, "a"), Some(4), None).unwrap();
        let alpha = alpha.unwrap();
        assert_eq!(alpha, Alpha { value: 4.0, source: AlphaSource::Rank, factor: 1.0 });
    }

    #[test]
    fn an_update_that_is_no_product_is_scaled_by_what_peft_says_or_not_at_all() {
        let config = r#"{"alpha": 6, "r": 4, "peft_type": "LOKR", "rank_pattern": {"b": 3}}"#;
        let alphas = Alphas::read(&BTreeMap::new(), Some(config)).unwrap();
        let of = |module: &str, beside| {
            alphas.of(&target(Owner::Unsaid, module), None, beside).unwrap().map(|it| it.factor)
        };
        assert_eq!(
            [of("a", None), of("b", None), of("a", Some(9.0))],
            [Some(1.5), Some(2.0), None]
        );
        let plain = Alphas::default().of(&target(Owner::Unsaid, "a"), None, Some(9.0));
        assert_eq!(plain.unwrap(), None);
    }

    #[test]
    fn learned_lengths_are_asked_for_where_the_configuration_says_so() {
        let text = r#"{"unet.lora_alpha": 2, "unet.use_dora": true, "text_encoder.lora_alpha": 3}"#;
        let alphas = Alphas::read(&metadata("lora_adapter_metadata", text), None).unwrap();
        let wants = |network| alphas.wants_magnitude(&target(Owner::Network(network), "a"));
        assert_eq!([wants(Network::Unet), wants(Network::TextEncoder)], [true, false]);
    }

    #[test]
    fn configurations_that_change_the_formula_are_refused() {
        for (config, rule) in [
            (r#"{"lora_alpha": 8, "peft_type": "LOHA"}"#, "`alpha`"),
            (r#"{"alpha": 8, "peft_type": "LORA"}"#, "`lora_alpha`"),
            (r#"{"alpha": 8, "peft_type": "OFT"}"#, "OFT"),
            (r#"{"lora_alpha": 8, "alpha_pattern": {".*to_q": 1}}"#, "pattern"),
            (r#"{"lora_alpha": 8, "fan_in_fan_out": true}"#, "fan_in_fan_out"),
            (r#"{"lora_alpha": 1e999}"#, "not valid"),
            (r#"{"r": 4}"#, "lora_alpha"),
            ("[", "not valid"),
            (" ".repeat(LONGEST_CONFIG + 1).as_str(), "at most"),
        ] {
            let error = Alphas::read(&BTreeMap::new(), Some(config)).unwrap_err();
            assert!(error.contains(rule), "{config}: {error}");
        }
    }
}
