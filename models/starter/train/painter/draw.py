"""Draws scenes into a folder, a shard of a thousand seeds at a time: `python draw.py FOLDER FIRST LAST [WIDTH HEIGHT [ROLE,ROLE…]]`.

A shard holds, for each canvas, the pictures `(scenes, height, width, 3)` as bytes, and in a JSON list what is known of
each; masks are kept at an eighth of the size, as the latents have it. A shard that is there is left alone.
"""
import json
import os
import sys

import numpy as np
import torch

import people
from scenes import scene

SHARD = 1000


def eighth(mask):
    """The mean over squares of eight by eight pixels, as bytes."""
    height, width = mask.shape
    return (mask.reshape(height // 8, 8, width // 8, 8).mean((1, 3)) * 255).round().astype("uint8")


def known(it):
    return {
        "caption": it.caption, "spans": it.spans, "base": it.base, "subs": it.sub_prompts, "setting": it.setting,
        "boxes": [[round(v, 2) for v in box] for box in it.boxes],
        "people": [vars(who) for who in it.people],
    }


def shard(folder, number, size=None, roles=people.ROLES):
    """Draws one shard, of all canvases or one, and of all roles or some."""
    path = f"{folder}/{number:04}.pt"
    if os.path.exists(path):
        return
    canvases = {}
    for seed in range(number * SHARD, (number + 1) * SHARD):
        it = scene(seed, size, roles)
        kept = canvases.setdefault(it.image.size, {"images": [], "known": [], "masks": []})
        kept["images"].append(torch.from_numpy(np.asarray(it.image).copy()))
        kept["known"].append(known(it))
        kept["masks"].append([torch.from_numpy(eighth(mask)) for mask in it.masks])
    for kept in canvases.values():
        kept["images"] = torch.stack(kept["images"])
        kept["known"] = json.dumps(kept["known"])
    torch.save(canvases, path + ".part")
    os.replace(path + ".part", path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.makedirs(sys.argv[1], exist_ok=True)
    size, roles = tuple(int(it) for it in sys.argv[4:6]), sys.argv[6].split(",") if 6 < len(sys.argv) else people.ROLES
    for at in range(int(sys.argv[2]), int(sys.argv[3])):
        shard(sys.argv[1], at, size, roles)
        print("shard", at, flush=True)
