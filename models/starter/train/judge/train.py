"""Trains a judge: `python train.py first|second FOLDER STEPS [--from JUDGES] [--pace P] CROPS...`.

Starts again from the folder's checkpoint; without one, from nothing, or from the judge that `export.py` wrote into the folder JUDGES.
"""
import argparse
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from crops import HIDDEN, WHO
from batches import Crops, degraded, moved
from muon import HALF, Muon
from networks import JUDGES

# Of Muon, for the convolutions and matrices inside; and of AdamW for the rest.
BATCH, RATE, REST, WARM = 128, .02, 3e-3, 100
OUTER = ("down.0", "convs.0", "heads", "pool")
HEADS = {name: len(values) + (name in HIDDEN) for name, values in WHO.items()}


def loss(judged, labels):
    """The mean over the attributes of their cross-entropies; labels of -1 don't count."""
    total = 0
    for at, name in enumerate(WHO):
        known = labels[:, at] >= 0
        total = total + F.cross_entropy(judged[name].float()[known], labels[known, at].long())
    return total / len(WHO)


def train(name, folder, steps, paths, shipped=None, pace=1.):
    network, seed = JUDGES[name]
    torch.manual_seed(seed)
    judge = network(HEADS).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    crops = Crops(paths)
    inner = {name for name, it in judge.named_parameters() if 2 <= it.ndim and not name.startswith(OUTER)}
    chosen = lambda inside: [it for name, it in judge.named_parameters() if (name in inner) == inside]
    optimizers = {RATE: Muon(chosen(True), RATE), REST: torch.optim.AdamW(chosen(False), REST, weight_decay=.01)}
    path, start, left, mean = f"{folder}/{name}.pt", 0, [], None
    if shipped and not os.path.exists(path):
        some = torch.randperm(len(crops), generator=generator)[:8 * BATCH]
        judge.load_exported({key: it.float() for key, it in load_file(f"{shipped}/{name}.safetensors").items()}, crops.inputs(some))
    if os.path.exists(path):
        kept = torch.load(path)
        judge.load_state_dict(kept["judge"])
        for it, state in zip(optimizers.values(), kept["optimizers"]):
            it.load_state_dict(state)
        generator.set_state(kept["generator"])
        start, left = kept["step"], kept["left"]
    print(name, sum(it.numel() for it in judge.parameters()), "parameters,", len(crops), "crops", flush=True)
    for step in range(start, steps):
        if len(left) < BATCH:
            left = torch.randperm(len(crops), generator=generator).tolist()
        chosen, left = torch.tensor(left[:BATCH]), left[BATCH:]
        x = degraded(moved(crops.inputs(chosen), generator), generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            judged = judge(x)
        value = loss(judged, crops.labels[chosen])
        judge.zero_grad()
        value.backward()
        for rate, it in optimizers.items():
            for group in it.param_groups:
                group["lr"] = pace * rate * min(1, (step + 1) / WARM) * max(.005, 1 - step / steps)
            it.step()
        mean = value.item() if mean is None else .98 * mean + .02 * value.item()
        if step % 50 == 49:
            print(step + 1, round(mean, 4), flush=True)
        if step % 200 == 199 or step + 1 == steps:
            kept = {"judge": judge.state_dict(), "optimizers": [it.state_dict() for it in optimizers.values()],
                    "generator": generator.get_state(), "step": step + 1, "left": left}
            torch.save(kept, path + ".part")
            os.replace(path + ".part", path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=JUDGES)
    parser.add_argument("folder")
    parser.add_argument("steps", type=int)
    parser.add_argument("crops", nargs="+")
    parser.add_argument("--from", dest="shipped")
    parser.add_argument("--pace", type=float, default=1., help="what the rates are multiplied by")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    train(options.name, options.folder, options.steps, options.crops, options.shipped, options.pace)
