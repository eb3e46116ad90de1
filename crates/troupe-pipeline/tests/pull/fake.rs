//! A hub with one painter's repository, which cuts, lies and leads elsewhere when it is told to.

use std::collections::BTreeMap;

use sha1::Sha1;
use sha2::Digest;
use troupe_models::hash::{hexadecimal, sha256};
use troupe_pipeline::pull::{Hub, Identity, PullError, RemoteFile, Wanted};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A hub with one repository, and how it misbehaves.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) commit: String,
    /// Sends other bytes than it lists for this file.
    pub(crate) lies_about: Option<String>,
    /// Ends after so many bytes, as often as this says.
    pub(crate) cuts: Vec<usize>,
    /// Begins at the first byte, whatever it is asked for.
    pub(crate) ignores_offsets: bool,
    /// Sends so many bytes more than it lists, and counts those that were taken.
    pub(crate) longer: usize,
    pub(crate) taken: usize,
    /// Lists this instead of a hash.
    pub(crate) hash: Option<String>,
    /// What was asked for, and from which byte on.
    pub(crate) log: Vec<(String, u64)>,
}

/// The hash by which git knows these bytes.
pub(crate) fn blob(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    hexadecimal(&Sha1::new_with_prefix(header).chain_update(bytes).finalize())
}

impl Hub for Fake {
    fn commit(&mut self, repository: &str, revision: &str) -> Result<String, PullError> {
        assert_eq!((repository, revision), ("org/name", "main"));
        Ok(self.commit.clone())
    }

    fn files(&mut self, _repository: &str, _commit: &str) -> Result<Vec<RemoteFile>, PullError> {
        let listed = self.files.iter().map(|(path, bytes)| {
            let size = bytes.len() as u64;
            let identity = if path.ends_with(".safetensors") {
                let (version, hash) = ("https://git-lfs.github.com/spec/v1", sha256(bytes));
                let pointer = format!("version {version}\noid sha256:{hash}\nsize {size}\n");
                Identity::Pointer(self.hash.clone().unwrap_or_else(|| blob(pointer.as_bytes())))
            } else {
                Identity::Blob(blob(bytes))
            };
            RemoteFile { path: path.clone(), size, identity }
        });
        Ok(listed.collect())
    }

    fn fetch(
        &mut self,
        wanted: &Wanted<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), PullError>,
    ) -> Result<(), PullError> {
        let path = &wanted.file.path;
        self.log.push((path.clone(), wanted.from));
        let mut bytes = self.files[path].clone();
        if self.lies_about.as_ref() == Some(path) {
            bytes[0] ^= 1;
        }
        if path == UNET {
            bytes.resize(bytes.len() + self.longer, 0);
        }
        let from = if self.ignores_offsets { 0 } else { usize::try_from(wanted.from).unwrap() };
        let cut = if path == UNET { self.cuts.pop() } else { None };
        let end = cut.map_or(bytes.len(), |cut| (from + cut).min(bytes.len()));
        for part in bytes[from..end].chunks(100) {
            sink(part)?;
            self.taken += part.len();
        }
        if end < bytes.len() { Err(PullError::Broken("a cut".to_owned())) } else { Ok(()) }
    }
}

/// A painter's repository with what else lies in such.
pub(crate) fn painter() -> Fake {
    let texts = [
        "model_index.json",
        "README.md",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "feature_extractor/preprocessor_config.json",
        "../../../escape.json",
        "unet/../../escape.safetensors",
    ];
    let weights = [
        UNET,
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "safety_checker/model.safetensors",
        "v1-5.ckpt",
    ];
    let bytes = |path: &str| path.bytes().cycle().take(1000).collect::<Vec<u8>>();
    let files = texts.into_iter().chain(weights).map(|path| (path.to_owned(), bytes(path)));
    Fake { files: files.collect(), commit: COMMIT.to_owned(), ..Fake::default() }
}
