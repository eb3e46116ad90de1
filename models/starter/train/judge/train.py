"""Trains a judge: `python train.py first|second FOLDER STEPS CROPS...`; starts again from the folder's checkpoint."""
import os
import sys

import torch
import torch.nn.functional as F

from crops import HIDDEN, WHO
from data import Crops, degraded
from networks import JUDGES

BATCH, RATE, WARM = 128, 3e-3, 100
HEADS = {name: len(values) + (name in HIDDEN) for name, values in WHO.items()}


def loss(judged, labels):
    """The mean over the attributes of their cross-entropies; labels of -1 don't count."""
    total = 0
    for at, name in enumerate(WHO):
        known = labels[:, at] >= 0
        total = total + F.cross_entropy(judged[name].float()[known], labels[known, at].long())
    return total / len(WHO)


def train(name, folder, steps, paths):
    network, seed = JUDGES[name]
    torch.manual_seed(seed)
    judge = network(HEADS).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    crops = Crops(paths)
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=.05)
    rate = lambda at: min(1, (at + 1) / WARM) * max(.005, (1 - at / steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    path, start, left, mean = f"{folder}/{name}.pt", 0, [], None
    if os.path.exists(path):
        kept = torch.load(path)
        judge.load_state_dict(kept["judge"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        generator.set_state(kept["generator"])
        start, left = kept["step"], kept["left"]
    print(name, sum(it.numel() for it in judge.parameters()), "parameters,", len(crops), "crops", flush=True)
    for step in range(start, steps):
        if len(left) < BATCH:
            left = torch.randperm(len(crops), generator=generator).tolist()
        chosen, left = torch.tensor(left[:BATCH]), left[BATCH:]
        x = degraded(crops.inputs(chosen), generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            judged = judge(x)
        value = loss(judged, crops.labels[chosen])
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1)
        optimizer.step()
        schedule.step()
        mean = value.item() if mean is None else .98 * mean + .02 * value.item()
        if step % 50 == 49:
            print(step + 1, round(mean, 4), flush=True)
        if step % 200 == 199 or step + 1 == steps:
            kept = {"judge": judge.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                    "generator": generator.get_state(), "step": step + 1, "left": left}
            torch.save(kept, path + ".part")
            os.replace(path + ".part", path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.makedirs(sys.argv[2], exist_ok=True)
    train(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
