"""Calibrates a trained judge and writes it as it is shipped: `python export.py first|second CHECKPOINT CALIBRATION FOLDER`.

Each head's temperature is the one of least cross-entropy on crops that weren't trained on. A judge isn't sure below a
half, and at least as seldom as `UNSURE` of those crops: a doubt counts as wrong.
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from crops import HIDDEN, WHO
from batches import Crops
from judge import Judge
from networks import JUDGES
from train import HEADS

UNSURE, LEAST_HEIGHT = .01, 64


def words(value):
    return {False: "no", True: "yes"}.get(value, value)


def main(name, checkpoint, calibration, folder):
    network, _ = JUDGES[name]
    judge = network(HEADS)
    judge.load_state_dict(torch.load(checkpoint)["judge"])
    os.makedirs(folder, exist_ok=True)
    tensors = {key: it.detach().half().contiguous() for key, it in judge.exported().items()}
    save_file(dict(sorted(tensors.items())), f"{folder}/{name}.safetensors")
    kind = network.architecture
    if kind == "pooled":
        kind = {kind: {"groups": network.groups, "width": network.width}}
    heads = [{"name": it, "values": [words(value) for value in values], "not_visible": it in HIDDEN, "temperature": 1.0,
              "threshold": 0.0} for it, values in WHO.items()]
    config = {"architecture": kind, "channels": list(network.channels), "heads": heads}

    def write():
        with open(f"{folder}/{name}.json", "w") as it:
            lines = ",\n    ".join(json.dumps(head) for head in heads)
            it.write(f'{{\n  "architecture": {json.dumps(kind)},\n  "channels": {config["channels"]},\n  "heads": [\n    {lines}\n  ]\n}}\n')

    write()
    crops = Crops([calibration])
    chosen = torch.nonzero(crops.heights >= LEAST_HEIGHT)[:, 0]
    shipped, logits = Judge(name, folder), {it: [] for it in WHO}
    for part in chosen.split(256):
        for it, value in shipped.logits(crops.inputs(part)).items():
            logits[it].append(value)
    grid = [.4 * 1.05**step for step in range(60)]
    for at, head in enumerate(heads):
        labels = crops.labels[chosen, at].long()
        known = labels >= 0
        value, labels = torch.cat(logits[head["name"]])[known], labels[known]
        head["temperature"] = round(min(grid, key=lambda it: F.cross_entropy(value / it, labels).item()), 4)
        sure = (value / head["temperature"]).softmax(1).amax(1)
        head["threshold"] = round(min(.5, sure.quantile(UNSURE).item()), 4)
        print(head["name"], head["temperature"], head["threshold"], "unsure", round((sure < head["threshold"]).float().mean().item(), 4))
    write()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:5])
