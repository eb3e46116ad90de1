"""Generated people, labelled by looking: sheets to look at, a table to fill in, and the judges' score on it.

    python label.py sheets RUNS FOLDER [COUNT [SEED]]    chooses boxes of the runs' pictures; writes FOLDER/00.png … and labels.csv
    python label.py score FOLDER                         compares the filled-in table with both judges

`sheets` loads no judge and shows no plan: whoever labels sees the pixels alone. The table is committed before `score` is
run for the first time; `score` refuses a table that git doesn't know in this state. A cell holds a value, `-` where
the drawing hides it or has one of its own, or `?` where nobody could tell, which isn't scored; where there isn't just one
person, only `presence` counts, and the others are `?`.
"""
import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from crop import window
from crops import HIDDEN, WHO
from export import words
from judge import Judge, placed

COLUMNS, ROWS, SIDE = 5, 4, (240, 300)
FIELDS = ["number", "picture", "subject", *WHO]


def people(runs):
    """`(picture, layout, subject)` of every box in run folders, in order."""
    for path in sorted(Path(runs).glob("**/layout.json")):
        picture = path.with_name("image.png")
        if picture.exists():
            for at in range(len(json.loads(path.read_text())["subjects"])):
                yield picture, path, at


def sheets(runs, folder, count=300, seed=1):
    """The box is outlined in its window, with a little more around it, and enlarged."""
    found = list(people(runs))
    chosen = random.Random(f"labels {seed}").sample(found, min(int(count), len(found)))
    os.makedirs(folder, exist_ok=True)
    per = COLUMNS * ROWS
    for first in range(0, len(chosen), per):
        sheet = Image.new("RGB", (COLUMNS * SIDE[0], ROWS * SIDE[1]), "white")
        for at, (picture, layout, subject) in enumerate(chosen[first:first + per]):
            image = Image.open(picture).convert("RGB")
            box = placed(json.loads(Path(layout).read_text()), image.size)[0][subject]
            left, top, right, bottom = window(box)
            scale = min((SIDE[0] - 8) / (right - left), (SIDE[1] - 24) / (bottom - top))
            size = round((right - left) * scale), round((bottom - top) * scale)
            seen = image.transform(size, Image.EXTENT, (left, top, right, bottom), Image.BICUBIC)
            corners = [round((value - start) * scale) for value, start in zip(box, (left, top) * 2)]
            ImageDraw.Draw(seen).rectangle(corners, outline="white")
            x, y = at % COLUMNS * SIDE[0], at // COLUMNS * SIDE[1]
            sheet.paste(seen, (x + 4, y + 20))
            ImageDraw.Draw(sheet).text((x + 4, y + 4), str(first + at), "black")
        sheet.save(f"{folder}/{first // per:02}.png")
    with open(f"{folder}/labels.csv", "w", newline="") as it:
        table = csv.writer(it)
        table.writerow(FIELDS)
        for number, (picture, _, subject) in enumerate(chosen):
            table.writerow([number, os.path.relpath(picture, folder), subject] + [""] * len(WHO))
    print(len(chosen), "people of", len(found))
    for name, values in WHO.items():
        print(f"{name}: {', '.join(map(words, values))}{', -' if name in HIDDEN else ''}, ?")


def check(row):
    """The labels of one row: class names, "not visible" for `-`; None where it isn't scored."""
    labels = {}
    for name, values in WHO.items():
        label, allowed = row[name].strip(), [*map(words, values), "?", *(["-"] if name in HIDDEN else [])]
        if label not in allowed:
            raise SystemExit(f"row {row['number']}: {name} is {label!r}, and one of {', '.join(allowed)} was wanted")
        labels[name] = None if label == "?" else "not visible" if label == "-" else label
    if labels["presence"] != "one":
        labels |= {name: None for name in WHO if name != "presence"}
    return labels


def committed(path):
    git = ["git", "-C", os.path.dirname(os.path.abspath(path))]
    name = os.path.basename(path)
    known = subprocess.run([*git, "ls-files", "--error-unmatch", name], capture_output=True, check=False).returncode == 0
    return known and subprocess.run([*git, "diff", "--quiet", "HEAD", "--", name], check=False).returncode == 0


def score(folder):
    path = f"{folder}/labels.csv"
    if not committed(path):
        raise SystemExit(f"{path} isn't committed as it is; labels come before verdicts")
    with open(path, newline="") as it:
        rows = [(row, check(row)) for row in csv.DictReader(it)]
    print("| attribute | people | first: right | not sure | second: right | not sure |\n|---|---|---|---|---|---|")
    judges = [Judge("first"), Judge("second")]
    said = []
    for row, _ in rows:
        picture = Path(folder) / row["picture"]
        image = Image.open(picture).convert("RGB")
        there = placed(json.loads(picture.with_name("layout.json").read_text()), image.size)
        said.append([it.layout(np.asarray(image), *there)[int(row["subject"])] for it in judges])
    for name in WHO:
        scored = [(labels[name], answers) for (_, labels), answers in zip(rows, said) if labels[name] is not None]
        line = [name, str(len(scored))]
        for at in range(2):
            answers = [(label, it[at][name][0]) for label, it in scored]
            part = lambda test: f"{100 * sum(test(*it) for it in answers) / max(1, len(answers)):.1f} %"
            line += [part(lambda label, answer: label == answer), part(lambda _, answer: answer == "not sure")]
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    {"sheets": sheets, "score": score}[sys.argv[1]](*sys.argv[2:])
