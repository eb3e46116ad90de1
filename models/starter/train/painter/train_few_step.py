"""Trains a LoRA with which the painter needs eight passes: `python train_few_step.py WORK PAINTER OUT.safetensors MINUTES [--threads 1]`.

Progressive distillation (Salimans and Ho 2022, arXiv:2202.00512) with guidance in it (Meng et al. 2022, arXiv:2210.03142): from a
noised scene the painter takes DDIM steps with guidance and two passes each, and the LoRA learns to be where those end by one step
and one pass. It is for DDIM with trailing spacing, eight steps and guidance 1. WORK holds `latents/`; keys are those of diffusers.
"""
import json

import torch

from attention import grid
from data import BASE_RATIO, Scenes, seeded
from lora import ATTENTIONS, CONVOLUTIONS, asked, steps
from muon import HALF
from paint import Painter

STEPS, WITHIN, GUIDANCE = 8, 2, 5.
ISOLATED_UNTIL = STEPS // 2


def grids(weights, size, early, before):
    """The conditioning of a pass; `before` pictures go first that have no prompt, and are isolated as the others are."""
    found, (width, height) = {}, size
    for level in (1, 2, 4):
        smaller = [None if it is None else torch.nn.functional.avg_pool2d(it[None], level)[0] for it in weights]
        shape = torch.zeros(0, height // 8 // level, width // 8 // level)
        told = grid([None] * before + smaller, [False] * before + [early] * len(weights), [shape] * (before + len(weights)), None, BASE_RATIO)
        if told.hidden is not None and before:
            told.hidden[:before] = told.hidden[before:]
        found[shape.shape[1] * shape.shape[2]] = told
    return found


def moved(x, v, now, then):
    """A DDIM step: latents, the network's v, and the signal (alphas_cumprod) before and after it."""
    clean = now.sqrt() * x - (1 - now).sqrt() * v
    noise = (1 - now).sqrt() * x + now.sqrt() * v
    return then.sqrt() * clean + (1 - then).sqrt() * noise


def velocity(x, after, now, then):
    """The v by which one step leads from `x` to `after`."""
    kept = then.sqrt() * now.sqrt() + (1 - then).sqrt() * (1 - now).sqrt()
    turned = (1 - then).sqrt() * now.sqrt() - then.sqrt() * (1 - now).sqrt()
    return (after - kept * x) / turned


def main():
    options = asked(rate=1e-3, rank=24)
    generator, r = torch.Generator().manual_seed(options.seed), seeded(options.seed)
    painter = Painter(options.painter)
    unet, conditioning = painter.unet, painter.conditioning
    scenes = Scenes(f"{options.work}/latents", painter.vae.config.scaling_factor, slice(1, None))

    with open(f"{options.painter}/scheduler/scheduler_config.json") as it:
        schedule = json.load(it)
    betas = torch.linspace(schedule["beta_start"] ** .5, schedule["beta_end"] ** .5, 1000, dtype=torch.float64) ** 2
    signals = torch.cumprod(1 - betas, 0).float()
    # Trailing: the times of diffusers' DDIMScheduler, and those of the painter's steps between them.
    fine = [round(1000 - at * 1000 / (STEPS * WITHIN)) - 1 for at in range(STEPS * WITHIN)] + [None]
    signal = lambda time_step: signals[0 if time_step is None else time_step]
    empty = painter.encoded([""])

    def pass_(x, time_step, contexts):
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            return unet(x.contiguous(memory_format=torch.channels_last), time_step, contexts).sample.float()

    for learn in steps(options, unet, ATTENTIONS + CONVOLUTIONS):
        at = r.randrange(STEPS)
        early = at < ISOLATED_UNTIL
        batch = scenes.batch(r, lambda count: torch.full((count,), early))
        z, count, size = batch.z, len(batch.z), batch.size
        weights = [None if it is None or not len(it) else it for it in batch._regions]
        with torch.no_grad():
            contexts = painter.encoded(batch.prompts)
            conditioning.contexts = painter.encoded(batch.sub_prompts) if batch.sub_prompts else None
            conditioning.losses, conditioning.spans = [], None
            first = fine[at * WITHIN]
            noise = torch.randn(z.shape, generator=generator)
            # The first step begins with nothing but noise.
            x = noise if at == 0 else signal(first).sqrt() * z + (1 - signal(first)).sqrt() * noise
            unet.disable_adapters()
            conditioning.grids = grids(weights, size, early, count)
            after = x
            for now, then in zip(fine[at * WITHIN:], fine[at * WITHIN + 1:(at + 1) * WITHIN + 1]):
                plain, told = pass_(torch.cat([after, after]), now, torch.cat([empty.expand(count, -1, -1), contexts])).chunk(2)
                after = moved(after, plain + GUIDANCE * (told - plain), signal(now), signal(then))
            wanted = velocity(x, after, signal(first), signal(fine[(at + 1) * WITHIN]))
            unet.enable_adapters()
            conditioning.grids = grids(weights, size, early, 0)
        error = ((pass_(x, first, contexts) - wanted) ** 2).mean()
        learn(error)


if __name__ == "__main__":
    main()
