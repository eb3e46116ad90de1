"""A sheet of pictures to look at: `python show.py FOLDER SHEET.png`: plain prompts above, the same groups by regions below."""
import sys

import torch
from PIL import Image

from paint import Job, Painter

TONES = ["dark", "light", "medium", "medium dark", "medium light"]
ROWS = [
    [Job(words, seed, (192, 192)) for seed, words in enumerate([
        "a woman doctor with dark skin in a hospital", "a man chef with light skin with red hair in a kitchen",
        "an older woman judge with medium skin", "a child astronaut in space", "three firefighters in a city",
        "a bald man with dark skin wearing glasses in a park", "a woman singer with medium light skin with curly hair"])],
    [Job(words, seed, (384, 192)) for seed, words in enumerate([
        "a group of five doctors in a hospital", "four chefs in a kitchen", "a group of five basketball players on an outdoor court"])],
]


def row(role, place, seed, people=5):
    """People side by side, women and men in turn, in every tone."""
    width = 384 / people
    boxes = [(width * it, 56, width * (it + 1), 190) for it in range(people)]
    subs = [f"a {'woman' if it % 2 else 'man'} {role} with {TONES[it]} skin" for it in range(people)]
    return Job(f"a group of {['', 'one', 'two', 'three', 'four', 'five'][people]} {role}s {place}", seed, (384, 192), subs, boxes)


ROWS += [[row("doctor", "in a hospital", 1), row("basketball player", "on an outdoor court", 2), row("chef", "in a kitchen", 3, 4)],
         [row("basketball player", "on an outdoor court", it) for it in (1, 3, 4)],
         [row("police officer", "in a city", 1, 3), row("wizard", "in a forest", 2, 4), row("astronaut", "in space", 3)]]

if __name__ == "__main__":
    torch.set_num_threads(2)
    painter = Painter(sys.argv[1])
    painted = [painter.paint(it) for it in ROWS]
    sheet = Image.new("RGB", (1360, 196 * len(painted)), "white")
    for at, pictures in enumerate(painted):
        x = 0
        for it in pictures:
            sheet.paste(it, (x, at * 196))
            x += it.width + 2
    sheet.save(sys.argv[2])
