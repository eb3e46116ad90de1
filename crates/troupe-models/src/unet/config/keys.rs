//! Reads the keys of a UNet's configuration, one by one.

use serde_json::{Map, Value};

use super::{Addition, Downsampling, UNetConfigError};

/// The largest number of channels, heads or layers that a configuration may ask for.
const LARGEST: u64 = 1 << 16;

/// The keys that haven't been read yet.
pub(super) struct Keys(pub(super) Map<String, Value>);

#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has the types that it has")]
impl Keys {
    pub(super) fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or(Value::Null)
    }

    pub(super) fn fixed(&mut self, key: &str, wanted: &str) -> Result<(), UNetConfigError> {
        // Null is the default everywhere but here, where it takes something away.
        let takes_away = key == "mid_block_type" && self.0.get(key) == Some(&Value::Null);
        let found = self.take(key);
        let text = found.to_string();
        let synonym = key == "act_fn" && found == "swish";
        let nothing = wanted == "null" && found == false;
        let same = found.is_null() || text == wanted || synonym || nothing;
        if same && !takes_away { Ok(()) } else { Err(wrong(key, wanted, &found)) }
    }

    pub(super) fn whole(&mut self, key: &str, default: usize) -> Result<usize, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => whole(key, &value),
        }
    }

    pub(super) fn number(&mut self, key: &str, default: f64) -> Result<f64, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => value.as_f64().ok_or_else(|| wrong(key, "a number", &value)),
        }
    }

    pub(super) fn switch(&mut self, key: &str, default: bool) -> Result<bool, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => value.as_bool().ok_or_else(|| wrong(key, "true or false", &value)),
        }
    }

    pub(super) fn list(
        &mut self,
        key: &str,
        default: &[usize],
    ) -> Result<Vec<usize>, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default.to_vec()),
            Value::Array(values) => values.iter().map(|value| whole(key, value)).collect(),
            value => Err(wrong(key, "a list of numbers", &value)),
        }
    }

    /// A number for all levels, or a list with one for each.
    pub(super) fn per_level(
        &mut self,
        key: &str,
        default: usize,
        levels: usize,
    ) -> Result<Vec<usize>, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(vec![default; levels]),
            Value::Array(values) if values.len() == levels => {
                values.iter().map(|value| whole(key, value)).collect()
            }
            Value::Array(values) => {
                Err(wrong(key, &format!("a list of {levels}"), &Value::Array(values)))
            }
            value => Ok(vec![whole(key, &value)?; levels]),
        }
    }

    /// A number, or a list in which all are the same.
    pub(super) fn same(&mut self, key: &str, default: usize) -> Result<usize, UNetConfigError> {
        let value = match self.take(key) {
            Value::Array(values) => match values.as_slice() {
                [first, rest @ ..] if rest.iter().all(|value| value == first) => first.clone(),
                _ => return Err(wrong(key, "one number", &Value::Array(values))),
            },
            value => value,
        };
        if value.is_null() { Ok(default) } else { whole(key, &value) }
    }

    /// Whether each block is one `with` attention.
    pub(super) fn block_types(
        &mut self,
        key: &str,
        with: &str,
        without: &str,
        levels: usize,
    ) -> Result<Vec<bool>, UNetConfigError> {
        let values = match self.take(key) {
            Value::Array(values) if values.len() == levels => values,
            Value::Null if levels == 4 => {
                // Stable Diffusion 1.x has attention in all but the smallest level.
                let smallest = if with.contains("Down") { 3 } else { 0 };
                return Ok((0..levels).map(|block| block != smallest).collect());
            }
            value => return Err(wrong(key, &format!("a list of {levels} block types"), &value)),
        };
        let attends = |value: &Value| match value.as_str() {
            Some(name) if name == with => Ok(true),
            Some(name) if name == without => Ok(false),
            _ => Err(wrong(key, &format!("`{with}` or `{without}`"), value)),
        };
        values.iter().map(attends).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "as diffusers computes it")]
    pub(super) fn freq_shift(&mut self, channels: usize) -> Result<f32, UNetConfigError> {
        let shift = self.number("freq_shift", 0.0)?;
        let frequencies = u32::try_from(channels >> 1).map_or(f64::INFINITY, f64::from);
        if 0.0 <= shift && shift < frequencies {
            Ok(shift as f32)
        } else {
            let wanted = format!("a number from 0 to less than {frequencies}");
            Err(wrong("freq_shift", &wanted, &shift.into()))
        }
    }

    pub(super) fn downsampling(&mut self) -> Result<Downsampling, UNetConfigError> {
        match self.take("downsample_padding") {
            Value::Null => Ok(Downsampling::AllSides),
            value => match value.as_u64() {
                Some(1) => Ok(Downsampling::AllSides),
                Some(0) => Ok(Downsampling::RightAndBottom),
                _ => Err(wrong("downsample_padding", "0 or 1", &value)),
            },
        }
    }

    /// What the network is told beside the timestep.
    pub(super) fn addition(&mut self) -> Result<Option<Addition>, UNetConfigError> {
        let kind = self.take("addition_embed_type");
        // What says nothing without the kind may be there all the same.
        let [dim, inputs] = ["addition_time_embed_dim", "projection_class_embeddings_input_dim"];
        let [time_embed_dim, found] = [dim, inputs].map(|key| self.take(key));
        if kind.is_null() {
            return Ok(None);
        }
        if kind != "text_time" {
            return Err(wrong("addition_embed_type", "null or \"text_time\"", &kind));
        }
        let time_embed_dim = whole(dim, &time_embed_dim)?;
        if !time_embed_dim.is_multiple_of(2) {
            return Err(wrong(dim, "an even number", &time_embed_dim.into()));
        }
        let all = whole(inputs, &found)?;
        let pooled = all.checked_sub(Addition::TIME_IDS * time_embed_dim);
        let Some(pooled) = pooled.filter(|&pooled| 0 < pooled) else {
            let wanted = format!("more than {} times {time_embed_dim}", Addition::TIME_IDS);
            return Err(wrong(inputs, &wanted, &found));
        };
        Ok(Some(Addition { time_embed_dim, pooled }))
    }

    /// What is left must be private to diffusers, or say nothing.
    pub(super) fn nothing_left(self) -> Result<(), UNetConfigError> {
        let says_something = |(key, value): &(String, Value)| {
            !key.starts_with('_') && !value.is_null() && *value != false
        };
        self.0.into_iter().find(says_something).map_or(Ok(()), |(key, _)| {
            Err(UNetConfigError::Unknown(key.chars().take(100).collect()))
        })
    }
}

fn whole(key: &str, value: &Value) -> Result<usize, UNetConfigError> {
    let number = value.as_u64().filter(|number| (1..=LARGEST).contains(number));
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| wrong(key, &format!("a whole number from 1 to {LARGEST}"), value))
}

pub(super) fn wrong(key: &str, wanted: &str, found: &Value) -> UNetConfigError {
    let found = found.to_string().chars().take(100).collect();
    UNetConfigError::Value { key: key.to_owned(), wanted: wanted.to_owned(), found }
}
