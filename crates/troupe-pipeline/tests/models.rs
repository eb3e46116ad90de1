//! Models as they lie on disk: a checkpoint in one file and the folder of the same model paint the same bytes.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tempfile::TempDir;
use troupe_core::layout::Canvas;
use troupe_core::seed::Seed;
use troupe_models::hash::sha256;
use troupe_pipeline::config::{Config, Metadata};
use troupe_pipeline::layout::Room;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::metadata::read_png;
use troupe_pipeline::paint::{
    Asked, Easel, Exchange, ModelFolder, Order, PictureRecord, Place, Plain, Subject,
};
use troupe_pipeline::{ChildLog, ChildProgram, PipelineError, Progress, Studio, Talk};

const VOCABULARY: usize = 49_408;
const SINGLE_EMBEDDING: &str =
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight";

struct Silent;

impl Talk for Silent {
    fn note(&mut self, _text: &str) {}

    fn progress(&mut self, _progress: Progress) {}

    fn stopped(&self) -> bool {
        false
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn golden(file: &str) -> PathBuf {
    repository().join("tests/golden/single-file/sd1").join(file)
}

/// An embedding of all of CLIP's tokens, eight half-precision numbers each, between -2 and 2.
fn embedding() -> Vec<u8> {
    let mut state = 8_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, _, low, high] = state.to_le_bytes();
        // Sign and fraction are any; the exponent is that of numbers from 0.5 to 2.
        [low, (high & 0x87) | 0x38]
    };
    (0..8 * VOCABULARY).flat_map(|_| number()).collect()
}

/// A file of the golden, its embedding replaced by a whole one.
fn with_embedding(file: &Path, key: &str, embedding: &[u8]) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let whole = TensorView::new(Dtype::F16, vec![VOCABULARY, 8], embedding).unwrap();
    let replaced = tensors.iter().map(|(name, view)| {
        let view = if name == key { whole.clone() } else { view };
        (name, view)
    });
    serialize(replaced, None).unwrap()
}

/// `vocab.json` and `merges.txt` of CLIP's own vocabulary.
fn write_tokenizer(folder: &Path) {
    let data = repository().join("crates/troupe-models/data/bpe_simple_vocab_16e6.txt.gz");
    let mut text = String::new();
    GzDecoder::new(fs::File::open(data).unwrap()).read_to_string(&mut text).unwrap();
    let merges: Vec<&str> = text.lines().skip(1).take(49_152 - 256 - 2).collect();
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte)).zip('\u{100}'..);
    let bytes: Vec<String> = (0..=u8::MAX)
        .filter(printable)
        .map(char::from)
        .chain(others.map(|(_, it)| it))
        .map(String::from)
        .collect();
    let ends = bytes.iter().map(|it| format!("{it}</w>"));
    let whole = merges.iter().map(|it| it.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = bytes.iter().cloned().chain(ends).chain(whole).chain(special);
    let ids: serde_json::Map<String, serde_json::Value> =
        tokens.zip(0..).map(|(token, id)| (token, serde_json::Value::from(id))).collect();
    assert_eq!(ids.len(), VOCABULARY);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("vocab.json"), serde_json::to_string(&ids).unwrap()).unwrap();
    fs::write(folder.join("merges.txt"), merges.join("\n")).unwrap();
}

/// The same model as `single.safetensors`, and as `folder` with weights of a variant.
fn models() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let embedding = embedding();
    let single = with_embedding(&golden("single.safetensors"), SINGLE_EMBEDDING, &embedding);
    fs::write(place.path().join("single.safetensors"), single).unwrap();

    let folder = place.path().join("folder");
    for (part, file) in [
        ("unet", "diffusion_pytorch_model.fp16.safetensors"),
        ("vae", "diffusion_pytorch_model.fp16.safetensors"),
        ("text_encoder", "model.fp16.safetensors"),
    ] {
        fs::create_dir_all(folder.join(part)).unwrap();
        for file in ["config.json", file] {
            fs::copy(golden(part).join(file), folder.join(part).join(file)).unwrap();
        }
    }
    let config = folder.join("text_encoder/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"vocab_size\": 40", "\"vocab_size\": 49408")).unwrap();
    let encoder = folder.join("text_encoder/model.fp16.safetensors");
    let key = {
        let bytes = fs::read(&encoder).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = tensors.names().into_iter().map(str::to_owned);
        names.find(|name| name.ends_with("token_embedding.weight")).unwrap()
    };
    fs::write(&encoder, with_embedding(&encoder, &key, &embedding)).unwrap();
    write_tokenizer(&folder.join("tokenizer"));
    let parts = [
        ("scheduler", "diffusers", "PNDMScheduler"),
        ("text_encoder", "transformers", "CLIPTextModel"),
        ("tokenizer", "transformers", "CLIPTokenizer"),
        ("unet", "diffusers", "UNet2DConditionModel"),
        ("vae", "diffusers", "AutoencoderKL"),
    ];
    let mut index = "{\"_class_name\": \"StableDiffusionPipeline\"".to_owned();
    for (part, library, class) in parts {
        write!(index, ", \"{part}\": [\"{library}\", \"{class}\"]").unwrap();
    }
    fs::write(folder.join("model_index.json"), index + "}").unwrap();
    // `scheduler_config.json` of stable-diffusion-v1-5.
    let scheduler = r#"{"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
        "steps_offset": 1, "trained_betas": null, "clip_sample": false}"#;
    fs::create_dir(folder.join("scheduler")).unwrap();
    fs::write(folder.join("scheduler/scheduler_config.json"), scheduler).unwrap();
    place
}

fn studio(place: &Path, settings: &str) -> Studio {
    let child = ChildProgram {
        program: place.join("no-such-program"),
        arguments: Vec::new(),
        log: ChildLog::Quoted,
        stop: None,
    };
    let text = format!("run.metadata = \"none\"\n[paint]\nsteps = 3\n{settings}");
    let config = Config::load(Some(("test", &text)), &[], &[]).unwrap();
    let manifest = Manifest { hub: Some(place.join("hub")), ..Manifest::default() };
    Studio::new(config, manifest, child).unwrap()
}

fn paint(place: &Path, settings: &str) -> Result<Vec<u8>, PipelineError> {
    let studio = studio(place, settings);
    paint_with(&studio, &ModelFolder::open(&studio)?)
}

fn paint_with(studio: &Studio, model: &ModelFolder) -> Result<Vec<u8>, PipelineError> {
    let easel = Easel::load(studio, model, &Asked::default(), &mut Silent)?;
    let plain = Plain {
        prompt: "a red fox, (standing:1.2) in the snow".to_owned(),
        loras: Vec::new(),
        canvas: Canvas::new(64, 64).unwrap(),
    };
    let place = Place { picture: 1, of: 1 };
    let order = Order { subject: Subject::Plain(&plain), seed: Seed(8), anew: None };
    easel.paint(studio, order, &Exchange::default(), place, &mut Silent)
}

/// A setting with a path.
fn setting(key: &str, path: &Path) -> String {
    format!("{key} = '{}'\n", path.display())
}

#[test]
fn a_file_and_a_folder_of_the_same_model_paint_the_same_bytes() {
    let place = models();
    let at = |path: &str| place.path().join(path);
    let single = paint(place.path(), &setting("model", &at("single.safetensors"))).unwrap();
    let folder = paint(place.path(), &setting("model", &at("folder"))).unwrap();
    assert_eq!(single, folder);

    // The same by way of a hub's cache.
    let snapshot = at("hub/models--org--name/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(at("hub/models--org--name/refs")).unwrap();
    fs::write(at("hub/models--org--name/refs/main"), "abc").unwrap();
    fs::rename(at("single.safetensors"), at("hub/blob")).unwrap();
    std::os::unix::fs::symlink(at("hub/blob"), snapshot.join("single.safetensors")).unwrap();
    let hub = "model = \"hf:org/name:single.safetensors\"\n";
    assert_eq!(paint(place.path(), hub).unwrap(), single);
    let missing = paint(place.path(), "model = \"hf:org/other\"\n").unwrap_err();
    assert_eq!(missing.exit_code(), 6);
    assert!(missing.to_string().contains("`hf:org/other` isn't in the cache"), "{missing}");
}

#[test]
fn an_autoencoder_and_words_can_be_put_beside_a_model() {
    let place = models();
    let at = |path: &str| place.path().join(path);
    let model = setting("model", &at("single.safetensors"));
    let plain = paint(place.path(), &model).unwrap();
    // Its own autoencoder, from a folder and from a file, changes nothing.
    for vae in ["folder/vae", "folder/vae/diffusion_pytorch_model.fp16.safetensors"] {
        let settings = model.clone() + &setting("vae", &at(vae));
        assert_eq!(paint(place.path(), &settings).unwrap(), plain, "{vae}");
    }
    let wrong = model.clone()
        + &setting("vae", &at("folder/unet/diffusion_pytorch_model.fp16.safetensors"));
    let error = paint(place.path(), &wrong).unwrap_err();
    assert!(error.to_string().contains("no autoencoder") && error.exit_code() == 3, "{error}");

    // A word of the prompt that is learned changes the picture.
    let embedding = |width: usize| {
        let ones: Vec<u8> = (0..2 * width).flat_map(|_| 1.0_f32.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![2, width], &ones).unwrap();
        serialize([("emb_params", view)], None).unwrap()
    };
    fs::write(at("fox.safetensors"), embedding(8)).unwrap();
    fs::write(at("wide.safetensors"), embedding(9)).unwrap();
    let with = |file: &str| format!("{model}embeddings = ['{}']\n", at(file).display());
    assert_ne!(paint(place.path(), &with("fox.safetensors")).unwrap(), plain);
    let error = paint(place.path(), &with("wide.safetensors")).unwrap_err();
    assert!(error.to_string().contains("made for another model"), "{error}");
    assert_eq!(error.exit_code(), 3);
    assert_ne!(paint(place.path(), &(model.clone() + "clip_skip = 2\n")).unwrap(), plain);
    let error = paint(place.path(), &(model + "clip_skip = 3\n")).unwrap_err();
    let message = "the number of layers to skip is 2, and 0 to 1 was wanted";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (message, 2));
}

#[test]
fn a_picture_says_the_hashes_of_what_was_put_beside_the_model() {
    let place = models();
    let at = |path: &str| place.path().join(path);
    let ones = 1.0_f32.to_le_bytes().repeat(8);
    for word in ["fox", "owl"] {
        let view = TensorView::new(Dtype::F32, vec![1, 8], &ones).unwrap();
        let title = [("title".to_owned(), word.to_owned())].into_iter().collect();
        let file = serialize([("emb_params", view)], Some(title)).unwrap();
        fs::write(at(&format!("{word}.safetensors")), file).unwrap();
    }
    let vae = at("folder/vae/diffusion_pytorch_model.fp16.safetensors");
    let settings = |vae: &Path| {
        let [fox, owl] = ["fox", "owl"].map(|it| at(&format!("{it}.safetensors")));
        let words = format!("embeddings = ['{}', '{}']\n", fox.display(), owl.display());
        setting("model", &at("single.safetensors")) + &setting("vae", vae) + &words
    };
    let painted = |vae: &Path| {
        let mut studio = studio(place.path(), &settings(vae));
        studio.config.run.metadata = Metadata::Full;
        let model = ModelFolder::open(&studio).unwrap();
        let contents = read_png(&paint_with(&studio, &model).unwrap()).unwrap();
        let record: PictureRecord = serde_json::from_str(&contents.troupe.unwrap()).unwrap();
        let easel = Easel::load(&studio, &model, &Asked::default(), &mut Silent).unwrap();
        (record, contents.parameters.unwrap(), easel)
    };
    let (record, parameters, easel) = painted(&vae);
    let hash = |path: &Path| sha256(&fs::read(path).unwrap());
    let of_vae = record.vae.as_ref().unwrap();
    assert_eq!(of_vae.name, "diffusion_pytorch_model.fp16.safetensors");
    assert_eq!(of_vae.hash, hash(&vae)[..10]);
    let words: Vec<_> = record.embeddings.iter().map(|it| (&*it.name, &*it.hash)).collect();
    let [fox, owl] = ["fox", "owl"].map(|it| hash(&at(&format!("{it}.safetensors"))));
    assert_eq!(words, [("fox.safetensors", &fox[..12]), ("owl.safetensors", &owl[..12])]);
    let vae_said = format!("VAE hash: {}, VAE: {}", of_vae.hash, of_vae.name);
    assert!(parameters.contains(&vae_said), "{parameters}");
    // The prompt speaks of a fox, and of no owl.
    let said = format!("TI hashes: \"fox: {}\", Version", &fox[..12]);
    assert!(parameters.contains(&said), "{parameters}");
    easel.check(&record).unwrap();

    // A folder is known by the file in it.
    let (folder, ..) = painted(&at("folder/vae"));
    let of_folder = folder.vae.unwrap();
    assert_eq!((&*of_folder.name, of_folder.hash), ("vae", hash(&vae)[..10].to_owned()));
    // Another autoencoder of the same name paints other pictures, and is told apart.
    let mut changed = fs::read(&vae).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::remove_file(&vae).unwrap();
    fs::write(&vae, changed).unwrap();
    let (_, _, other) = painted(&vae);
    let error = other.check(&record).unwrap_err();
    assert!(error.to_string().contains(&of_vae.hash) && error.exit_code() == 3, "{error}");
}

#[test]
fn what_is_put_beside_a_model_is_looked_for_before_anything_is_done() {
    let place = models();
    let at = |path: &str| place.path().join(path);
    let model = setting("model", &at("folder"));
    let open = |settings: &str| {
        let error = ModelFolder::open(&studio(place.path(), &(model.clone() + settings)));
        error.map(|_| ()).unwrap_err()
    };
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("short.safetensors"), b"{}").unwrap();
    for (file, says) in [
        ("missing.safetensors", "missing.safetensors` doesn't exist"),
        ("empty", "empty/config.json` doesn't exist"),
        ("short.safetensors", "short.safetensors`"),
    ] {
        let error = open(&setting("vae", &at(file)));
        assert!(error.to_string().contains(says) && error.exit_code() == 3, "{error}");
    }
    for file in ["missing.safetensors", "short.safetensors"] {
        let error = open(&format!("embeddings = ['{}']", at(file).display()));
        assert!(error.to_string().contains(file) && error.exit_code() == 3, "{error}");
    }

    // A message names the file that is wrong, not the model's own.
    fs::create_dir(at("vae")).unwrap();
    let own = at("folder/vae/diffusion_pytorch_model.fp16.safetensors");
    fs::copy(own, at("vae/diffusion_pytorch_model.safetensors")).unwrap();
    fs::write(at("vae/config.json"), r#"{"_class_name": "VQModel"}"#).unwrap();
    let error = paint(place.path(), &(model.clone() + &setting("vae", &at("vae")))).unwrap_err();
    let config = at("vae/config.json").display().to_string();
    assert!(error.to_string().contains(&config), "{error}");
}

#[test]
fn what_is_painted_with_is_the_file_that_was_opened() {
    let place = models();
    let folder = place.path().join("folder");
    let studio = studio(place.path(), &setting("model", &folder));
    let model = ModelFolder::open(&studio).unwrap();
    let before = paint_with(&studio, &model).unwrap();
    let unet = folder.join("unet/diffusion_pytorch_model.fp16.safetensors");
    fs::remove_file(&unet).unwrap();
    fs::write(&unet, b"something else").unwrap();
    assert_eq!(paint_with(&studio, &model).unwrap(), before);
}

#[test]
fn a_model_that_the_manifest_does_not_know_is_at_home_where_its_family_is() {
    let place = models();
    let first = |model: &Path| {
        let studio = studio(place.path(), &setting("model", model));
        let canvas = Room::new(&studio, &ModelFolder::open(&studio).unwrap()).unwrap().canvas();
        canvas.map(|it| (it.width(), it.height()))
    };
    assert_eq!(first(&place.path().join("single.safetensors")), Some((512, 512)));
    let sdxl = repository().join("tests/golden/single-file/sdxl/single.safetensors");
    assert_eq!(first(&sdxl), Some((1024, 1024)));
    let config = place.path().join("folder/unet/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"sample_size\": null", "\"sample_size\": 96")).unwrap();
    assert_eq!(first(&place.path().join("folder")), Some((768, 768)));
}

#[test]
fn a_spacing_that_is_set_beats_the_one_in_the_samplers_name() {
    let place = models();
    let model = setting("model", &place.path().join("folder"));
    let paint = |settings: &str| paint(place.path(), &format!("{model}{settings}")).unwrap();
    let [leading, trailing] = ["leading", "trailing"]
        .map(|spacing| paint(&format!("sampler = \"ddim\"\nspacing = \"{spacing}\"")));
    assert_ne!(leading, trailing);
    assert_eq!(paint("sampler = \"ddim_trailing\""), trailing);
    assert_eq!(paint("sampler = \"ddim_trailing\"\nspacing = \"leading\""), leading);
}

#[test]
fn a_checkpoint_with_nan_or_cut_short_is_refused() {
    let place = models();
    let path = place.path().join("single.safetensors");
    let whole = fs::read(&path).unwrap();
    let model = setting("model", &path);
    fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    let error = paint(place.path(), &model).unwrap_err();
    assert!(error.to_string().contains("single.safetensors") && error.exit_code() == 3, "{error}");
    // The last number of the file becomes none.
    let mut poisoned = whole;
    let end = poisoned.len();
    poisoned[end - 2..].copy_from_slice(&[0x00, 0x7e]);
    fs::write(&path, &poisoned).unwrap();
    let error = paint(place.path(), &model).unwrap_err();
    assert!(error.to_string().contains("NaN or infinity") && error.exit_code() == 3, "{error}");
}
