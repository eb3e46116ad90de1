"""Draws scenes: people in boxes before a setting, with captions, and for each person the box and the pixels that show it.

python scenes.py SHEET.png draws a sheet of them.
"""
import random
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

import art
import captions
import people

# Width, height, the largest number of people, and the part of all scenes.
CANVASES = [(96, 160, 1, .36), (192, 192, 4, .28), (256, 192, 5, .14), (384, 192, 8, .14), (384, 256, 8, .08)]
SKY = {"2600-fe0f", "2601-fe0f", "1fa90", "1f680", "1f319", "2b50", "1f30d"}
PEAKS = {"26f0-fe0f", "1f3d4-fe0f"}
# Sky (top, horizon), ground (horizon, bottom), props.
SETTINGS = {
    "outdoor court": (((120, 190, 245), (200, 230, 250)), ((214, 120, 70), (190, 96, 52)), ["1f333", "1f332", "2601-fe0f"]),
    "hospital": (((214, 240, 240), (190, 226, 230)), ((176, 190, 200), (150, 166, 180)), ["1f6cf-fe0f", "1f489", "1f48a", "1fa7a"]),
    "kitchen": (((255, 240, 214), (250, 224, 184)), ((196, 150, 110), (170, 124, 88)), ["1f958", "1f373", "1f35e", "1f34e"]),
    "forest": (((170, 220, 190), (120, 190, 150)), ((74, 140, 70), (52, 110, 54)), ["1f333", "1f332", "1f332", "1f344"]),
    "city": (((160, 200, 240), (226, 236, 246)), ((130, 134, 144), (104, 108, 118)), ["1f3e2", "1f3e0", "1f699", "1f3e5"]),
    "beach": (((110, 200, 250), (190, 236, 252)), ((250, 222, 160), (236, 200, 130)), ["1f334", "26f1-fe0f", "2600-fe0f", "1f41a"]),
    "space": (((18, 16, 48), (44, 30, 92)), ((58, 48, 96), (40, 32, 72)), ["1fa90", "1f680", "1f319", "2b50", "1f30d"]),
    "mountains": (((150, 200, 250), (220, 236, 250)), ((120, 170, 110), (96, 144, 90)), ["26f0-fe0f", "1f3d4-fe0f", "2601-fe0f", "1f332"]),
    "farm": (((140, 205, 250), (230, 242, 250)), ((150, 190, 80), (120, 160, 60)), ["1f69c", "1f404", "1f3e1", "1f33b"]),
    "classroom": (((250, 236, 200), (244, 222, 180)), ((170, 120, 84), (150, 100, 70)), ["1f4da", "1f30d", "1fa91", "1f5a5-fe0f"]),
    "park": (((150, 214, 250), (216, 240, 252)), ((124, 200, 100), (100, 176, 84)), ["1f333", "1f337", "26f2", "1f333"]),
    "desert": (((250, 200, 140), (252, 226, 180)), ((226, 176, 104), (206, 150, 84)), ["1f335", "1f42b", "2600-fe0f", "1f335"]),
    "snow": (((190, 214, 236), (226, 236, 246)), ((240, 246, 252), (214, 226, 240)), ["2603-fe0f", "1f332", "2744-fe0f", "1f332"]),
    "office": (((226, 226, 236), (206, 208, 222)), ((120, 110, 120), (100, 92, 104)), ["1f5a5-fe0f", "1fab4", "1f5a8-fe0f", "1fa91"]),
}
INDOORS = {"hospital", "kitchen", "classroom", "office"}
WORDS = ["tone", "gender", "age", "hair", "beard", "headscarf", "glasses", "clothes"]


@dataclass
class Scene:
    """A drawn scene. Boxes are (left, top, right, bottom) in pixels, back to front as `masks`."""
    image: Image.Image
    caption: str
    spans: list  # of the caption, one for each person: where its description stands
    base: str
    people: list
    sub_prompts: list
    boxes: list
    masks: list  # (height, width) from 0 to 1: how much of a pixel shows this person
    setting: str


def _sprite(code):
    it = Image.fromarray(art.picture(code).astype("uint8"))
    return it.crop(it.getbbox())


def _paste(image, sprite, x, bottom, height):
    width = max(1, round(sprite.width * height / sprite.height))
    small = sprite.resize((width, height), Image.LANCZOS)
    left, top = round(x - width / 2), round(bottom - height)
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    layer.paste(small, (left, top))
    image.alpha_composite(layer)
    return (left, top, left + width, top + height), np.asarray(layer.getchannel("A"), dtype=np.float32) / 255


def backdrop(r, setting, width, height):
    """Sky or wall, ground, and things of the place."""
    (sky, horizon), (near, bottom), props = SETTINGS[setting]
    jitter = lambda colour: np.clip(np.array(colour) + [r.uniform(-12, 12) for _ in range(3)], 0, 255)
    line = r.uniform(.48, .74)
    y = np.linspace(0, 1, height)[:, None]
    above = jitter(sky) + (jitter(horizon) - jitter(sky)) * np.clip(y / line, 0, 1)
    below = jitter(near) + (jitter(bottom) - jitter(near)) * np.clip((y - line) / (1 - line), 0, 1)
    column = np.clip(np.where(y < line, above, below), 0, 255)
    image = Image.fromarray(np.repeat(column[:, None], width, 1).astype("uint8")).convert("RGBA")
    pen, ground, thin = ImageDraw.Draw(image), int(line * height), max(2, height // 64)
    if setting == "outdoor court":
        middle = r.uniform(.2, .8) * width
        pen.ellipse([middle - height * .5, ground + height * .08, middle + height * .5, ground + height * .5], outline=(250, 240, 230), width=thin)
        pen.line([0, ground + thin, width, ground + thin], fill=(250, 240, 230), width=thin)
    if setting in INDOORS:
        pen.line([0, ground, width, ground], fill=tuple(int(v * .7) for v in bottom), width=thin)
    if setting == "classroom":
        left = r.uniform(-.1, .5) * width
        pen.rectangle([left, height * .08, left + height * .8, height * .42], fill=(40, 110, 80), outline=(170, 120, 80), width=thin)
    if setting == "office":
        for left in range(int(r.uniform(0, 30)), width, max(40, height // 3)):
            pen.rectangle([left, height * .1, left + height * .2, height * .34], fill=(170, 214, 244), outline=(240, 240, 246), width=thin)
    if setting == "beach":
        pen.rectangle([0, ground - height * .1, width, ground], fill=tuple(int(v) for v in jitter((60, 150, 220))))
    if setting == "space":
        for _ in range(40):
            x, at = r.uniform(0, width), r.uniform(0, ground)
            pen.ellipse([x, at, x + 1.6, at + 1.6], fill=(255, 255, 240))
    for _ in range(r.randint(1, 2 + width // 90)):
        prop = r.choice(props)
        tall, foot = r.uniform(.15, .32), ground + r.uniform(0, .07) * height
        if prop in SKY:
            foot = r.uniform(.16, .4) * height
        if prop in PEAKS:
            tall, foot = r.uniform(.3, .5), ground
        _paste(image, _sprite(prop), r.uniform(0, width), foot, max(8, int(height * tall)))
    return image


def places(r, number, width, height):
    """Boxes for so many people, back to front: one row, or two of which the back one is higher."""
    rows = [number] if number else []
    if 4 <= number and r.random() < (.8 if width < number * 70 else .35):
        rows = [number // 2, number - number // 2]
    boxes = []
    for index, row in enumerate(rows):
        back = len(rows) == 2 and index == 0
        slot = width / row
        tall = min(r.uniform(.5, .95), slot / height * r.uniform(1.3, 2.2)) * height
        foot = height * (r.uniform(.6, .7) if back else r.choice([1.0, r.uniform(.88, 1.0)]))
        tall = min(tall, foot * r.uniform(.85, .97))
        for k in range(row):
            wide = min(slot * r.uniform(.8, 1.08), tall * r.uniform(.6, 1.05))
            room = max(0, slot - wide) / 2
            x = slot * (k + .5) + r.uniform(-1, 1) * room
            boxes.append((x - wide / 2, foot - tall * r.uniform(.94, 1.0), x + wide / 2, foot))
    return boxes


def stand(r, image, who, box):
    """Puts a person into a box; returns its outline's box and its mask."""
    sprite = who.sprite()
    wide, tall = box[2] - box[0], box[3] - box[1]
    scale = min(wide / sprite.width, tall / sprite.height) * r.uniform(.92, 1.04)
    shown = max(12, round(sprite.height * scale * (.8 if who.age == "child" else 1)))
    return _paste(image, sprite, (box[0] + box[2]) / 2, box[3], shown)


def _said(r, mode):
    if mode == "plain":
        return set()
    if mode == "part":
        return {it for it in WORDS if r.random() < .35}
    return {"tone", "gender"} | {it for it in WORDS if r.random() < .6}


def scene(seed, size=None, roles=people.ROLES):
    """The scene of a seed, of people of these roles; the same seed draws the same."""
    r = random.Random(f"scene {seed}")
    if size:
        width, height = size
        most = next((it[2] for it in CANVASES if it[:2] == size), 6)
    else:
        width, height, most, _ = r.choices(CANVASES, [it[3] for it in CANVASES])[0]
    setting = r.choice(list(SETTINGS))
    image = backdrop(r, setting, width, height)
    weights = [.04, .96] if most == 1 else [.07, .24, .2, .16, .14, .12, .08, .05, .04][:most + 1]
    number = r.choices(range(most + 1), weights)[0]
    mode = r.choices(["full", "part", "plain"], [.6, .16, .24])[0]
    alike, first = r.random() < .75, r.choice(roles)
    boxes, masks, crowd, said, subs = [], [], [], [], []
    for box in places(r, number, width, height):
        role = first if alike else r.choice(roles)
        who, words = people.draw(r, role, _said(r, mode))
        sprite_box, alpha = stand(r, image, who, box)
        masks = [it * (1 - alpha) for it in masks] + [alpha]
        # The region is the box that was to be filled, or the person's own outline, or between the two.
        blend = r.choice([0, .5, 1])
        region = [a * blend + b * (1 - blend) for a, b in zip(sprite_box, box)]
        boxes.append((max(0, region[0]), max(0, region[1]), min(width, region[2]), min(height, region[3])))
        crowd.append(who)
        said.append(words)
        subs.append(captions.describe(who, words, r))
    order = sorted(range(number), key=lambda it: boxes[it][0] + boxes[it][2])
    caption, spans = captions.scene([crowd[it] for it in order], [said[it] for it in order], setting, r)
    placed = [None] * number
    for it, span in zip(order, spans):
        placed[it] = span
    return Scene(image.convert("RGB"), caption, placed, captions.base(crowd, setting, r), crowd, subs, boxes, masks, setting)


if __name__ == "__main__":
    columns, rows = 4, 7
    sheet = Image.new("RGB", (390 * columns, 262 * rows), "white")
    for index in range(columns * rows):
        drawn = scene(index)
        sheet.paste(drawn.image, (index % columns * 390, index // columns * 262))
        print(index, drawn.caption, "|", drawn.base, "|", drawn.sub_prompts)
    sheet.save(sys.argv[1])
