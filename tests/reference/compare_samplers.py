"""Paints from seeds of PyTorch with the program and with diffusers, and says how far the pictures are apart.

    python tests/reference/compare_samplers.py [--program FILE] [--steps N]... [--seed S] [--markdown]

The program paints with `--rng torch-cpu`, diffusers' StableDiffusionPipeline with `torch.Generator("cpu")`: what a
user of both does, for every sampler and schedule that diffusers has, on the starter painter. Wanted: every byte
within one of the other's. Exits 1 where a picture is further off.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import diffusers
from sampler import CLASSES

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "models" / "starter" / "painter"
PROMPT = "a chef with dark skin, in a kitchen"
SIDE = 192
GUIDANCE = 5.0
GUIDANCE_RESCALE = 0.3
METHODS = [
    ("ddim", "uniform"), ("ddim_eta", "uniform"), ("ddpm", "uniform"), ("lcm", "uniform"), ("euler_a", "uniform"),
    *((sampler, schedule) for sampler in ["euler", "heun", "dpm++2m", "dpm++2m_sde", "unipc"]
      for schedule in ["uniform", "karras", "exponential"]),
]


def ours(program, sampler, schedule, steps, seed, path):
    eta = ["--eta", "0.6"] if sampler == "ddim_eta" else []
    subprocess.run([
        program.resolve(), "--quiet", "paint", "--prompt", PROMPT, "--negative", "", "--size", f"{SIDE}x{SIDE}", *eta,
        "--sampler", f"{sampler.removesuffix('_eta')} {schedule}", "--steps", str(steps), "--seed", str(seed),
        "--rng", "torch-cpu", "--guidance", str(GUIDANCE), "--guidance-rescale", str(GUIDANCE_RESCALE), "-o", path,
    ], check=True, cwd=Path(path).parent, stdout=subprocess.DEVNULL)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=float)


def theirs(pipeline, config, sampler, schedule, steps, seed):
    switches = {"use_karras_sigmas": True} if schedule == "karras" else {}
    switches |= {"use_exponential_sigmas": True} if schedule == "exponential" else {}
    switches |= {"algorithm_type": "sde-dpmsolver++"} if sampler == "dpm++2m_sde" else {}
    pipeline.scheduler = getattr(diffusers, CLASSES[sampler]).from_config(config, **switches)
    picture = pipeline(
        PROMPT, negative_prompt="", height=SIDE, width=SIDE, num_inference_steps=steps, guidance_scale=GUIDANCE,
        guidance_rescale=GUIDANCE_RESCALE, eta=0.6 if sampler == "ddim_eta" else 0.0,
        generator=torch.Generator("cpu").manual_seed(seed), output_type="np",
    )
    return np.round(picture.images[0] * 255)


def main():
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "troupe")
    arguments.add_argument("--steps", type=int, action="append")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--markdown", action="store_true")
    arguments = arguments.parse_args()

    pipeline = StableDiffusionPipeline.from_pretrained(STARTER, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    config = dict(pipeline.scheduler.config)
    row = "| {:12} | {:12} | {:>5} | {:>9} | {:>10} |" if arguments.markdown else "{:12} {:12} {:>5} {:>9} {:>10}"
    print(row.format("sampler", "schedule", "steps", "most", "mean"))
    if arguments.markdown:
        print("|---|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for sampler, schedule in METHODS:
            for steps in arguments.steps or [8]:
                picture = ours(arguments.program, sampler, schedule, steps, arguments.seed, f"{folder}/image.png")
                difference = np.abs(picture - theirs(pipeline, config, sampler, schedule, steps, arguments.seed))
                worst = max(worst, difference.max())
                print(row.format(sampler, schedule, steps, f"{difference.max():.0f}", f"{difference.mean():.1e}"), flush=True)
    print(f"worst byte {worst:.0f}, wanted at most 1")
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
