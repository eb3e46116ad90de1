"""Whole generations in PyTorch, plain and by regions; makes tests/golden/generation.

    python tests/reference/generation.py

`Reference` is a diffusers folder painted with diffusers' own networks and schedulers, in the loop of
StableDiffusionPipeline. Regions follow "Regions, exactly" of the design: attention outputs of the base
and of each person mixed by exact areas before `to_out`, people isolated in the first steps. LoRAs go
through diffusers' loader and peft. Other scripts of this folder import it for models of any size.

The golden is a tiny random pipeline and what it paints in five steps, in double precision.
"""

import json
import math
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from sampler import make_scheduler
from unet import RegionalProcessor, randomise

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "generation"
MARKS = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>")


def visible(scene, height, width):
    """Shape (people, height · width): the part of each cell that a box covers and no box in front of it does."""
    people = scene["subjects"]
    boxes = [person["box"] for person in people]

    def cuts(cells, edges):
        return sorted({cell / cells for cell in range(cells + 1)} | set(edges))

    columns = cuts(width, [box[side] for box in boxes for side in ("left", "right")])
    rows = cuts(height, [box[side] for box in boxes for side in ("top", "bottom")])
    from_front = sorted(range(len(people)), key=lambda i: (people[i]["depth"], i), reverse=True)
    parts = torch.zeros(len(people), height, width, dtype=torch.float64)
    for top, bottom in zip(rows, rows[1:]):
        for left, right in zip(columns, columns[1:]):
            y, x = (top + bottom) / 2, (left + right) / 2
            for i in from_front:
                if boxes[i]["left"] < x < boxes[i]["right"] and boxes[i]["top"] < y < boxes[i]["bottom"]:
                    parts[i, int(y * height), int(x * width)] += (bottom - top) * height * (right - left) * width
                    break
    return parts.flatten(1)


def region_map(scene, height, width, base_ratio, dtype):
    """The base's weights, the people's weights, and whose each token is; -1 is background."""
    parts = visible(scene, height, width)
    owner = torch.full((height * width,), -1)
    for i, part in enumerate(parts):
        owner[part > 0.5 + 1e-9] = i
    regions = (1 - base_ratio) * parts
    return (1 - regions.sum(0)).to(dtype), regions.to(dtype), owner


def isolated_steps(isolate, steps):
    # A share such as 0.3 is a little more than three tenths; of ten steps it still means three.
    return math.ceil(isolate * steps - 1e-9)


class Reference:
    """A diffusers folder; `dtype` is what it computes in."""

    def __init__(self, folder, dtype=torch.float32):
        folder, self.dtype = Path(folder), dtype
        load = lambda kind, part, **more: kind.from_pretrained(folder / part, **more).to(dtype).eval()
        self.unet = load(UNet2DConditionModel, "unet", torch_dtype=torch.float32)
        self.vae = load(AutoencoderKL, "vae", torch_dtype=torch.float32)
        self.text_encoder = load(CLIPTextModel, "text_encoder", dtype=torch.float32)
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler").config
        file = str(folder / "tokenizer" / "tokenizer.json")
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=77, **MARKS)

    def add_lora(self, path, scale=1.0):
        """Loads a LoRA of the UNet with diffusers' own loader, beside those that are there."""
        pipe = StableDiffusionPipeline(
            vae=None, tokenizer=None, scheduler=None, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False, unet=self.unet, text_encoder=self.text_encoder,
        )
        path = Path(path)
        names = [*getattr(self.unet, "peft_config", {}), f"lora{len(getattr(self.unet, 'peft_config', {}))}"]
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=names[-1])
        self.scales = [*getattr(self, "scales", []), scale]
        pipe.set_adapters(names, self.scales)

    def encode(self, prompt):
        """Shape (1, 77, width)."""
        tokens = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        return self.text_encoder(tokens.input_ids).last_hidden_state

    def regional(self, scene, latents, base_ratio):
        """One processor for the steps in which people don't see one another, and one for the others."""
        height, width = latents.shape[2:]
        maps = {}
        for _level in self.unet.config.block_out_channels:
            maps[height * width] = region_map(scene, height, width, base_ratio, self.dtype)
            height, width = (height + 1) // 2, (width + 1) // 2
        contexts = torch.cat([self.encode(person["sub_prompt"]) for person in scene["subjects"]])
        return {isolate: RegionalProcessor(maps, contexts, isolate) for isolate in (True, False)}

    @torch.no_grad()
    def generate(self, scene, noise, *, steps, guidance, negative="", sampler="ddim", schedule="uniform",
                 base_ratio=0.2, isolate=0.5, step_noise=None):
        """The latents that enter each step and the final ones, as a list.

        `scene` is a prompt, or a layout: a dict with `base_prompt` and `subjects`.
        """
        plain = isinstance(scene, str)
        scheduler = make_scheduler(sampler, schedule, self.scheduler, steps)
        latents = noise.to(self.dtype) * scheduler.init_noise_sigma
        prompt = scene if plain else scene["base_prompt"]
        context = torch.cat([self.encode(negative), self.encode(prompt)])
        processors = {} if plain else self.regional(scene, latents, base_ratio)
        draws = iter([] if step_noise is None else step_noise.to(self.dtype))
        scheduling_euler_ancestral_discrete.randn_tensor = lambda *_, **__: next(draws)[None]
        trace = [latents]
        for step, timestep in enumerate(scheduler.timesteps):
            self.unet.set_attn_processor(
                AttnProcessor2_0() if plain else processors[step < isolated_steps(isolate, steps)]
            )
            entering = scheduler.scale_model_input(latents, timestep)
            without, with_prompt = self.unet(torch.cat([entering, entering]), timestep, context).sample.chunk(2)
            output = without + guidance * (with_prompt - without)
            latents = scheduler.step(output, timestep, latents).prev_sample
            trace.append(latents)
        return trace

    @torch.no_grad()
    def decode(self, latents):
        """Bytes as numbers; shape (height, width, 3)."""
        picture = self.vae.decode(latents.to(self.dtype) / self.vae.config.scaling_factor).sample[0]
        return ((picture / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0)


def relative_error(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


# What the golden paints: the second person stands in front of the first, the third behind both.
SCENE = {
    "canvas": {"width": 96, "height": 64},
    "base_prompt": "an outdoor court, flat colours",
    "subjects": [
        {"sub_prompt": "a woman with dark brown skin", "depth": 1, "box": {"left": 0.03, "top": 0.1, "right": 0.47, "bottom": 0.97}},
        {"sub_prompt": "a man with pale skin and a red hat", "depth": 2, "box": {"left": 0.38, "top": 0.26, "right": 0.72, "bottom": 1.0}},
        {"sub_prompt": "a doctor with grey hair", "depth": 0, "box": {"left": 0.61, "top": 0.04, "right": 0.98, "bottom": 0.9}},
    ],
}
PROMPT = "two basketball players on an outdoor court"
SETTINGS = dict(steps=5, guidance=3.0, negative="a photograph", base_ratio=0.2, isolate=0.5)
LORA_SCALE = 0.8


def make_model(folder):
    generator = torch.Generator().manual_seed(8)
    shutil.copytree(GOLDEN.parent / "clip", folder / "tokenizer", ignore=lambda _, names: [
        name for name in names if not name.startswith("tokenizer")])
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"))),
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=77,
        hidden_act="quick_gelu",
    ))
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4, cross_attention_dim=16,
        attention_head_dim=2, down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    )
    vae = AutoencoderKL(
        block_out_channels=[4, 4, 8, 8], layers_per_block=1, norm_num_groups=2, latent_channels=4, scaling_factor=0.6,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )
    for part, model in (("text_encoder", text_encoder), ("unet", unet), ("vae", vae)):
        randomise(model, generator, small=False)
        if part == "vae":
            model.decoder.conv_out.weight.data *= 0.5  # Few pixels of the picture are cut off.
        model.half().save_pretrained(folder / part)
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing",
    ).save_pretrained(folder / "scheduler")
    parts = {"scheduler": ("diffusers", "DDIMScheduler"), "text_encoder": ("transformers", "CLIPTextModel"),
             "tokenizer": ("transformers", "CLIPTokenizer"), "unet": ("diffusers", "UNet2DConditionModel"),
             "vae": ("diffusers", "AutoencoderKL")}
    index = {"_class_name": "StableDiffusionPipeline", **{part: list(of) for part, of in parts.items()}}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def save_lora(unet, path, rank, alpha, size, seed):
    """A LoRA as peft draws it, saved by diffusers in peft's names. `size` multiplies B, which isn't zero."""
    torch.manual_seed(seed)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"]
    config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights=False, target_modules=targets)
    unet.add_adapter(config, adapter_name="new")
    state = get_peft_model_state_dict(unet, adapter_name="new")
    state = {k: (v * size if "lora_B" in k else v).detach().float().contiguous() for k, v in state.items()}
    metadata = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    StableDiffusionPipeline.save_lora_weights(
        path.parent, unet_lora_layers=state, weight_name=path.name, unet_lora_adapter_metadata=metadata,
    )
    # Of several entries in a header's metadata no order is promised; with one alone every run gives the same bytes.
    with safe_open(path, "pt") as file:
        alphas = file.metadata()["lora_adapter_metadata"]
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": alphas})


def main():
    torch.set_num_threads(1)
    shutil.rmtree(GOLDEN / "model", ignore_errors=True)
    model = GOLDEN / "model"
    model.mkdir(parents=True)
    make_model(model)
    save_lora(Reference(model).unet, GOLDEN / "lora.safetensors", rank=2, alpha=3, size=0.5, seed=8)
    described = {"scene": SCENE, "prompt": PROMPT, "settings": SETTINGS, "lora_scale": LORA_SCALE}
    (GOLDEN / "generation.json").write_text(json.dumps(described, indent=1) + "\n")

    noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(9))
    for part in visible(SCENE, 8, 12), visible(SCENE, 4, 6):
        assert (part - 0.5).abs().min() > 1e-3  # No owner is a matter of rounding.
    tensors, finals = {"noise": noise}, {}
    cases = {"plain": (PROMPT, False), "regional": (SCENE, False), "lora": (SCENE, True)}
    for name, (scene, lora) in cases.items():
        traces = []
        for dtype in (torch.float64, torch.float32):
            reference = Reference(model, dtype)
            if lora:
                reference.add_lora(GOLDEN / "lora.safetensors", LORA_SCALE)
            traces.append(reference.generate(scene, noise, **SETTINGS))
            if dtype == torch.float64:
                picture = reference.decode(traces[0][-1])
        trace = traces[0]
        finals[name] = trace[-1]
        # PyTorch's own rounding tells how well any f32 can do.
        print(f"{name}: f32 against f64 {relative_error(traces[1][-1], trace[-1]):.1e}, "
              f"deviation of the final latents {trace[-1].std():.2f}, "
              f"pixels cut off {((picture == 0) | (picture == 255)).double().mean():.1%}")
        tensors[f"{name}.entering"] = torch.cat(trace[:-1]).float()
        tensors[f"{name}.final"] = trace[-1].float()
        tensors[f"{name}.picture"] = picture.half()  # Whole numbers to 255 are exact.
    print(f"the LoRA moves the final latents by {relative_error(finals['lora'], finals['regional']):.1%}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, GOLDEN / "generation.safetensors")


if __name__ == "__main__":
    main()
