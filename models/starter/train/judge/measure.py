"""How often the shipped judges are right, an attribute a row: `python measure.py CROPS...` (files of `crops.py`).

Only crops at least 64 pixels high. "Not sure" counts as wrong; "not visible" is right only where the generator says so.
"""
import sys

import torch

from crops import HIDDEN, WHO
from batches import Crops
from export import LEAST_HEIGHT
from judge import Judge


def answers(judge, crops, chosen):
    """`(crops, attributes)`: class numbers, -2 where the judge isn't sure."""
    out = []
    for part in chosen.split(256):
        logits, columns = judge.logits(crops.inputs(part)), []
        for head in judge.heads:
            sure, best = (logits[head["name"]] / head["temperature"]).softmax(1).max(1)
            columns.append(torch.where(sure < head["threshold"], -2, best))
        out.append(torch.stack(columns, 1))
    return torch.cat(out)


def main(paths):
    judges = {name: Judge(name) for name in ("first", "second")}
    for path in paths:
        crops = Crops([path])
        chosen = torch.nonzero(crops.heights >= LEAST_HEIGHT)[:, 0]
        labels = crops.labels[chosen].long()
        print(f"\n{path}: {len(chosen)} crops of at least {LEAST_HEIGHT} pixels\n")
        print("| attribute | crops | " + " | ".join(f"{it}: right | not sure | wrong" for it in judges) + " | agree |")
        print("|---" * (3 + 3 * len(judges)) + "|")
        said = {name: answers(judge, crops, chosen) for name, judge in judges.items()}
        for at, name in enumerate(WHO):
            known = labels[:, at] >= 0
            row = [name, str(int(known.sum()))]
            for it in said.values():
                right, unsure = (it[known, at] == labels[known, at]).float().mean(), (it[known, at] == -2).float().mean()
                row += [f"{100 * right:.2f} %", f"{100 * unsure:.2f} %", f"{100 * (1 - right - unsure):.2f} %"]
            first, second = said.values()
            row.append(f"{100 * (first[known, at] == second[known, at]).float().mean():.2f} %")
            print("| " + " | ".join(row) + " |")
        worst(said["first"], labels)


def worst(said, labels):
    """The commonest mistakes of the first judge."""
    counts = {}
    for at, name in enumerate(WHO):
        names = [*map(str, WHO[name]), *(["not visible"] if name in HIDDEN else [])]
        for found, true in zip(said[:, at].tolist(), labels[:, at].tolist()):
            if true >= 0 and found != true:
                key = f"{name}: {names[true]} taken for {names[found] if found >= 0 else 'unsure'}"
                counts[key] = counts.get(key, 0) + 1
    print("\n" + "; ".join(f"{key} ({number})" for key, number in sorted(counts.items(), key=lambda it: -it[1])[:12]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
