//! The tiny pipeline of the golden `generation`, as it is or with changed weights.

use std::fs;
use std::sync::Arc;

use troupe_models::checkpoint::ModelIndex;
use troupe_models::config::TextFile;
use troupe_models::weights::Weights;
use troupe_render::{
    Loras, Options, Painter, PainterFiles, RenderError, TextFiles, TokenizerFiles,
};
use troupe_testkit::golden_path;

/// A file of `tests/golden/generation`.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(golden_path("generation").join(name)).unwrap()
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(golden_path("generation").join(name)).unwrap()
}

/// The tiny model with LoRAs; `change` is given each file of weights.
pub(crate) fn tiny(
    loras: Loras<'_>,
    change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
) -> Result<Painter, RenderError> {
    tiny_with(Options::default(), loras, change)
}

/// The same with other options.
pub(crate) fn tiny_with(
    options: Options,
    loras: Loras<'_>,
    change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
) -> Result<Painter, RenderError> {
    let [index, scheduler, tokenizer, tokenizer_config, text_encoder, unet, vae] = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
    ]
    .map(|name| text(&format!("model/{name}")));
    let weights = |name: &str| {
        let bytes = change(name, bytes(&format!("model/{name}")));
        Weights::new(name, Arc::new(bytes)).unwrap()
    };
    let files = PainterFiles {
        index: ModelIndex::parse("tiny", &index).unwrap(),
        scheduler: &scheduler,
        texts: vec![TextFiles {
            tokenizer_config: Some(TextFile {
                name: "tokenizer_config.json",
                bytes: tokenizer_config.as_bytes(),
            }),
            tokenizer: TokenizerFiles::Whole(TextFile {
                name: "tokenizer.json",
                bytes: tokenizer.as_bytes(),
            }),
            config: TextFile { name: "text_encoder/config.json", bytes: text_encoder.as_bytes() },
            weights: weights("text_encoder/model.safetensors"),
        }],
        unet_config: &unet,
        unet: weights("unet/diffusion_pytorch_model.safetensors"),
        vae_config: TextFile { name: "vae/config.json", bytes: vae.as_bytes() },
        vae: weights("vae/diffusion_pytorch_model.safetensors"),
        embeddings: Vec::new(),
        options,
    };
    let (painter, applied) = Painter::load(files, loras)?;
    assert_eq!(applied.len(), loras.merged.len() + loras.bound.len());
    Ok(painter)
}
