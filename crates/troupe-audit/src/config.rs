//! The configuration beside a judge's weights: its network, what its heads say, and how sure is sure.

use serde::Deserialize;
use troupe_models::config::TextFile;

use crate::AuditError;

/// The largest configuration that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The most channels of a layer, and the most values of a head.
const MOST: usize = 4096;

/// The head that says how many people are there.
pub(crate) const PRESENCE: &str = "presence";

/// Its values, in the order of [`Presence`](troupe_core::audit::Presence).
const NUMBERS: [&str; 3] = ["nobody", "one", "more"];

/// `first.json` or `second.json` in `models/starter/judge`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// Which network.
    pub architecture: Architecture,
    /// Channels of its four stages.
    pub channels: [usize; 4],
    /// What it says: first `presence`, then the attributes.
    pub heads: Vec<Head>,
}

/// The networks of `models/starter/train/judge/networks.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Architecture {
    /// Blocks with a shortcut; a weight for each place pools them.
    Residual,
    /// Max pooling and group norms, then a dense layer.
    Pooled {
        /// Groups of channels of its norms.
        groups: usize,
        /// Channels of its dense layer.
        width: usize,
    },
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What it is called.
    pub name: String,
    /// Its values, in the order of the network's outputs.
    pub values: Vec<String>,
    /// Whether one more output says that the drawing doesn't show it.
    pub not_visible: bool,
    /// What the logits are divided by, fitted on held-out crops (Guo et al. 2017, arXiv:1706.04599).
    pub temperature: f32,
    /// The probability below which the judge isn't sure.
    pub threshold: f32,
}

impl Head {
    /// The outputs of the network that are this head's.
    pub(crate) fn classes(&self) -> usize {
        self.values.len() + usize::from(self.not_visible)
    }
}

impl JudgeConfig {
    /// Reads a configuration, which nobody vouches for.
    ///
    /// # Errors
    ///
    /// If it isn't one, or says what no judge can have.
    pub fn read(file: TextFile<'_>) -> Result<Self, AuditError> {
        let wrong = |key: &str, wanted: &str, found: String| AuditError::Setting {
            file: file.name.to_owned(),
            key: key.to_owned(),
            wanted: wanted.to_owned(),
            found,
        };
        if MAX_BYTES < file.bytes.len() {
            return Err(wrong("bytes", "at most 1 MiB", file.bytes.len().to_string()));
        }
        let config: Self = serde_json::from_slice(file.bytes)
            .map_err(|source| AuditError::Json { file: file.name.to_owned(), source })?;

        let sizes = |sizes: &[usize]| sizes.iter().all(|size| (1..=MOST).contains(size));
        if !sizes(&config.channels) {
            let found = format!("{:?}", config.channels);
            return Err(wrong("channels", "1 to 4096 each", found));
        }
        if let Architecture::Pooled { groups, width } = config.architecture {
            let divides = |channels: &usize| 0 < groups && channels.is_multiple_of(groups);
            if !config.channels.iter().all(divides) {
                return Err(wrong("groups", "a divisor of all channels", groups.to_string()));
            }
            if !sizes(&[width]) {
                return Err(wrong("width", "1 to 4096", width.to_string()));
            }
        }
        let presence = config.heads.first().map(|it| (it.name.as_str(), it.classes()));
        if presence != Some((PRESENCE, 3)) {
            let wanted = "`presence` first, with nobody, one and more";
            return Err(wrong("heads", wanted, format!("{presence:?}")));
        }
        for head in config.heads.iter().take(1) {
            if head.values != NUMBERS || head.not_visible {
                let found = format!("{:?}", head.values);
                return Err(wrong("values of head `presence`", "nobody, one and more", found));
            }
        }
        for (at, head) in config.heads.iter().enumerate() {
            let key = |name: &str| format!("{name} of head `{}`", head.name);
            if config.heads[..at].iter().any(|it| it.name == head.name) {
                return Err(wrong(&key("name"), "a name of its own", head.name.clone()));
            }
            if !sizes(&[head.values.len()]) {
                return Err(wrong(&key("values"), "1 to 4096", head.values.len().to_string()));
            }
            if !(head.temperature.is_finite() && 0.0 < head.temperature) {
                let found = head.temperature.to_string();
                return Err(wrong(&key("temperature"), "a number above 0", found));
            }
            if !(0.0..=1.0).contains(&head.threshold) {
                let found = head.threshold.to_string();
                return Err(wrong(&key("threshold"), "0 to 1", found));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"architecture": {"pooled": {"groups": 2, "width": 3}}, "channels": [2, 4, 6, 8], "heads": [
        {"name": "presence", "values": ["nobody", "one", "more"], "not_visible": false, "temperature": 1, "threshold": 0.5},
        {"name": "hair", "values": ["black"], "not_visible": true, "temperature": 1.5, "threshold": 0}]}"#;

    fn read(text: &str) -> Result<JudgeConfig, AuditError> {
        JudgeConfig::read(TextFile { name: "judge.json", bytes: text.as_bytes() })
    }

    #[track_caller]
    fn refused(from: &str, to: &str, message: &str) {
        assert!(GOOD.contains(from));
        let error = read(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(error, format!("`judge.json` {message}"));
    }

    #[test]
    fn a_good_configuration_is_read() {
        let config = read(GOOD).unwrap();
        assert_eq!(config.architecture, Architecture::Pooled { groups: 2, width: 3 });
        assert_eq!(config.heads.iter().map(Head::classes).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn what_no_judge_can_have_is_refused() {
        refused("[2,", "[0,", "has channels [0, 4, 6, 8], and 1 to 4096 each was wanted");
        refused("[2,", "[3,", "has groups 2, and a divisor of all channels was wanted");
        refused(
            "\"groups\": 2",
            "\"groups\": 0",
            "has groups 0, and a divisor of all channels was wanted",
        );
        refused("3}}", "5000}}", "has width 5000, and 1 to 4096 was wanted");
        refused(
            "\"presence\"",
            "\"people\"",
            "has heads Some((\"people\", 3)), and `presence` first, with nobody, one and more was wanted",
        );
        for (from, to, values) in [
            ("\"more\"", "\"many\"", r#"["nobody", "one", "many"]"#),
            ("\"nobody\", \"one\"", "\"one\", \"nobody\"", r#"["one", "nobody", "more"]"#),
            (
                ", \"more\"], \"not_visible\": false",
                "], \"not_visible\": true",
                r#"["nobody", "one"]"#,
            ),
        ] {
            let found = format!("has values of head `presence` {values}");
            refused(from, to, &format!("{found}, and nobody, one and more was wanted"));
        }
        refused(
            "\"hair\"",
            "\"presence\"",
            "has name of head `presence` presence, and a name of its own was wanted",
        );
        refused("[\"black\"]", "[]", "has values of head `hair` 0, and 1 to 4096 was wanted");
        refused("1.5", "0", "has temperature of head `hair` 0, and a number above 0 was wanted");
        refused("1.5", "-1", "has temperature of head `hair` -1, and a number above 0 was wanted");
        refused("0.5", "1.5", "has threshold of head `presence` 1.5, and 0 to 1 was wanted");
        refused("\"channels\"", "\"depths\"", "can't be read as the configuration of a judge");
    }
}
