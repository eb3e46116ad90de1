"""Drawn shards to latents: `python encode.py AUTOENCODER DRAWN LATENTS`.

A shard of latents holds, for each canvas, `z` (scenes, channels, height / 8, width / 8) as f16 and unscaled, `known`, and for each
scene the people's `masks` and `regions` (people, height / 8, width / 8) as bytes: what shows them, and what of their box
no box in front covers. The first shard's deviation becomes the autoencoder's scaling factor where it has none yet.
"""
import json
import os
import sys

import torch
from diffusers import AutoencoderKL

from draw import eighth
from muon import HALF

UNSET = .18215  # what diffusers gives to an autoencoder of which nothing is known


def regions(boxes, width, height):
    """The weight of each box in each cell, later boxes in front."""
    covered, found = torch.zeros(height, width), []
    for left, top, right, bottom in reversed(boxes):
        x, y = torch.arange(width), torch.arange(height)
        across = (torch.minimum(x + 1, torch.tensor(right)) - torch.maximum(x, torch.tensor(left))).clamp(0, 1)
        down = (torch.minimum(y + 1, torch.tensor(bottom)) - torch.maximum(y, torch.tensor(top))).clamp(0, 1)
        it = down[:, None] * across[None] * (1 - covered)
        covered = (covered + it).clamp(0, 1)
        found.insert(0, torch.from_numpy(eighth(it.numpy())))
    return torch.stack(found) if found else torch.zeros(0, height // 8, width // 8, dtype=torch.uint8)


@torch.no_grad()
def main(folder, drawn, out):
    network = AutoencoderKL.from_pretrained(folder).float().eval().to(memory_format=torch.channels_last)
    os.makedirs(out, exist_ok=True)
    for name in sorted(it for it in os.listdir(drawn) if it.endswith(".pt")):
        if os.path.exists(f"{out}/{name}"):
            continue
        kept = {}
        for size, shard in torch.load(f"{drawn}/{name}").items():
            latents = []
            for images in shard["images"].split(16):
                pixels = images.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
                    found = network.encode(pixels).latent_dist.mean
                latents.append(found.half().contiguous())
            known = json.loads(shard["known"])
            kept[size] = {
                "z": torch.cat(latents), "known": shard["known"],
                "masks": [torch.stack(it) if it else torch.zeros(0, size[1] // 8, size[0] // 8, dtype=torch.uint8) for it in shard["masks"]],
                "regions": [regions(it["boxes"], *size) for it in known],
            }
        if not os.listdir(out) and network.config.scaling_factor == UNSET:
            spread = torch.cat([it["z"].flatten().float() for it in kept.values()]).std().item()
            network.register_to_config(scaling_factor=round(1 / spread, 5))
            network.save_config(folder)
        torch.save(kept, f"{out}/{name}.part")
        os.replace(f"{out}/{name}.part", f"{out}/{name}")
        print(name, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    main(*sys.argv[1:4])
