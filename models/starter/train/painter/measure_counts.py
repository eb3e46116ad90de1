"""Whether a plain prompt's number of people comes out, counted by looking: sheets to look at, and the score of what was seen.

    python measure_counts.py sheets PAINTER FOLDER [PICTURES]   pictures of "four chefs in a kitchen", 1 to 4 people
    python measure_counts.py score FOLDER

`sheets` writes one sheet a number, pictures in rows of five from the top left, and `counts.csv`, in which the column `seen` is to be
filled in. Roles and places in turn; somebody of whom less than half a head is in the picture isn't counted.
"""
import csv
import os
import sys

import torch
from PIL import Image

import captions
import people
import scenes
from paint import Job, Painter

MOST, COLUMNS = 4, 5
SIZES = {1: (192, 192), 2: (192, 192), 3: (256, 192), 4: (384, 192)}  # as the layout stage chooses them


def jobs(number, pictures):
    """The prompts of a number, with their seeds."""
    settings = list(scenes.SETTINGS)
    for at in range(pictures):
        role = people.ROLES[(at * 5 + number) % len(people.ROLES)]
        said = captions.article(role) if number == 1 else f"{captions.NUMBERS[number]} {captions.plural(role)}"
        yield Job(f"{said} {captions.PLACES[settings[(at * 3 + number) % len(settings)]][0]}", 1000 * number + at, SIZES[number])


def sheets(folder, out, pictures=25):
    painter, rows = Painter(folder), []
    os.makedirs(out, exist_ok=True)
    for number in range(1, MOST + 1):
        wanted = list(jobs(number, int(pictures)))
        painted = [it for at in range(0, len(wanted), COLUMNS) for it in painter.paint(wanted[at:at + COLUMNS])]
        width, height = SIZES[number]
        sheet = Image.new("RGB", (COLUMNS * (width + 2), -(-len(wanted) // COLUMNS) * (height + 2)), "white")
        for at, picture in enumerate(painted):
            sheet.paste(picture, (at % COLUMNS * (width + 2), at // COLUMNS * (height + 2)))
            rows.append([number, at, wanted[at].prompt, wanted[at].seed, ""])
        sheet.save(f"{out}/{number}.png")
    with open(f"{out}/counts.csv", "w", newline="") as it:
        csv.writer(it).writerows([["number", "picture", "prompt", "seed", "seen"], *rows])


def score(out):
    with open(f"{out}/counts.csv", newline="") as it:
        rows = list(csv.DictReader(it))
    right = lambda some: sum(row["seen"] == row["number"] for row in some)
    for number in range(1, MOST + 1):
        some = [row for row in rows if row["number"] == str(number)]
        print(f"{number}: {right(some)} of {len(some)}")
    print(f"all: {right(rows)} of {len(rows)}")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    {"sheets": sheets, "score": score}[sys.argv[1]](*sys.argv[2:])
