"""Paints many pictures at once with a painter's folder, plainly or by regions, for measuring; the formula is Troupe's.

Used by the scripts that measure; `troupe` paints the same pictures one at a time.
"""
import json
from dataclasses import dataclass, field

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

import tokenizer as tokens
from attention import Conditioning, Processor, grid
from data import BASE_RATIO
from encode import regions
from muon import HALF


@dataclass
class Job:
    """One picture; boxes in pixels, back to front."""
    prompt: str
    seed: int
    size: tuple
    sub_prompts: list = field(default_factory=list)
    boxes: list = field(default_factory=list)


class Painter:
    """A diffusers folder, in bfloat16 where that is faster."""

    def __init__(self, folder, half=HALF is torch.bfloat16):
        self.unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet").float().eval().to(memory_format=torch.channels_last)
        self.text = CLIPTextModel.from_pretrained(f"{folder}/text_encoder").float().eval()
        self.vae = AutoencoderKL.from_pretrained(f"{folder}/vae").float().eval().to(memory_format=torch.channels_last)
        self.tokenizer = tokens.load(f"{folder}/tokenizer")
        self.conditioning = Conditioning()
        self.unet.set_attn_processor(Processor(self.conditioning))
        self.half = half
        with open(f"{folder}/scheduler/scheduler_config.json") as it:
            self.schedule = json.load(it)

    def encoded(self, prompts):
        """(prompts, 77, width)."""
        ids = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
        return self.text(ids).last_hidden_state

    def latents(self, pictures):
        """Of pictures (height, width, 3) of one size, as bytes."""
        pixels = torch.stack([torch.from_numpy(it.copy()) for it in pictures]).permute(0, 3, 1, 2).float() / 127.5 - 1
        mean = self.vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        return mean * self.vae.config.scaling_factor

    def _grids(self, weights, size, early):
        """The conditioning of a step: in the half without the prompt nothing is regional but the isolation."""
        found, (width, height) = {}, size
        for level in (1, 2, 4):
            smaller = [None if it is None else torch.nn.functional.avg_pool2d(it[None], level)[0] for it in weights]
            shape = torch.zeros(0, height // 8 // level, width // 8 // level)
            told = grid([None] * len(weights) + smaller, [False] * len(weights) + [early] * len(weights), [shape] * 2 * len(weights), None, BASE_RATIO)
            if told.hidden is not None:
                told.hidden[:len(weights)] = told.hidden[len(weights):]
            found[shape.shape[1] * shape.shape[2]] = told
        return found

    @torch.no_grad()
    def paint(self, jobs, steps=20, guidance=5., isolate=.5, negative="", onto=None, skipped=0):
        """Pictures of jobs that all have one size; with pictures `onto`, those are noised and the first steps skipped."""
        width, height = jobs[0].size
        channels = self.unet.config.in_channels
        noise = [torch.randn(channels, height // 8, width // 8, generator=torch.Generator().manual_seed(it.seed)) for it in jobs]
        x = torch.stack(noise)
        weights = [regions(it.boxes, width, height).float() / 255 if it.boxes else None for it in jobs]
        contexts = torch.cat([self.encoded([negative]).expand(len(jobs), -1, -1), self.encoded([it.prompt for it in jobs])])
        subs = [words for it in jobs for words in it.sub_prompts]
        self.conditioning.contexts = self.encoded(subs) if subs else None
        scheduler = DPMSolverMultistepScheduler.from_config(self.schedule, algorithm_type="dpmsolver++", solver_order=2)
        scheduler.set_timesteps(steps)
        until = -(-isolate * steps // 1)
        if onto is not None:
            scheduler.set_begin_index(skipped)
            x = scheduler.add_noise(self.latents(onto), x, scheduler.timesteps[skipped].expand(len(jobs)))
        for at, time in list(enumerate(scheduler.timesteps))[skipped:]:
            self.conditioning.grids = self._grids(weights, jobs[0].size, at < until)
            pair = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, self.half):
                plain, told = self.unet(pair, time, contexts).sample.float().chunk(2)
            x = scheduler.step(plain + guidance * (told - plain), time, x).prev_sample
        pictures = self.vae.decode((x / self.vae.config.scaling_factor).contiguous(memory_format=torch.channels_last)).sample
        pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(it) for it in pixels]
