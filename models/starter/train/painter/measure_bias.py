"""Whom the painter paints when nobody says whom: `python measure_bias.py PAINTER [PICTURES]` prints a table in Markdown.

For each role so many pictures of 96×160 of one person, by the plain prompt "a chef in a kitchen", places in turn. The first judge
looks into a few boxes and is believed in the one in which it is surest that one person stands; where it is nowhere sure, the
picture counts as nobody. Shares are of the people whom it could tell.
"""
import os
import random
import sys
from collections import Counter

import numpy as np
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../judge"))
import captions
import people
import scenes
from judge import Judge, crops
from paint import Job, Painter

SIZE, TOGETHER, WINDOWS, SURE = (96, 160), 20, 10, .8
SHOWN = {"tone": list(people.TONE_BIAS), "gender": ["woman", "man"], "age": ["adult", "child", "older"]}


def windows():
    """Boxes as scenes of one person have them."""
    r = random.Random("bias")
    boxes = [scenes.places(r, 1, *SIZE)[0] for _ in range(WINDOWS)]
    return [(max(0, left), max(0, top), min(SIZE[0], right), min(SIZE[1], bottom)) for left, top, right, bottom in boxes]


def found(judge, picture, boxes):
    """What the judge says of the person, or None."""
    verdicts = judge.verdicts(torch.cat([crops(picture, [box], [0]) for box in boxes]))
    best = max(verdicts, key=lambda it: it["presence"][1] if it["presence"][0] == "one" else 0)
    return best if best["presence"][0] == "one" and SURE <= best["presence"][1] else None


def share(counts, value):
    told = sum(counts[it] for it in counts if it not in ("not sure", "not visible"))
    return f"{100 * counts[value] / told:.0f}" if told else "-"


def main(folder, count=60):
    painter, judge, boxes = Painter(folder), Judge("first"), windows()
    print("| role | " + " | ".join(value for values in SHOWN.values() for value in values) + " | role right | nobody or several |")
    print("|---" * (3 + sum(len(it) for it in SHOWN.values())) + "|")
    settings, whole = list(scenes.SETTINGS), {name: Counter() for name in SHOWN}
    for number, role in enumerate(people.ROLES):
        said, right, nobody = {name: Counter() for name in SHOWN}, 0, 0
        jobs = [Job(f"{captions.article(role)} {captions.PLACES[settings[at % len(settings)]][0]}", number * 10_000 + at, SIZE) for at in range(count)]
        for at in range(0, count, TOGETHER):
            for picture in painter.paint(jobs[at:at + TOGETHER]):
                verdict = found(judge, np.asarray(picture), boxes)
                if verdict is None:
                    nobody += 1
                    continue
                right += verdict["role"][0] == role
                for name in SHOWN:
                    said[name][verdict[name][0]] += 1
                    whole[name][verdict[name][0]] += 1
        shares = [share(said[name], value) for name, values in SHOWN.items() for value in values]
        print(f"| {role} | " + " | ".join(shares) + f" | {100 * right / max(1, count - nobody):.0f} | {100 * nobody / count:.0f} |", flush=True)
    print("| all | " + " | ".join(share(whole[name], value) for name, values in SHOWN.items() for value in values) + " | | |")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    main(sys.argv[1], *(int(it) for it in sys.argv[2:3]))
