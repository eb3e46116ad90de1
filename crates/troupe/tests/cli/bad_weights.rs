//! Models and LoRAs that are missing, broken, of another kind or refused by policy.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};

use crate::support::{Place, repository};
use crate::{laid_out, refuses};

const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A copy of the starter's painter, with one file replaced.
fn painter(place: &Place, file: &str, content: &[u8]) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    copy(&repository().join("models/starter/painter"), &place.path("painter"));
    place.write(&format!("painter/{file}"), content);
}

/// A safetensors file whose header says this, with so many bytes of zeros behind it.
fn safetensors(header: &Value, bytes: usize) -> Vec<u8> {
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

/// A LoRA of rank 1 on one module, all zeros.
fn lora(module: &str) -> Vec<u8> {
    let tensor = |shape: [usize; 2], begin: usize| {
        let end = begin + 4 * shape[0] * shape[1];
        json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] })
    };
    let header = json!({
        format!("{module}.lora_down.weight"): tensor([1, 4], 0),
        format!("{module}.lora_up.weight"): tensor([4, 1], 16),
    });
    safetensors(&header, 32)
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let place = laid_out();
    let known = ["`nobody`", "the manifest knows starter"];
    refuses(&place, &["run", "three chefs", "--model", "nobody", "--out", "out"], 3, &known);
    refuses(&place, &["paint", "layout.json", "--model", "nobody"], 3, &known);
    refuses(
        &place,
        &["paint", "layout.json", "--model", "hf:a/b"],
        6,
        &["`hf:a/b`", "local files only"],
    );
    for (model, code, says) in [("nobody", 3, "`nobody`"), ("hf:a/b", 6, "`hf:a/b`")] {
        place.write("pipeline.toml", format!("[plan]\nmodel = \"{model}\"\n"));
        refuses(&place, &["plan", "three chefs", "-o", "o.json"], code, &[says]);
        refuses(&place, &["run", "three chefs", "--out", "out"], code, &[says]);
    }
}

#[test]
fn a_painter_that_is_broken_is_refused() {
    let place = laid_out();
    let unet = fs::read(repository().join("models/starter/painter").join(UNET)).unwrap();
    let mut lying = unet.clone();
    lying[..8].copy_from_slice(&(unet.len() as u64 * 2).to_le_bytes());
    let tensor = |shape: Value, offsets: Value| json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
    let overlapping = safetensors(
        &json!({ "a": tensor(json!([2]), json!([0, 8])), "b": tensor(json!([2]), json!([4, 12])) }),
        12,
    );
    let huge = safetensors(&json!({ "a": tensor(json!([u64::MAX, 8]), json!([0, 8])) }), 8);
    let cases: [(&[u8], i32); 8] = [
        (&unet[..unet.len() - 1000], 3),
        (&unet[..5], 3),
        (b"", 3),
        (&lying, 3),
        (&overlapping, 3),
        (&huge, 3),
        (b"\x80\x02}q\x00X\x04\x00\x00\x00unet.", 6),
        (b"PK\x03\x04\x00\x00\x08\x08archive/data.pkl", 6),
    ];
    for (content, code) in cases {
        painter(&place, UNET, content);
        refuses(&place, &["paint", "layout.json", "--model", "painter"], code, &[UNET]);
    }
    painter(&place, UNET, &unet);
    place.write("painter/unet/config.json", "{");
    refuses(&place, &["paint", "layout.json", "--model", "painter"], 3, &["UNet", "valid JSON"]);
    fs::remove_file(place.path("painter/unet/config.json")).unwrap();
    refuses(&place, &["paint", "layout.json", "--model", "painter"], 3, &["unet/config.json"]);
}

/// A file of weights in which every number of one tensor is this one.
fn filled(file: &[u8], tensor: &str, value: f32) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let shape = tensors.tensor(tensor).unwrap().shape().to_vec();
    let bytes = value.to_le_bytes().repeat(shape.iter().product());
    let new = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
    let all =
        tensors.iter().map(|(name, it)| (name, if name == tensor { new.clone() } else { it }));
    serialize(all, None).unwrap()
}

#[test]
fn a_picture_that_is_none_is_no_success() {
    let place = laid_out();
    let paint = ["--quiet", "paint", "layout.json", "--steps", "2", "--model", "painter"];
    let run = ["--quiet", "run", "three chefs", "--steps", "1", "--model", "painter", "--json"];
    let vae = fs::read(repository().join("models/starter/painter").join(VAE)).unwrap();
    painter(&place, VAE, &filled(&vae, "decoder.conv_out.weight", 0.0));
    refuses(&place, &paint, 1, &["of one colour all over"]);
    let done = place.run(&run);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stdout.contains("of one colour") && !done.stdout.contains("image.png"));
    // Finite, and more than single precision holds once it is multiplied.
    painter(&place, VAE, &filled(&vae, "decoder.conv_out.weight", 3e38));
    refuses(&place, &paint, 1, &["the decoded picture has NaN or infinity"]);
    painter(&place, VAE, &vae);
    let unet = fs::read(repository().join("models/starter/painter").join(UNET)).unwrap();
    painter(&place, UNET, &filled(&unet, "conv_out.weight", 3e38));
    refuses(&place, &paint, 1, &["the UNet says in step 1 of 2 has NaN or infinity"]);
}

#[test]
fn a_pickle_is_refused_by_what_is_in_it() {
    let place = laid_out();
    let pickles: [&[u8]; 2] =
        [b"PK\x03\x04\x00\x00\x08\x08archive/data.pkl", b"\x80\x02}q\x00X\x04\x00\x00\x00unet."];
    for name in ["model.ckpt", "model.pt", "model.bin", "model.safetensors", "model"] {
        for content in pickles {
            place.write(name, content);
            let says = [name, "pickles are never read", "torch.load(", ".safetensors"];
            refuses(&place, &["paint", "layout.json", "--model", name], 6, &says);
            refuses(&place, &["run", "three chefs", "--model", name, "--out", "out"], 6, &says);
        }
    }
    place.write("model.safetensors", safetensors(&json!({}), 0));
    let paint = ["paint", "layout.json", "--model", "model.safetensors"];
    refuses(&place, &paint, 3, &["model.safetensors"]);
}

#[test]
fn a_language_model_that_is_broken_is_refused() {
    let place = Place::new();
    let planner = fs::read(repository().join("models/starter/planner/planner.gguf")).unwrap();
    place.write("pipeline.toml", "[plan]\nmodel = \"broken.gguf\"\n");
    for content in
        [&planner[..100_000], &planner[..planner.len() - 1000], &planner[..6], b"", b"GGML"]
    {
        place.write("broken.gguf", content);
        refuses(&place, &["plan", "three chefs"], 3, &["broken.gguf"]);
    }
}

#[test]
fn a_lora_that_does_not_fit_is_refused() {
    let place = laid_out();
    let flags = ["paint", "layout.json", "--lora", "style.safetensors:0.5"];
    refuses(&place, &flags, 3, &["style.safetensors"]);
    let module = "lora_unet_down_blocks_9_attentions_0_transformer_blocks_0_attn1_to_q";
    place.write("style.safetensors", lora(module));
    refuses(&place, &flags, 3, &["style", module]);
    place.write("style.safetensors", b"\x80\x02}q\x00.");
    refuses(&place, &flags, 6, &["style.safetensors"]);
    place.write("style.safetensors", &lora(module)[..40]);
    refuses(&place, &flags, 3, &["style.safetensors"]);
    refuses(&place, &["lora", "inspect", "none.safetensors"], 3, &["none.safetensors"]);
    let scale = ["paint", "layout.json", "--lora", "style.safetensors:much"];
    refuses(&place, &scale, 2, &["FILE:SCALE"]);
}

#[test]
fn a_lora_with_a_number_that_is_none_is_refused_before_anything_is_done() {
    let place = Place::new();
    let module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let mut file = lora(module);
    let last = file.len() - 4;
    file[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("style.safetensors", file);
    let says = ["style.safetensors", &format!("{module}.lora_up.weight"), "NaN or infinity"];
    refuses(&place, &["lora", "inspect", "style.safetensors"], 3, &says);
    let run = ["run", "three chefs", "--lora", "style.safetensors", "--out", "out"];
    refuses(&place, &run, 3, &says);
}
