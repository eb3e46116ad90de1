//! A network in several files, with an index that says which tensor lies in which.
//!
//! The index is that of transformers and diffusers (`model.safetensors.index.json`): an object
//! `weight_map` from the name of each tensor to the name of its file. It is untrusted, as all
//! files are; a name in it is a plain file name and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::{Bytes, TensorFile, TensorSet, Weights, WeightsError, printable};
use crate::config::{ConfigError, TextFile};

/// More files than any network is cut into.
const MOST_SHARDS: usize = 1000;

/// Which tensor lies in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    name: String,
    places: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    ///
    /// If it is no index, or names a file elsewhere.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, ConfigError> {
        let parsed: IndexFile = file.parse("the index of a network in several files")?;
        let index = Self { name: file.name.to_owned(), places: parsed.weight_map };
        let files = index.files();
        let wanted = format!("1 to {MOST_SHARDS} files");
        let sound = (1..=MOST_SHARDS).contains(&files.len());
        file.require(sound, "weight_map", wanted, &format!("of {} files", files.len()))?;
        for name in files {
            let plain = name.ends_with(".safetensors")
                && !name.starts_with('.')
                && !name.contains(['/', '\\', ':', '\0']);
            file.require(plain, "weight_map", "plain names of safetensors files", name)?;
        }
        Ok(index)
    }

    /// The names of the files, in order.
    pub fn files(&self) -> BTreeSet<&str> {
        self.places.values().map(String::as_str).collect()
    }
}

impl Weights {
    /// The network of an index, from its files; all of them have been opened.
    ///
    /// # Errors
    ///
    /// If a file is broken, isn't there, has no tensor that the index promises, or one that it
    /// doesn't.
    pub fn sharded(index: &ShardIndex, files: Vec<(String, Bytes)>) -> Result<Self, WeightsError> {
        let corrupt =
            |file: &str, rule: String| WeightsError::Corrupt { file: printable(file, 200), rule };
        let mut opened = BTreeMap::new();
        for (name, bytes) in files {
            let shown = format!("{} of {}", name, index.name);
            opened.insert(name, Arc::new(TensorFile::new(&shown, bytes)?));
        }
        let mut tensors = BTreeMap::new();
        for (name, file) in &opened {
            for (key, view) in TensorSet::all_of(file) {
                if index.places.get(&key) != Some(name) {
                    let key = printable(&key, 200);
                    let rule = format!("has a tensor `{key}` that `{}` doesn't say", index.name);
                    return Err(corrupt(name, rule));
                }
                tensors.insert(key, view);
            }
        }
        if let Some((key, file)) = index.places.iter().find(|(key, _)| !tensors.contains_key(*key))
        {
            let (key, file) = (printable(key, 200), printable(file, 200));
            let rule = format!("says that `{file}` has a tensor `{key}`, and it hasn't");
            return Err(corrupt(&index.name, rule));
        }
        Ok(Self::of(index.name.clone(), tensors))
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView, serialize};

    use super::*;

    fn file(tensors: &[(&str, f32)]) -> Bytes {
        let bytes: Vec<[u8; 4]> = tensors.iter().map(|(_, value)| value.to_le_bytes()).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, _), bytes)| {
            (*name, TensorView::new(Dtype::F32, vec![1], bytes).unwrap())
        });
        Arc::new(serialize(views, None).unwrap())
    }

    fn index(json: &str) -> Result<ShardIndex, ConfigError> {
        ShardIndex::from_json(TextFile { name: "index.json", bytes: json.as_bytes() })
    }

    const TWO: &str = r#"{"metadata": {"total_size": 8},
        "weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#;

    fn open(files: &[(&str, &[(&str, f32)])]) -> Result<Weights, WeightsError> {
        let files = files.iter().map(|(name, tensors)| ((*name).to_owned(), file(tensors)));
        Weights::sharded(&index(TWO).unwrap(), files.collect())
    }

    #[test]
    fn several_files_are_one_network() {
        let weights =
            open(&[("x-1.safetensors", &[("a", 1.0)]), ("x-2.safetensors", &[("b", 2.0)])]);
        let weights = weights.unwrap();
        let value = |key| weights.get(key, &[1]).unwrap().to_vec1::<f32>().unwrap()[0].to_bits();
        assert_eq!([value("a"), value("b")], [1.0_f32, 2.0].map(f32::to_bits));
    }

    #[test]
    fn files_that_differ_from_the_index_are_refused() {
        let check = |files: &[(&str, &[(&str, f32)])], says: &str| {
            let error = open(files).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        let first: (&str, &[(&str, f32)]) = ("x-1.safetensors", &[("a", 1.0)]);
        check(&[first], "`index.json` says that `x-2.safetensors` has a tensor `b`");
        check(&[first, ("x-2.safetensors", &[("b", 1.0), ("c", 1.0)])], "a tensor `c`");
        check(&[first, ("x-2.safetensors", &[("a", 1.0)])], "a tensor `a`");
    }

    #[test]
    fn an_index_that_leads_elsewhere_is_refused() {
        for name in ["../x.safetensors", "/x.safetensors", "x.bin", "C:x.safetensors"] {
            let json = format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#);
            let error = index(&json).unwrap_err().to_string();
            assert!(error.contains("plain names of safetensors files"), "{error}");
        }
        assert!(index(r#"{"weight_map": {}}"#).is_err());
        assert!(index("[]").is_err());
    }
}
