"""Trains a LoRA of a style: `python train_style.py WORK PAINTER OUT.safetensors MINUTES [--threads 1] [--rank 4]`.

WORK holds `latents/`, encoded from scenes of `restyle.py`. The painter learns to paint them from the words that it knows, so that
the style comes with the LoRA and not with a word; half of the pictures are painted by regions, as in `train_unet.py`.
"""
import argparse
import math
import time

import torch
from diffusers import DDPMScheduler

from data import Scenes, seeded
from lora import ATTENTIONS, attached, saved
from muon import HALF
from paint import Painter
from train_unet import ISOLATED_FROM, times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("painter")
    parser.add_argument("out")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator, r = torch.Generator().manual_seed(options.seed), seeded(options.seed)
    painter = Painter(options.painter)
    unet, conditioning, tokenizer = painter.unet, painter.conditioning, painter.tokenizer
    learned = attached(unet, options.rank, ATTENTIONS)
    optimiser = torch.optim.AdamW(learned, options.rate, betas=(.9, .99), weight_decay=0)
    scenes = Scenes(f"{options.work}/latents", painter.vae.config.scaling_factor)
    alphas = DDPMScheduler.from_config(painter.schedule).alphas_cumprod

    begun, steps, errors = time.time(), 0, None
    while (part := (time.time() - begun) / 60 / options.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1, (steps + 1) / 20) * max(.02, .5 + .5 * math.cos(math.pi * part))
        drawn = []

        def early(count):
            drawn.append(times(count, alphas, generator))
            return drawn[0] >= ISOLATED_FROM

        batch = scenes.batch(r, early)
        time_steps, z = drawn[0], batch.z
        encoded = tokenizer(batch.prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt", return_offsets_mapping=True)
        batch.conditioning(encoded["offset_mapping"].tolist(), conditioning)
        with torch.no_grad():
            contexts = painter.encoded(batch.prompts)
            conditioning.contexts = painter.encoded(batch.sub_prompts) if batch.sub_prompts else None
        noise = torch.randn(z.shape, generator=generator)
        signal = alphas[time_steps].view(-1, 1, 1, 1)
        noised = (signal.sqrt() * z + (1 - signal).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            found = unet(noised, time_steps, contexts).sample.float()
        error = ((found - (signal.sqrt() * noise - (1 - signal).sqrt() * z)) ** 2).mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        steps += 1
        errors = error.item() if errors is None else errors * .97 + .03 * error.item()
        if steps % 20 == 0:
            print(f"{steps} steps, {part * options.minutes:.1f} min, error {errors:.4f}", flush=True)
    saved(unet, options.out)


if __name__ == "__main__":
    main()
