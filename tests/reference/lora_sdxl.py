"""Makes tests/golden/lora-sdxl: one LoRA for SDXL in the spellings of kohya, and the merged weights.

    python tests/reference/lora_sdxl.py

The network is the tiny SDXL of tests/golden/single-file. The LoRA is made by peft with random A and B,
and saved under both of kohya's families of names: the paths of diffusers, and those of the original
code, which sd-scripts have for SDXL. What is expected is what diffusers' `load_lora_weights`,
`set_adapters` and `fuse_lora` make of the UNet, equal for both families, and what peft makes of the
text encoders, whose LoRAs diffusers' loader can't read with this transformers.
"""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from lora import state
from single_file import unet_name

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "lora-sdxl"
MODEL = Path(__file__).resolve().parents[1] / "golden" / "single-file" / "sdxl"
# Every kind of place that the names of the original code have.
ATTENTIONS = ["to_q", "to_k", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
OTHERS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out",
          "time_embedding.linear_1", "time_embedding.linear_2", "add_embedding.linear_1", "add_embedding.linear_2"]
TEXT = ["q_proj", "out_proj", "fc2"]
CONFIGS = {
    "unet": LoraConfig(target_modules=ATTENTIONS + OTHERS, init_lora_weights=False, r=2, lora_alpha=1.5,
                       alpha_pattern={"conv1": 3, "ff.net.2": 5}),
    "text_encoder": LoraConfig(target_modules=TEXT, init_lora_weights=False, r=2, lora_alpha=3),
    "text_encoder_2": LoraConfig(target_modules=TEXT + ["text_projection"], init_lora_weights=False, r=3, lora_alpha=1),
}
WATCHED = {
    "unet": [
        "conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2", "add_embedding.linear_1",
        "add_embedding.linear_2", "down_blocks.0.resnets.1.conv1", "down_blocks.0.downsamplers.0.conv",
        "down_blocks.1.resnets.0.conv_shortcut", "down_blocks.1.attentions.0.proj_in",
        "down_blocks.1.attentions.1.transformer_blocks.1.attn2.to_k",
        "down_blocks.2.attentions.1.transformer_blocks.2.ff.net.2", "mid_block.resnets.0.time_emb_proj",
        "mid_block.resnets.1.conv2", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
        "up_blocks.0.attentions.0.transformer_blocks.1.attn1.to_out.0",
        "up_blocks.0.attentions.2.transformer_blocks.0.ff.net.0.proj", "up_blocks.0.upsamplers.0.conv",
        "up_blocks.1.attentions.2.proj_out", "up_blocks.1.upsamplers.0.conv", "up_blocks.2.resnets.2.conv1",
    ],
    "text_encoder": ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc2"],
    "text_encoder_2": ["encoder.layers.1.self_attn.out_proj", "encoder.layers.0.mlp.fc2", "text_projection"],
}
# What diffusers' loader doesn't know under the paths of diffusers.
UNKNOWN = ["add_embedding.linear_1", "add_embedding.linear_2"]
# As `set_adapters` takes them; it knows attentions only.
BLOCKS = {"down": {"block_1": [0.3, 1.2], "block_2": 0.5}, "mid": 0.25, "up": {"block_0": [0.1, -0.6, 2.0]}}
SCALE = 0.7


def networks():
    """Files hold f16; the reference merges the rounded weights in f32."""
    kinds = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    return {name: kind.from_pretrained(MODEL / name, variant="fp16").float().eval() for name, kind in kinds.items()}


def with_loras():
    found = networks()
    for seed, (name, model) in enumerate(found.items(), start=100):
        torch.manual_seed(seed)
        inject_adapter_in_model(CONFIGS[name], model, adapter_name="kohya")
    return found


def kohya(found, of_unet):
    """kohya's spelling; `of_unet` says the path of a module of the UNet."""
    tensors = {}
    for network, prefix in [("unet", "lora_unet_"), ("text_encoder", "lora_te1_"), ("text_encoder_2", "lora_te2_")]:
        modules = dict(found[network].named_modules())
        for key, value in state(found[network], "kohya").items():
            module, end = key.split(".lora_")
            path = of_unet(module) if network == "unet" else module
            if network != "unet" and module.startswith("encoder."):
                path = f"text_model.{module}"
            name = prefix + path.replace(".", "_")
            tensors[f"{name}.lora_{'down' if end[0] == 'A' else 'up'}.weight"] = value.contiguous()
            tensors[f"{name}.alpha"] = torch.tensor(float(modules[module].lora_alpha["kohya"]))
    return tensors


def original(config):
    """diffusers' path of a module in the original code."""
    return lambda module: unet_name(module + ".weight", config).removesuffix(".weight")


def weights(network, model):
    modules = dict(model.named_modules())
    for name in WATCHED[network]:
        module = modules.get(name) or modules[f"text_model.{name}"]
        yield name, getattr(module, "base_layer", module).weight.detach().clone()


def fused(tensors, scale):
    """The UNet after diffusers' loader has read kohya's names, and fused what it read."""
    pipe = StableDiffusionXLPipeline(vae=None, tokenizer=None, tokenizer_2=None, scheduler=None, **networks())
    pipe.load_lora_weights({key: value.clone() for key, value in tensors.items()}, adapter_name="kohya")
    pipe.set_adapters(["kohya"], [scale])
    pipe.fuse_lora(components=["unet"])
    return dict(weights("unet", pipe.unet))


def main():
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    found = with_loras()
    files = {"kohya": kohya(found, lambda module: module), "kohya_original": kohya(found, original(found["unet"].config))}
    expected = {}
    for network, model in found.items():
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.set_scale("kohya", SCALE)
                module.merge(adapter_names=["kohya"])
        expected.update({f"{SCALE}/{network}/{module}": weight for module, weight in weights(network, model)})
    for network, model in networks().items():
        for module, weight in weights(network, model):
            assert not torch.equal(weight, expected[f"{SCALE}/{network}/{module}"]), f"{module} is not changed"
    for name, tensors in files.items():
        save_file(tensors, GOLDEN / f"{name}.safetensors")
        of_unet = {key: value for key, value in load_file(GOLDEN / f"{name}.safetensors").items() if key.startswith("lora_unet_")}
        for module, weight in fused(of_unet, SCALE).items():
            if name != "kohya" or module not in UNKNOWN:
                assert torch.equal(weight, expected[f"{SCALE}/unet/{module}"]), module
        attentions = {key: value for key, value in of_unet.items() if "transformer_blocks" in key or "_proj_in." in key or "_proj_out." in key}
        for module, weight in fused(attentions, {"unet": BLOCKS}).items():
            if "attentions" in module:
                assert torch.equal(weight, expected.setdefault(f"blocks/unet/{module}", weight)), module
    save_file({key: value.contiguous() for key, value in expected.items()}, GOLDEN / "expected.safetensors")


if __name__ == "__main__":
    main()
