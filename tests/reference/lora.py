"""Makes tests/golden/lora: a tiny UNet and CLIP text encoder, LoRAs for them, and the merged weights.

    python tests/reference/lora.py

The LoRAs are made by peft with random A and B, and saved in the spellings of peft, of diffusers and
of kohya's sd-scripts. The merged weights are peft's own (`merge_and_unload`, `LoraLayer.merge`). For
kohya's file the script also checks that diffusers' loader and `fuse_lora` give the same UNet.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "lora"
UNET = ["to_q", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "time_emb_proj", "downsamplers.0.conv"]
TEXT_ENCODER = ["q_proj", "out_proj", "fc1"]
# The modules whose merged weights are kept: matrices, convolutions of one pixel and of nine.
WATCHED = {
    "unet": [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "down_blocks.0.attentions.0.proj_in",
        "down_blocks.0.downsamplers.0.conv",
        "mid_block.resnets.1.conv1",
        "mid_block.resnets.0.time_emb_proj",
        "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj",
    ],
    "text_encoder": [
        "encoder.layers.0.self_attn.q_proj",
        "encoder.layers.1.self_attn.out_proj",
        "encoder.layers.1.mlp.fc1",
    ],
}
# `init_lora_weights=False` draws A and B at random; with B at zero nothing would be tested.
LORAS = {
    "diffusers": {
        "unet": LoraConfig(target_modules=UNET, init_lora_weights=False, r=2, lora_alpha=3,
                           alpha_pattern={"mid_block.resnets.1.conv1": 7}),
        "text_encoder": LoraConfig(target_modules=TEXT_ENCODER, init_lora_weights=False, r=3, lora_alpha=1),
    },
    "kohya": {
        "unet": LoraConfig(target_modules=UNET, init_lora_weights=False, r=4, lora_alpha=1.5,
                           alpha_pattern={"conv1": 6}),
        "text_encoder": LoraConfig(target_modules=TEXT_ENCODER, init_lora_weights=False, r=2, lora_alpha=3),
    },
}
FOLDERS = {
    "unet": LoraConfig(target_modules=UNET, init_lora_weights=False, r=3, lora_alpha=2,
                       alpha_pattern={"attn2.to_out.0": 5}, rank_pattern={"down_blocks.0.attentions.0.proj_in": 2}),
    "text_encoder": LoraConfig(target_modules=TEXT_ENCODER, init_lora_weights=False, r=4, lora_alpha=3,
                               use_rslora=True),
}


def networks():
    """The two networks; the files hold f16, and the reference merges the rounded weights in f32."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=2,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=12,
    )
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=20, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    ))
    return {"unet": unet.half().float(), "text_encoder": text_encoder.half().float()}


def with_loras(names):
    """Fresh networks with LoRAs in them; one name draws the same A and B every time."""
    found = networks()
    for name in names:
        for seed, (network, model) in enumerate(found.items(), start=10 * (1 + list(LORAS).index(name))):
            torch.manual_seed(seed)
            model.add_adapter(LORAS[name][network], adapter_name=name)
    return found


def state(model, name):
    return {key: value.detach() for key, value in get_peft_model_state_dict(model, adapter_name=name).items()}


def watched(network, model):
    modules = dict(model.named_modules())
    for name in WATCHED[network]:
        module = modules[name]
        yield f"{network}/{name}", getattr(module, "base_layer", module).weight.detach().clone()


def merged(scales, alpha_is_rank=False):
    """The watched weights of both networks after LoRAs have been merged, each with its scale."""
    out = {}
    for network, model in with_loras(scales).items():
        for module in model.modules():
            if isinstance(module, LoraLayer):
                for name, scale in scales.items():
                    if alpha_is_rank:
                        module.lora_alpha[name] = module.r[name]
                    module.set_scale(name, scale)
                module.merge(adapter_names=list(scales))
        out.update(watched(network, model))
    return out


def kohya_names(found):
    """The spelling of kohya's sd-scripts, with each module's alpha beside its matrices."""
    out = {}
    for network, prefix in [("unet", "lora_unet_"), ("text_encoder", "lora_te_text_model_")]:
        modules = dict(found[network].named_modules())
        for key, value in state(found[network], "kohya").items():
            module, end = key.split(".lora_")
            name = prefix + module.replace(".", "_")
            out[f"{name}.lora_{'down' if end[0] == 'A' else 'up'}.weight"] = value
            out[f"{name}.alpha"] = torch.tensor(float(modules[module].lora_alpha["kohya"]))
    return out


def save(tensors, name, dtype=torch.float32, metadata=None):
    tensors = {k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    save_file(tensors, GOLDEN / name, metadata=metadata)


def settle(path, keys):
    """Puts the header's metadata into the order of `keys`: the safetensors package writes it in another one each time."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = {key: header["__metadata__"][key] for key in keys}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def plain(config):
    """A LoraConfig as JSON, the same in every run."""
    return {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}


def make_folders(expected):
    """What peft's `save_pretrained` writes: no network in the names, alpha in adapter_config.json."""
    for seed, (network, config) in enumerate(FOLDERS.items(), start=50):
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            get_peft_model(networks()[network], config).save_pretrained(folder)
            save(load_file(Path(folder) / "adapter_model.safetensors"), f"peft_{network}.safetensors")
            text = json.loads((Path(folder) / "adapter_config.json").read_text())
            text["target_modules"].sort()
            (GOLDEN / f"peft_{network}.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
            for scale in [1.0, 0.6]:
                model = PeftModel.from_pretrained(networks()[network], folder)
                for module in model.modules():
                    if isinstance(module, LoraLayer):
                        module.set_scale("default", scale)
                for name, weight in watched(network, model.merge_and_unload()):
                    expected[f"peft_{network}*{scale}/{name}"] = weight


def check_kohya(expected, scale):
    """diffusers reads kohya's file of the UNet as we say that it is to be read."""
    pipe = StableDiffusionPipeline(
        vae=None, tokenizer=None, scheduler=None, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **networks(),
    )
    lora = {k: v for k, v in load_file(GOLDEN / "kohya.safetensors").items() if k.startswith("lora_unet_")}
    pipe.load_lora_weights(lora, adapter_name="kohya")
    pipe.set_adapters(["kohya"], [scale])
    pipe.fuse_lora(components=["unet"])
    for name, weight in watched("unet", pipe.unet):
        torch.testing.assert_close(weight, expected[f"kohya*{scale}/{name}"], rtol=1e-5, atol=1e-6)


def main():
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for network, model in networks().items():
        save(model.state_dict(), f"{network}.safetensors", torch.float16)

    # diffusers: both networks in one file, alpha in the header's metadata, old and new names.
    found = with_loras(["diffusers"])
    lora = {network: state(model, "diffusers") for network, model in found.items()}
    for name, convert in [("diffusers", dict), ("diffusers_old_names", convert_state_dict_to_diffusers)]:
        with tempfile.TemporaryDirectory() as folder:
            StableDiffusionPipeline.save_lora_weights(
                folder,
                **{f"{network}_lora_layers": convert(lora[network]) for network in lora},
                **{f"{network}_lora_adapter_metadata": plain(LORAS["diffusers"][network]) for network in lora},
            )
            written = Path(folder) / "pytorch_lora_weights.safetensors"
            (GOLDEN / f"{name}.safetensors").write_bytes(written.read_bytes())
        settle(GOLDEN / f"{name}.safetensors", ["format", "lora_adapter_metadata"])
    # kohya's names as diffusers converts them: `lora_te1_`, and an integer alpha, equal to the rank.
    both = {f"{network}.{key}": value for network in lora for key, value in lora[network].items()}
    save(convert_state_dict_to_kohya(both), "diffusers_kohya.safetensors")

    metadata = {"ss_network_alpha": "1.5", "ss_output_name": "tiny", "ss_network_dim": "4"}
    save(kohya_names(with_loras(["kohya"])), "kohya.safetensors", metadata=metadata)
    settle(GOLDEN / "kohya.safetensors", list(metadata))

    expected = {}
    make_folders(expected)
    for scales in [
        {"diffusers": 1.0}, {"diffusers": -0.4}, {"kohya": 1.0}, {"kohya": 0.7}, {"diffusers": 0.8, "kohya": 0.55},
    ]:
        case = "+".join(f"{name}*{scale}" for name, scale in scales.items())
        expected.update({f"{case}/{name}": weight for name, weight in merged(scales).items()})
    for name, weight in merged({"diffusers": 0.5}, alpha_is_rank=True).items():
        expected[f"diffusers_kohya*0.5/{name}"] = weight
    check_kohya(expected, 0.7)
    save(expected, "expected.safetensors")


if __name__ == "__main__":
    main()
