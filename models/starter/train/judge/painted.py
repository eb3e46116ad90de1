"""Crops of people whom the painter painted over, so that they have its faults: `python painted.py FILE PAINTER FIRST LAST [ROLE,ROLE…]`.

New scenes as those of `crops.py`, noised in part, and painted on by the painter by regions, from what is true of each person
(Meng et al. 2022, "SDEdit", arXiv:2108.01073). Little noise keeps who somebody is; of much noise only what is large stays known.
"""
import random
import sys

import numpy as np
import torch

from crops import WHO, Kept, drawn, somebody  # first: with it the painter's folder is on the path

import captions
import people
from paint import Job, Painter

BATCH, STEPS, POOL = 8, 12, 3000
# How many of the steps are painted, how often; and up to which everything stays known.
PAINTED, ALL_KNOWN = {2: .1, 3: .2, 4: .2, 5: .2, 6: .15, 8: .15}, 5
LARGE = ("presence", "role", "tone", "headscarf")


def described(who, r):
    """All that can be seen of a person, in words."""
    said = {name for name, value in people.visible(who).items() if value not in (None, False)}
    return captions.describe(who, said - {"role"}, r)


def job(seed, image, setting, stood):
    """The scene as the painter would be told it."""
    r = random.Random(f"painted {seed}")
    crowd = [who for _, who in stood]
    height, width = image.shape[:2]
    boxes = [(max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])) for box, _ in stood]
    return Job(captions.base(crowd, setting, r), seed, (width, height), [described(who, r) for who in crowd], boxes)


def known(label, painted):
    """The labels that so many painted steps leave true; -1 for the others."""
    if painted <= ALL_KNOWN:
        return label
    return [value if name in LARGE else -1 for name, value in zip(WHO, label)]


def main(path, painter, first, last, roles=",".join(people.ROLES)):
    painter, roles, kept, waiting = Painter(painter), roles.split(","), Kept(), {}
    r = random.Random(f"painted pool {first}")
    pool = [somebody(r, roles) for _ in range(POOL)]

    def paint(those):
        skipped = STEPS - r.choices(list(PAINTED), list(PAINTED.values()))[0]
        pictures = painter.paint([it for it, *_ in those], STEPS, isolate=1., onto=[image for _, image, _ in those], skipped=skipped)
        for picture, (_, _, found) in zip(pictures, those):
            kept.add(np.asarray(picture), [(*it[:3], known(it[3], STEPS - skipped)) for it in found], True)

    for seed in range(int(first), int(last)):
        image, found, (setting, stood) = drawn(seed, pool, roles)
        if found:
            its = waiting.setdefault(image.shape, [])
            its.append((job(seed, image, setting, stood), image, found))
            if len(its) == BATCH:
                paint(waiting.pop(image.shape))
        if seed % 100 == 99:
            print(seed + 1, len(kept), flush=True)
    for those in waiting.values():
        paint(those)
    kept.save(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
