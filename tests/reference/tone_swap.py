"""How much of a picture changes when one person's skin tone does: the program paints, this script measures.

    python tests/reference/tone_swap.py [--seeds 1-8] [--people 1,2,…] [--out DIR] BINARY [-- FLAGS OF PAINT…]

For every seed the prompt is planned and laid out; then for each person the plan is edited to the lightest and to the
darkest tone, laid out again and painted, with the same noise. A pixel belongs to the person in front of it, as in the
painter. Wanted: the mean change outside a person's part of the picture is in the median at most 0.25 of that inside, and
in another person's part at most 0.15; exits 1 otherwise.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from generation import visible

PROMPT = "a multiracial women's basketball team, five players, on an outdoor court"
AXIS, LIGHTEST, DARKEST = "skin tone", "light", "dark"
OUTSIDE, OTHERS = 0.25, 0.15


def call(binary, *words):
    subprocess.run([str(binary), "--quiet", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def with_tone(plan, index, tone):
    plan = copy.deepcopy(plan)
    value = next(it for it in plan["subjects"][index]["values"] if it["axis"] == AXIS)
    value["value"] = tone
    return plan


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"), float)


def owners(layout):
    """Shape (people, height, width): whether a pixel is a person's."""
    width, height = layout["canvas"]["width"], layout["canvas"]["height"]
    return visible(layout, height, width).reshape(-1, height, width).numpy() > 0.5


def swap(binary, folder, plan, index, flags):
    """The change inside; outside, in the worst other person's part and in each other person's part, as parts of that inside."""
    pictures, layouts = [], []
    for tone in (LIGHTEST, DARKEST):
        name = f"s{index + 1}-{tone}"
        (folder / f"{name}.plan.json").write_text(json.dumps(with_tone(plan, index, tone)))
        call(binary, "layout", folder / f"{name}.plan.json", "-o", folder / f"{name}.layout.json")
        call(binary, "paint", folder / f"{name}.layout.json", "-o", folder / f"{name}.png", *flags)
        pictures.append(pixels(folder / f"{name}.png"))
        layouts.append(json.loads((folder / f"{name}.layout.json").read_text()))
    boxes = [[person["box"] for person in layout["subjects"]] for layout in layouts]
    assert boxes[0] == boxes[1], "a skin tone moves no box"
    change = np.abs(pictures[0] - pictures[1]).mean(-1)
    parts = owners(layouts[0])
    inside = change[parts[index]].mean()
    others = [change[part].mean() / inside for other, part in enumerate(parts) if other != index and part.any()]
    return inside, change[~parts[index]].mean() / inside, max(others, default=0.0), others


def numbers(text):
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("binary", type=Path)
    arguments.add_argument("--seeds", type=numbers, default=numbers("1-8"))
    arguments.add_argument("--people", type=lambda text: [int(it) for it in text.split(",")])
    arguments.add_argument("--out", type=Path, default=Path("target/tone-swap"))
    arguments.add_argument("--prompt", default=PROMPT)
    arguments.add_argument("flags", nargs="*", metavar="FLAG OF PAINT")
    arguments = arguments.parse_args()
    binary, measured = arguments.binary.resolve(), []
    print(f"{'seed':>4} {'person':>6} {'inside':>7} {'outside':>8} {'worst other':>12}")
    for seed in arguments.seeds:
        folder = arguments.out / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        call(binary, "plan", arguments.prompt, "--seed", seed, "-o", folder / "plan.json")
        plan = json.loads((folder / "plan.json").read_text())
        people = [it - 1 for it in arguments.people] if arguments.people else range(len(plan["subjects"]))
        for index in people:
            measured.append(swap(binary, folder, plan, index, arguments.flags))
            print("{:4} {:>6} {:7.2f} {:8.3f} {:12.3f}".format(seed, plan["subjects"][index]["id"], *measured[-1][:3]), flush=True)
    outside, others = (statistics.median(it[column] for it in measured) for column in (1, 2))
    most = max(it[2] for it in measured)
    each = statistics.median(other for it in measured for other in it[3])
    print(f"{len(measured)} swaps: outside {outside:.3f} in the median (at most {OUTSIDE}); other persons {each:.3f} in the median"
          f" of all (at most {OTHERS}), the worst of each swap {others:.3f} in the median and {most:.3f} at most")
    return 0 if outside <= OUTSIDE and each <= OTHERS else 1


if __name__ == "__main__":
    sys.exit(main())
