//! Text files of a model, each with the name that messages call it by.

use std::path::Path;

use troupe_models::config::TextFile;
use troupe_render::TokenizerFiles;

use crate::files;
use crate::manifest::ManifestError;

/// The largest text file beside the weights, in bytes.
const LARGEST_TEXT: u64 = 16 << 20;

/// A text file and its name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// A path inside of the model's folder, or what else a person finds it by.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The texts of a tokenizer's folder.
pub(crate) struct TokenizerTexts {
    pub(crate) config: Option<Named>,
    vocabulary: Vocabulary,
}

/// The two forms in which a vocabulary is kept.
enum Vocabulary {
    Whole(Named),
    Pair { vocabulary: Named, merges: Named },
}

impl Named {
    /// Reads a file of a model's folder.
    pub(crate) fn read(model: &Path, name: String) -> Result<Self, ManifestError> {
        let text = text(&model.join(&name))?;
        Ok(Self { name, text })
    }

    pub(crate) fn read_optional(model: &Path, name: String) -> Result<Option<Self>, ManifestError> {
        if model.join(&name).exists() { Self::read(model, name).map(Some) } else { Ok(None) }
    }

    pub(crate) fn file(&self) -> TextFile<'_> {
        TextFile { name: &self.name, bytes: self.text.as_bytes() }
    }
}

impl TokenizerTexts {
    /// Reads a tokenizer of a model's folder; it is in a folder of its own there, or beside the weights (`""`).
    pub(crate) fn read(model: &Path, folder: &str) -> Result<Self, ManifestError> {
        let name = |file: &str| format!("{folder}/{file}").trim_start_matches('/').to_owned();
        let config = Named::read_optional(model, name("tokenizer_config.json"))?;
        let vocabulary = match Named::read_optional(model, name("tokenizer.json"))? {
            Some(whole) => Vocabulary::Whole(whole),
            None => Vocabulary::Pair {
                vocabulary: Named::read(model, name("vocab.json"))?,
                merges: Named::read(model, name("merges.txt"))?,
            },
        };
        Ok(Self { config, vocabulary })
    }

    pub(crate) fn files(&self) -> TokenizerFiles<'_> {
        match &self.vocabulary {
            Vocabulary::Whole(whole) => TokenizerFiles::Whole(whole.file()),
            Vocabulary::Pair { vocabulary, merges } => {
                TokenizerFiles::Pair { vocabulary: vocabulary.file(), merges: merges.file() }
            }
        }
    }
}

/// Reads a text file of a model.
pub(crate) fn text(path: &Path) -> Result<String, ManifestError> {
    Ok(files::read_text(path, LARGEST_TEXT)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_file_of_a_tokenizer_goes_by_its_own_name() {
        let model = tempfile::tempdir().unwrap();
        let read = || TokenizerTexts::read(model.path(), "tokenizer_2");
        fs::create_dir(model.path().join("tokenizer_2")).unwrap();
        for file in ["tokenizer_config.json", "vocab.json"] {
            fs::write(model.path().join("tokenizer_2").join(file), "{}").unwrap();
        }
        let missing = read().err().unwrap().to_string();
        assert!(missing.contains("tokenizer_2/merges.txt"), "{missing}");
        fs::write(model.path().join("tokenizer_2/merges.txt"), "").unwrap();
        let texts = read().unwrap();
        assert_eq!(texts.config.as_ref().unwrap().name, "tokenizer_2/tokenizer_config.json");
        let TokenizerFiles::Pair { vocabulary, merges } = texts.files() else { panic!("a pair") };
        let names = [vocabulary.name, merges.name];
        assert_eq!(names, ["tokenizer_2/vocab.json", "tokenizer_2/merges.txt"]);

        fs::write(model.path().join("tokenizer_2/tokenizer.json"), "{}").unwrap();
        let texts = read().unwrap();
        let TokenizerFiles::Whole(whole) = texts.files() else { panic!("one file") };
        assert_eq!(whole.name, "tokenizer_2/tokenizer.json");
    }
}
