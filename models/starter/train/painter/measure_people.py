"""How often a painted person is who the prompt says: `python measure_people.py PAINTER [COUNT [SHEET.png]]`.

One person to a picture of 192×192, fully described, painted in 20 steps by regions and again by its prompt alone; the
first judge looks at the box. Doubt counts as wrong.
"""
import os
import random
import sys

import numpy as np
import torch
from PIL import Image

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../judge"))
import captions
import people
import scenes
from judge import Judge, crops
from paint import Job, Painter

SIZE, TOGETHER = (192, 192), 8


def described(seed):
    """A person of whom all is said, and the job that paints it."""
    r = random.Random(f"measure {seed}")
    who, said = people.draw(r, r.choice(people.ROLES), scenes.WORDS)
    box = scenes.places(r, 1, *SIZE)[0]
    box = (max(0, box[0]), max(0, box[1]), min(SIZE[0], box[2]), min(SIZE[1], box[3]))
    setting, words = r.choice(list(scenes.SETTINGS)), captions.describe(who, said, r)
    place = captions.PLACES[setting][0]
    wanted = {name: value for name, value in people.visible(who, box[3] - box[1]).items() if value is not None and (name in said or name == "role")}
    return wanted, Job(f"{captions.article(who.role)} {place}", seed, SIZE, [words], [box]), Job(f"{words} {place}", seed, SIZE), box


def main(folder, count=64, sheet=None):
    painter, judge, kept = Painter(folder), Judge("first"), []
    drawn = [described(seed) for seed in range(count)]
    for way in (1, 2):
        tally = {}
        for at in range(0, count, TOGETHER):
            part = drawn[at:at + TOGETHER]
            for (wanted, *_, box), picture in zip(part, painter.paint([it[way] for it in part])):
                kept.append(picture)
                verdict, = judge.verdicts(crops(np.asarray(picture), [box], [0]))
                for name, value in {"presence": "one", **wanted}.items():
                    answer = verdict[name][0]
                    right = answer == {True: "yes", False: "no"}.get(value, value)
                    tally.setdefault(name, []).append(right)
        print("by regions" if way == 1 else "by prompt", {name: f"{sum(it)}/{len(it)} = {sum(it) / len(it):.2f}" for name, it in tally.items()}, flush=True)
    if sheet:
        columns = 8
        image = Image.new("RGB", (columns * 194, -(-min(len(kept), 2 * count) // columns) * 194), "white")
        for at, it in enumerate(kept):
            image.paste(it, (at % columns * 194, at // columns * 194))
        image.save(sheet)
        for at, (_, job, *_) in enumerate(drawn):
            print(at, job.sub_prompts[0], "|", job.prompt)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    main(sys.argv[1], *(int(it) for it in sys.argv[2:3]), *sys.argv[3:4])
