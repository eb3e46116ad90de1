//! How a model wants the colours of pictures.

use serde::Deserialize;
use troupe_models::config::TextFile;
use troupe_models::contrastive::Family;

use crate::error::AuditError;

/// What is taken from colours between 0 and 1, and by what the rest is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colours {
    mean: [f32; 3],
    deviation: [f32; 3],
}

#[derive(Deserialize)]
struct Preprocessor {
    /// Where `processor_config.json` has the rest.
    #[serde(rename = "image_processor")]
    inner: Option<Box<Self>>,
    #[serde(rename = "image_mean")]
    mean: Option<[f32; 3]>,
    #[serde(rename = "image_std")]
    deviation: Option<[f32; 3]>,
}

impl Colours {
    /// What a file says, or the family where it doesn't.
    pub(super) fn of(file: Option<TextFile<'_>>, family: Family) -> Result<Self, AuditError> {
        let default = match family {
            Family::Clip => Self {
                mean: [0.481_454_7, 0.457_827_5, 0.408_210_7],
                deviation: [0.268_629_5, 0.261_302_6, 0.275_777_1],
            },
            Family::SigLip => Self { mean: [0.5; 3], deviation: [0.5; 3] },
        };
        let Some(file) = file else { return Ok(default) };
        let mut said: Preprocessor = serde_json::from_slice(file.bytes)
            .map_err(|source| AuditError::Json { file: file.name.to_owned(), source })?;
        if let Some(inner) = said.inner.take() {
            said = *inner;
        }
        let it = Self {
            mean: said.mean.unwrap_or(default.mean),
            deviation: said.deviation.unwrap_or(default.deviation),
        };
        let wrong = |key: &str, wanted: &str, found: [f32; 3]| AuditError::Setting {
            file: file.name.to_owned(),
            key: key.to_owned(),
            wanted: wanted.to_owned(),
            found: format!("{found:?}"),
        };
        if !it.mean.iter().all(|it| it.is_finite()) {
            return Err(wrong("image_mean", "three numbers", it.mean));
        }
        if !it.deviation.iter().all(|it| it.is_finite() && 0.0 < *it) {
            return Err(wrong("image_std", "three numbers above 0", it.deviation));
        }
        Ok(it)
    }

    /// Of a colour from -1 to 1.
    pub(super) fn normalised(&self, colour: [f32; 3]) -> [f32; 3] {
        let mut at = 0;
        colour.map(|it| {
            let channel = at;
            at += 1;
            (it.midpoint(1.0) - self.mean[channel]) / self.deviation[channel]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_family_or_the_file() {
        let read = |text: &str| {
            let file = TextFile { name: "preprocessor_config.json", bytes: text.as_bytes() };
            Colours::of(Some(file), Family::SigLip)
        };
        let it = Colours::of(None, Family::SigLip).unwrap();
        assert_eq!(
            it.normalised([-1.0, 0.0, 1.0]).map(f32::to_bits),
            [-1.0, 0.0, 1.0].map(f32::to_bits)
        );
        let said = read(r#"{"image_mean": [0, 0.5, 1], "image_std": [1, 2, 4]}"#).unwrap();
        assert_eq!(said.normalised([1.0; 3]).map(f32::to_bits), [1.0, 0.25, 0.0].map(f32::to_bits));
        assert_eq!(read("{}").unwrap(), it);
        let newer = r#"{"image_processor": {"image_mean": [0, 0.5, 1], "image_std": [1, 2, 4]}}"#;
        assert_eq!(read(newer).unwrap(), said);
        let error = read(r#"{"image_std": [1, 0, 1]}"#).unwrap_err().to_string();
        assert!(error.contains("three numbers above 0"), "{error}");
    }
}
