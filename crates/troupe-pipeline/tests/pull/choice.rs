//! Which files of a repository are pulled, and which never are.

use super::*;

#[test]
fn a_judge_that_is_asked_with_words_is_pulled_without_what_no_judge_reads() {
    let read = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "model.safetensors",
    ];
    let others =
        ["README.md", "pytorch_model.bin", "flax_model.msgpack", "special_tokens_map.json"];
    let mut hub = painter();
    hub.files.clear();
    for path in read.into_iter().chain(others) {
        hub.files.insert(path.to_owned(), path.as_bytes().to_vec());
    }
    let cache = tempfile::tempdir().unwrap();
    let found = pulled(&mut hub, cache.path()).unwrap();
    let paths: Vec<&str> = found.files.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, read);
    let manifest = Manifest { hub: Some(cache.path().to_owned()), ..Manifest::default() };
    assert_eq!(manifest.judge("hf:org/name").unwrap().path, found.path);

    // Only the whole weights are read, and no pickle; a model that looks at nothing is no judge.
    let half = Request { variant: Some("fp16".to_owned()), ..request("hf:org/name") };
    let error = pull(&mut hub, cache.path(), &half, &mut Listener::default()).unwrap_err();
    assert!(error.to_string().contains("model.fp16.safetensors"), "{error}");
    hub.files.remove("model.safetensors");
    let error = pulled(&mut hub, cache.path()).unwrap_err();
    assert!(matches!(error, PullError::Pickle { .. }), "{error}");
    hub.files.remove("pytorch_model.bin");
    let error = pulled(&mut hub, cache.path()).unwrap_err();
    assert!(error.to_string().contains("no `model.safetensors`"), "{error}");
    hub.files.remove("preprocessor_config.json");
    let error = pulled(&mut hub, cache.path()).unwrap_err();
    assert!(matches!(error, PullError::NoFolder { .. }), "{error}");
}

#[test]
fn a_copy_in_half_precision_and_a_single_file_may_be_asked_for() {
    let cache = tempfile::tempdir().unwrap();
    let mut listener = Listener::default();
    let mut hub = painter();
    let half = Request { variant: Some("fp16".to_owned()), ..request("hf:org/name") };
    let files = pull(&mut hub, cache.path(), &half, &mut listener).unwrap().files;
    let weights = files.iter().filter(|it| it.path.ends_with("tensors"));
    assert!(weights.clone().count() == 3 && weights.clone().all(|it| it.path.contains(".fp16.")));
    let other = Request { variant: Some("bf16".to_owned()), ..request("hf:org/name") };
    let error = pull(&mut hub, cache.path(), &other, &mut listener).unwrap_err();
    assert!(error.to_string().contains("unet/diffusion_pytorch_model.bf16.safetensors"), "{error}");

    let cache = tempfile::tempdir().unwrap();
    let single = request("hf:org/name:safety_checker/model.safetensors");
    let single = pull(&mut hub, cache.path(), &single, &mut listener).unwrap();
    assert_eq!(single.files.len(), 1);
    assert!(single.path.ends_with(format!("snapshots/{COMMIT}/safety_checker/model.safetensors")));
    // The same in half precision where whole isn't there.
    hub.files.retain(|path, _| !path.ends_with("model.safetensors") || path.contains("checker"));
    let files = pulled(&mut hub, cache.path()).unwrap().files;
    assert!(files.iter().any(|it| it.path == "unet/diffusion_pytorch_model.fp16.safetensors"));
}

#[test]
fn an_index_brings_its_files_and_leads_nowhere_else() {
    let mut hub = painter();
    hub.files.retain(|path, _| !path.starts_with("unet/diff"));
    let index = "unet/diffusion_pytorch_model.safetensors.index.json";
    let shards = ["diffusion-1-of-2.safetensors", "diffusion-2-of-2.safetensors"];
    let text = |first: &str| {
        format!(r#"{{"weight_map": {{"a": "{first}", "b": "{}"}}}}"#, shards[1]).into_bytes()
    };
    hub.files.insert(index.to_owned(), text(shards[0]));
    for shard in shards {
        hub.files.insert(format!("unet/{shard}"), shard.as_bytes().to_vec());
    }
    let cache = tempfile::tempdir().unwrap();
    let files = pulled(&mut hub, cache.path()).unwrap().files;
    let paths: Vec<&str> = files.iter().map(|it| it.path.as_str()).collect();
    for path in [index.to_owned(), format!("unet/{}", shards[0]), format!("unet/{}", shards[1])] {
        assert!(paths.contains(&path.as_str()), "{path} isn't in {paths:?}");
    }
    for (first, code, says) in [
        ("../../escape.safetensors", 3, "plain names"),
        ("missing.safetensors", 3, "unet/missing.safetensors"),
    ] {
        hub.files.insert(index.to_owned(), text(first));
        let cache = tempfile::tempdir().unwrap();
        let error = pulled(&mut hub, cache.path()).unwrap_err();
        assert!(error.to_string().contains(says) && error.exit_code() == code, "{error}");
        says_nothing(cache.path());
    }
}

#[test]
fn pickles_and_what_is_no_painter_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    let refused = |hub: &mut Fake, address: &str, code: u8, says: &str| {
        let error = pull(hub, cache.path(), &request(address), &mut Listener::default());
        let error = error.unwrap_err();
        assert!(error.to_string().contains(says) && error.exit_code() == code, "{error}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    };
    let mut hub = painter();
    for file in ["v1-5.ckpt", "unet/diffusion_pytorch_model.bin"] {
        refused(&mut hub, &format!("hf:org/name:{file}"), 6, "pickles are never fetched");
    }
    refused(&mut hub, "hf:org/name:README.md", 6, "safetensors, json, txt or gguf");
    refused(&mut hub, "hf:org/name:none.safetensors", 3, "`none.safetensors` in `org/name`");
    hub.files.retain(|path, _| !(path.starts_with("unet/") && path.ends_with(".safetensors")));
    refused(&mut hub, "hf:org/name", 6, "has its unet as a pickle");
    hub.files.retain(|path, _| !path.starts_with("unet/diff"));
    refused(&mut hub, "hf:org/name", 3, "no `unet/diffusion_pytorch_model.safetensors`");
    hub.files.remove("vae/config.json");
    hub.files.insert(UNET.to_owned(), b"unet".to_vec());
    refused(&mut hub, "hf:org/name", 3, "no `vae/config.json`");
    hub.files.remove("model_index.json");
    refused(&mut hub, "hf:org/name", 3, "safety_checker/model.safetensors");
    hub.files.insert("model_index.json".to_owned(), vec![b' '; (16 << 20) + 1]);
    refused(&mut hub, "hf:org/name", 3, "are the most of such a file");
}
