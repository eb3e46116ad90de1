"""Makes tests/golden/single-file: the same random models as diffusers folders and as checkpoints in one file.

    python tests/reference/single_file.py

The single file is written by the names of the original code, below. That they are right, diffusers
says: its own functions that convert such files must give back every tensor of the folder, bit for bit,
for the tiny models, and every name and shape for the real ones, which take no memory here.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as theirs
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from unet import randomise

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "single-file"
CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"


def unet_config(channels, attends, **more):
    down = [CROSS if it else PLAIN for it in attends]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return dict(block_out_channels=channels, down_block_types=down, up_block_types=up, **more)


def vae_config(channels, **more):
    count = len(channels)
    return dict(block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * count,
                up_block_types=["UpDecoderBlock2D"] * count, latent_channels=4, **more)


def text_config(width, inner, layers, act, vocabulary, **more):
    return dict(hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=max(1, width // 64),
                hidden_act=act, vocab_size=vocabulary, eos_token_id=2, **more)


SIZES = dict(addition_embed_type="text_time", use_linear_projection=True)
# As published: `config.json` of stable-diffusion-v1-5, -2-1 and -xl-base-1.0.
REAL = {
    "sd1": dict(unet=unet_config([320, 640, 1280, 1280], [1, 1, 1, 0], layers_per_block=2, cross_attention_dim=768, attention_head_dim=8),
                vae=vae_config([128, 256, 512, 512], layers_per_block=2),
                text=[text_config(768, 3072, 12, "quick_gelu", 49408)]),
    "sd2": dict(unet=unet_config([320, 640, 1280, 1280], [1, 1, 1, 0], layers_per_block=2, cross_attention_dim=1024,
                                 attention_head_dim=[5, 10, 20, 20], use_linear_projection=True),
                vae=vae_config([128, 256, 512, 512], layers_per_block=2),
                text=[text_config(1024, 4096, 23, "gelu", 49408)]),
    "sdxl": dict(unet=unet_config([320, 640, 1280], [0, 1, 1], layers_per_block=2, cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
                                  transformer_layers_per_block=[1, 2, 10], addition_time_embed_dim=256,
                                  projection_class_embeddings_input_dim=2816, **SIZES),
                 vae=vae_config([128, 256, 512, 512], layers_per_block=2, scaling_factor=0.13025),
                 text=[text_config(768, 3072, 12, "quick_gelu", 49408), text_config(1280, 5120, 32, "gelu", 49408, projection_dim=1280)]),
}
# The same families in small: eight heads in SD 1.x, else as many as there are 64 channels.
TINY = {
    "sd1": dict(unet=unet_config([8, 16], [1, 0], layers_per_block=1, cross_attention_dim=8, attention_head_dim=8, norm_num_groups=8),
                vae=vae_config([4, 4, 8, 8], layers_per_block=1, norm_num_groups=4),
                text=[text_config(8, 16, 2, "quick_gelu", 40)]),
    "sd2": dict(unet=unet_config([8, 16], [1, 0], layers_per_block=1, cross_attention_dim=12, attention_head_dim=[1, 1],
                                 use_linear_projection=True, norm_num_groups=8, in_channels=9),
                vae=vae_config([4, 8], layers_per_block=2, norm_num_groups=4),
                text=[text_config(12, 20, 2, "gelu", 40)]),
    "sdxl": dict(unet=unet_config([4, 8, 8], [0, 1, 1], layers_per_block=2, cross_attention_dim=20, attention_head_dim=[1, 1, 1],
                                  transformer_layers_per_block=[1, 2, 3], addition_time_embed_dim=6,
                                  projection_class_embeddings_input_dim=48, norm_num_groups=4, **SIZES),
                 vae=vae_config([4, 8], layers_per_block=1, norm_num_groups=4, scaling_factor=0.13025),
                 text=[text_config(8, 16, 2, "quick_gelu", 40), text_config(12, 20, 2, "gelu", 40, projection_dim=12)]),
}
TEXT_PREFIX = {"sd1": ["cond_stage_model.transformer.text_model."], "sd2": ["cond_stage_model.model."],
               "sdxl": ["conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."]}


def replaced(key, pairs):
    for new, old in pairs:
        key = key.replace(new, old)
    return key


RESIDUAL = [("norm1.", "in_layers.0."), ("conv1.", "in_layers.2."), ("norm2.", "out_layers.0."), ("conv2.", "out_layers.3."),
            ("time_emb_proj.", "emb_layers.1."), ("conv_shortcut.", "skip_connection.")]


def unet_name(key, config):
    """diffusers' name of a tensor of the UNet in the original code."""
    parts = key.split(".")
    whole = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
             "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    for new, old in whole.items():
        if key.startswith(new + "."):
            return old + key[len(new):]
    if parts[0] == "mid_block":
        rest = ".".join(parts[3:])
        if parts[1] == "attentions":
            return f"middle_block.1.{rest}"
        return f"middle_block.{2 * int(parts[2])}.{replaced(rest, RESIDUAL)}"
    block, kind, layer, rest = int(parts[1]), parts[2], int(parts[3]), ".".join(parts[4:])
    each = config["layers_per_block"] + 1
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * each}.0.op.{rest.removeprefix('conv.')}"
        place = 1 + block * each + layer
        return f"input_blocks.{place}.{'1.' + rest if kind == 'attentions' else '0.' + replaced(rest, RESIDUAL)}"
    if kind == "upsamplers":
        attends = "Attn" in config["up_block_types"][block]
        return f"output_blocks.{(block + 1) * each - 1}.{2 if attends else 1}.{rest}"
    return f"output_blocks.{block * each + layer}.{'1.' + rest if kind == 'attentions' else '0.' + replaced(rest, RESIDUAL)}"


def vae_name(key, levels):
    key = key.replace("conv_norm_out", "norm_out").replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    key = replaced(key, [("mid_block.attentions.0.group_norm", "mid.attn_1.norm"), ("mid_block.attentions.0.to_q", "mid.attn_1.q"),
                         ("mid_block.attentions.0.to_k", "mid.attn_1.k"), ("mid_block.attentions.0.to_v", "mid.attn_1.v"),
                         ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"), ("conv_shortcut", "nin_shortcut")])
    parts = key.split(".")
    if parts[1] in ("down_blocks", "up_blocks"):
        level = int(parts[2]) if parts[1] == "down_blocks" else levels - 1 - int(parts[2])
        rest = ".".join(parts[3:]).replace("resnets", "block").replace("samplers.0", "sample")
        return f"{parts[0]}.{parts[1].split('_')[0]}.{level}.{rest}"
    return key


def vae_tensor(name, tensor):
    matrix = ".attn_1." in name and name.endswith("weight") and tensor.dim() == 2
    return tensor[:, :, None, None].contiguous() if matrix else tensor


def open_clip_tensors(state, add_last):
    """OpenCLIP's tensors of transformers' ones; `add_last` is for the layer that SD 2.x leaves out."""
    bare = {key.removeprefix("text_model."): value for key, value in state.items()}
    layers = 1 + max(int(key.split(".")[2]) for key in bare if key.startswith("encoder.layers."))
    tensors = {"token_embedding.weight": bare["embeddings.token_embedding.weight"],
               "positional_embedding": bare["embeddings.position_embedding.weight"],
               "ln_final.weight": bare["final_layer_norm.weight"], "ln_final.bias": bare["final_layer_norm.bias"]}
    if "text_projection.weight" in bare:
        tensors["text_projection"] = bare["text_projection.weight"].T.contiguous()
    for layer in range(layers + add_last):
        old, new = f"transformer.resblocks.{layer}", f"encoder.layers.{min(layer, layers - 1)}"
        for end in ("weight", "bias"):
            tensors[f"{old}.attn.in_proj_{end}"] = torch.cat([bare[f"{new}.self_attn.{it}_proj.{end}"] for it in "qkv"])
            for a, b in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
                         ("attn.out_proj", "self_attn.out_proj")):
                tensors[f"{old}.{a}.{end}"] = bare[f"{new}.{b}.{end}"]
    return tensors


def convert(family, configs, models):
    """The tensors of one file, checked by diffusers' conversion."""
    unet, vae, texts = models
    single = {}
    for key, value in unet.state_dict().items():
        single["model.diffusion_model." + unet_name(key, configs["unet"])] = value
    for key, value in vae.state_dict().items():
        name = vae_name(key, len(configs["vae"]["block_out_channels"]))
        single["first_stage_model." + name] = vae_tensor(name, value)
    for prefix, text in zip(TEXT_PREFIX[family], texts):
        if "transformer" in prefix:
            state = {key.removeprefix("text_model."): value for key, value in text.state_dict().items()}
            single |= {prefix + key: value for key, value in state.items()}
        else:
            single |= {prefix + key: value for key, value in open_clip_tensors(text.state_dict(), family == "sd2").items()}

    def check(converted, model):
        own = model.state_dict()
        strip = lambda tensors: {key.removeprefix("text_model."): value for key, value in tensors.items()}
        converted, own = strip(converted), strip(own)
        assert own.keys() <= converted.keys(), sorted(own.keys() - converted.keys())[:5]
        for key, value in own.items():
            assert converted[key].shape == value.shape, key
            assert value.is_meta or torch.equal(converted[key], value), key

    check(theirs.convert_ldm_unet_checkpoint(dict(single), dict(unet.config)), unet)
    check(theirs.convert_ldm_vae_checkpoint(dict(single), dict(vae.config)), vae)
    for prefix, text in zip(TEXT_PREFIX[family], texts):
        if "transformer" in prefix:
            check(theirs.convert_ldm_clip_checkpoint(dict(single), prefix.removesuffix("text_model.")), text)
        else:
            check(theirs.convert_open_clip_checkpoint(text, dict(single), prefix=prefix), text)
    return single


def build(configs):
    texts = []
    for index, config in enumerate(configs["text"]):
        kind = CLIPTextModelWithProjection if index == 1 else CLIPTextModel
        texts.append(kind(CLIPTextConfig(**config)).eval())
    return UNet2DConditionModel(**configs["unet"]).eval(), AutoencoderKL(**configs["vae"]).eval(), texts


def names(family):
    """Each name of the real file and where its tensor goes."""
    with torch.device("meta"):
        models = build(REAL[family])
    unet, vae, texts = models
    convert(family, REAL[family], models)
    lines = []
    for key in unet.state_dict():
        lines.append(f"unet {unet_name(key, REAL[family]['unet'])} {key}")
    for key in vae.state_dict():
        lines.append(f"vae {vae_name(key, 4)} {key}")
    if family == "sdxl":
        lines.extend(f"open_clip {name}" for name in open_clip_tensors(texts[1].state_dict(), 0))
    (GOLDEN / f"{family}.txt").write_text("\n".join(lines) + "\n")


def main():
    torch.set_num_threads(1)
    for family, configs in TINY.items():
        folder = GOLDEN / family
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        torch.manual_seed(8)
        generator = torch.Generator().manual_seed(8)
        models = build(configs)
        unet, vae, texts = models
        for model in (unet, vae, *texts):
            randomise(model, generator, small=False)
            model.half()
        single = convert(family, configs, models)
        # What such files also hold, and nobody needs.
        single["first_stage_model.loss.logvar"] = torch.zeros(())
        single[TEXT_PREFIX[family][-1] + "logit_scale"] = torch.ones(())
        save_file({key: value.contiguous().clone() for key, value in single.items()}, folder / "single.safetensors")
        parts = [("unet", unet), ("vae", vae)] + [(f"text_encoder{'_2' if index else ''}", text) for index, text in enumerate(texts)]
        for name, model in parts:
            # Variants, as diffusers names them.
            model.save_pretrained(folder / name, variant="fp16")
        names(family)


if __name__ == "__main__":
    main()
