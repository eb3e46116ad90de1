"""Trains a LoRA of a style: `python train_style.py WORK PAINTER OUT.safetensors MINUTES [--threads 1] [--rank 4]`.

WORK holds `latents/`, encoded from scenes of `restyle.py`. The painter learns to paint them from the words that it knows, so that
the style comes with the LoRA and not with a word; half of the pictures are painted by regions, as in `train_unet.py`.
"""
import torch
from diffusers import DDPMScheduler

from data import Scenes, seeded
from lora import ATTENTIONS, asked, steps
from muon import HALF
from paint import Painter
from train_unet import ISOLATED_FROM, times


def main():
    options = asked(rate=2e-3, rank=4)
    generator, r = torch.Generator().manual_seed(options.seed), seeded(options.seed)
    painter = Painter(options.painter)
    unet, conditioning, tokenizer = painter.unet, painter.conditioning, painter.tokenizer
    scenes = Scenes(f"{options.work}/latents", painter.vae.config.scaling_factor)
    alphas = DDPMScheduler.from_config(painter.schedule).alphas_cumprod

    for learn in steps(options, unet, ATTENTIONS):
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
        learn(error)


if __name__ == "__main__":
    main()
