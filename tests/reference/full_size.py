"""How much memory and time full-size models take: random weights in the sizes of SD 1.5 and SDXL base, in f16.

    python tests/reference/full_size.py FOLDER [sd15] [sdxl] [--troupe target/release/troupe] [--steps 2]

FOLDER gets the models (2.1 and 6.9 GB), which are made once. Each is painted by Troupe in a process of its own, by a plain
prompt with guidance; the operating system says how much memory that took at most, mapped files included. The first run
reads the files from the disk; what is said of loading is from the second.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from generation import MARKS

POOL = 1 << 22
# A small vocabulary of ours: CLIP's isn't needed to fill 77 places.
TOKENIZER = Path(__file__).resolve().parents[1] / "golden" / "clip" / "tokenizer.json"
SCHEDULER = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085,
             "beta_end": 0.012, "num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "leading",
             "steps_offset": 1}
CLIP_L = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
              hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407)
CLIP_BIG_G = dict(vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
                  hidden_act="gelu", projection_dim=1280, bos_token_id=49406, eos_token_id=49407)
VAE = dict(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
           up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2)
SD15 = dict(sample_size=64, cross_attention_dim=768)
SDXL = dict(sample_size=128, cross_attention_dim=2048, block_out_channels=(320, 640, 1280), attention_head_dim=(5, 10, 20),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2, 10),
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816)
# Of each: the parts with class and configuration, and the canvas.
MODELS = {
    "sd15": ("StableDiffusionPipeline", {
        "unet": (UNet2DConditionModel, SD15), "vae": (AutoencoderKL, dict(VAE, sample_size=512)),
        "text_encoder": (CLIPTextModel, CLIP_L)}, "512x512"),
    "sdxl": ("StableDiffusionXLPipeline", {
        "unet": (UNet2DConditionModel, SDXL),
        "vae": (AutoencoderKL, dict(VAE, sample_size=1024, scaling_factor=0.13025, force_upcast=True)),
        "text_encoder": (CLIPTextModel, CLIP_L),
        "text_encoder_2": (CLIPTextModelWithProjection, CLIP_BIG_G)}, "1024x1024"),
}


def weights(module, pool):
    """A tensor for each name of a module without memory, of deviations that keep activations in bounds."""
    kept = {}
    for at, (name, it) in enumerate(module.state_dict().items()):
        if not it.is_floating_point():
            continue
        if it.ndim < 2:
            kept[name] = torch.full(it.shape, 1.0 if "norm" in name and name.endswith("weight") else 0.0, dtype=torch.float16)
            continue
        deviation = 0.7 / math.sqrt(it[0].numel())
        values = pool.roll(at * 1009).mul(deviation).half()
        kept[name] = values.repeat(-(-it.numel() // POOL))[:it.numel()].reshape(it.shape).clone()
    return kept


def make(folder, name):
    """Writes a model folder, unless it is whole."""
    if (folder / "model_index.json").exists():
        return
    kind, parts, _ = MODELS[name]
    pool = torch.randn(POOL, generator=torch.Generator().manual_seed(0))
    for part, (network, config) in parts.items():
        with torch.device("meta"):
            module = network(CLIPTextConfig(**config)) if part.startswith("text") else network(**config)
        (folder / part).mkdir(parents=True, exist_ok=True)
        file = "model" if part.startswith("text") else "diffusion_pytorch_model"
        save_file(weights(module, pool), folder / part / f"{file}.fp16.safetensors", {"format": "pt"})
        text = module.config.to_json_string() if part.startswith("text") else module.to_json_string()
        (folder / part / "config.json").write_text(text)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    index = {"_class_name": kind, "scheduler": ["diffusers", "EulerDiscreteScheduler"],
             **{part: ["transformers" if part.startswith("text") else "diffusers", network.__name__]
                for part, (network, _) in parts.items()}}
    for part in parts:
        if part.startswith("text"):
            name = part.replace("text_encoder", "tokenizer")
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), model_max_length=77, **MARKS)
            tokenizer.save_pretrained(folder / name)
            index[name] = ["transformers", "CLIPTokenizer"]
    (folder / "model_index.json").write_text(json.dumps(index))


def paint(troupe, folder, canvas, steps):
    """Seconds, and the largest memory in GB (10⁹ bytes), of one picture."""
    command = [troupe, "paint", "--prompt", "two nurses in a hospital", "--model", str(folder), "--size", canvas, "--steps",
               str(steps), "--seed", "1", "--output", str(folder / "picture.png")]
    begun = time.time()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.time() - begun, used.ru_maxrss * 1024 / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=["sd15", "sdxl"])
    parser.add_argument("--troupe", default="target/release/troupe")
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    for name in options.models:
        folder = options.folder / name
        make(folder, name)
        canvas = MODELS[name][2]
        paint(options.troupe, folder, "64x64", 1)
        load, _ = paint(options.troupe, folder, "64x64", 1)
        one, _ = paint(options.troupe, folder, canvas, 1)
        more, memory = paint(options.troupe, folder, canvas, options.steps)
        print(f"{name}: {load:.1f} s to load and paint 64x64; {canvas}: {memory:.2f} GB at most, {one:.1f} s in one step and "
              f"{more:.1f} s in {options.steps}", flush=True)


if __name__ == "__main__":
    main()
