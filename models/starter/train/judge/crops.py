"""Crops of people with what is seen of each: `python crops.py FILE SHARDS|new FIRST LAST [POOL [VAE PART [ROLE,ROLE…]]]`.

They come from shards that `draw.py` drew, or are new: a scene for each seed, in which a box may hold nobody, or two people
where one was planned, and all attributes are as likely as the rules let them be. New people are costly, so that the scenes
may share a pool of them. With an autoencoder, a part of the scenes goes through it, with a little noise on the latents, as
a diffusion model's would have; without one, `-` stands in its place. Whole figures have the smallest heads and want more crops
than their share.
"""
import json
import os
import random
import sys

import numpy as np
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../painter"))
import art
import people
import scenes
from crop import MOST, colours, inside

WHO = {
    "presence": ["nobody", "one", "more"], "role": people.ROLES, "gender": ["woman", "man"], "tone": list(art.TONES),
    "age": ["adult", "child", "older"], "hair": people.COLOURS + ["curly", "bald"], "beard": [False, True],
    "headscarf": [False, True], "glasses": [False, True], "clothes": list(art.CLOTHES),
}
HIDDEN = {"age", "hair", "beard", "glasses", "clothes"}  # which can be "not visible": their last class
CANVASES = [((96, 160), 1, .16), ((192, 192), 4, .3), ((256, 192), 5, .22), ((384, 192), 8, .2), ((384, 256), 8, .12)]
# So much of a person must be seen, and of its head, for a crop to be used.
BODY, HEAD = .55, .8


def somebody(r, roles=people.ROLES):
    """A person of one of these roles, all values as likely as the rules let them be."""
    return people.draw(r, r.choice(roles), scenes.WORDS)[0]


def labels(presence, who=None, height=None):
    """Class numbers in the order of `WHO`; -1 where there is nothing to say. Of a person drawn so many pixels high."""
    out = {"presence": presence} | (people.visible(who, height) if who else {})
    number = lambda name: -1 if name not in out else len(WHO[name]) if out[name] is None else WHO[name].index(out[name])
    return [number(name) for name in WHO]


def head(who, box):
    """The rows that hold a person's head."""
    left, top, right, bottom = box
    return left, top, right, top + (bottom - top) * (.3 if who.figure else .5)


def _sum(mask, box):
    left, top, right, bottom = (max(0, round(it)) for it in box)
    return float(mask[top:bottom, left:right].sum())


def _halves(r, box):
    """Two boxes in one, side by side, overlapping."""
    wide, tall = box[2] - box[0], box[3] - box[1]
    out = []
    for side in (-1, 1):
        share = r.uniform(.5, .8)
        x = (box[0] + box[2]) / 2 + side * wide * r.uniform(.2, .62 - share / 2)
        foot = box[3] - tall * r.choice([0, 0, r.uniform(0, .1)])
        out.append((x - wide * share / 2, foot - tall * r.uniform(.75, 1), x + wide * share / 2, foot))
    r.shuffle(out)
    return out


def drawn(seed, pool=None, roles=people.ROLES):
    """The picture of a seed with people of the pool, or any; and `(box, boxes in front, boxes behind, labels)` of each crop;
    and the setting and `(outline, person)` of all who stand in it."""
    r = random.Random(f"judge {seed}")
    (width, height), most, _ = r.choices(CANVASES, [it[2] for it in CANVASES])[0]
    setting = r.choice(list(scenes.SETTINGS))
    image = scenes.backdrop(r, setting, width, height)
    slots = scenes.places(r, r.randint(1, most), width, height)
    stood, boxes = [], []  # (slot, person, outline, mask, what of it is seen)
    for slot, box in enumerate(slots):
        number = r.choices([1, 0, 2], [.76, .06, .18])[0]
        outline = box
        for part in [box] if number == 1 else _halves(r, box)[:number]:
            who = r.choice(pool) if pool else somebody(r, roles)
            outline, alpha = scenes.stand(r, image, who, part)
            stood = [(*it[:4], it[4] * (1 - alpha)) for it in stood] + [(slot, who, outline, alpha, alpha)]
        blend = r.choice([0, .5, 1]) if number == 1 else 0
        region = [a * blend + b * (1 - blend) for a, b in zip(outline, box)]
        move = [r.gauss(0, .025) * side for side in (region[2] - region[0], region[3] - region[1])] * 2
        grow = [r.gauss(0, .02) * side for side in (region[2] - region[0], region[3] - region[1])]
        region = [it + by for it, by in zip(region, [move[0] - grow[0], move[1] - grow[1], move[0] + grow[0], move[1] + grow[1]])]
        boxes.append((max(0, region[0]), max(0, region[1]), min(width, region[2]), min(height, region[3])))
    found = []
    for slot, box in enumerate(boxes):
        here = [it for it in stood if it[0] == slot]
        seen = [BODY * alpha.sum() <= mask.sum() and HEAD * _sum(alpha, head(who, it)) <= _sum(mask, head(who, it))
                for _, who, it, alpha, mask in here]
        if here and not all(seen) or min(box[2] - box[0], box[3] - box[1]) < 12:
            continue
        if here:
            _, who, outline, *_ = here[0]
            label = labels("one", who, outline[3] - outline[1]) if len(here) == 1 else labels("more")
        else:
            label = labels("nobody")
            spilt = sum(_sum(mask, box) for *_, mask in stood)
            if .25 * (box[2] - box[0]) * (box[3] - box[1]) < spilt:
                continue
        found.append((box, boxes[slot + 1:], boxes[:slot], label))
    if r.random() < .35:  # somewhere else: nobody there
        tall = r.uniform(.3, .9) * height
        wide = min(tall * r.uniform(.45, 1), width * .9)
        x, y = r.uniform(0, width - wide), r.uniform(0, height - tall)
        box = (x, y, x + wide, y + tall)
        if sum(_sum(mask, box) for *_, mask in stood) < .04 * wide * tall:
            found.append((box, boxes, [], labels("nobody")))
    return np.asarray(image.convert("RGB")), found, (setting, [(outline, who) for _, who, outline, *_ in stood])


class Autoencoder:
    """Pictures as they come back from an autoencoder whose latents are a little noisy."""

    def __init__(self, folder):
        from diffusers import AutoencoderKL
        self.vae = AutoencoderKL.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, image, r):
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        z = self.vae.encode(x).latent_dist.mode()
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(r.randrange(2**31)))
        z = z + noise * r.choice([0, r.uniform(0, .08)]) / self.vae.config.scaling_factor
        y = self.vae.decode(z).sample[0].permute(1, 2, 0)
        return ((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def planned(known):
    """The crops of a scene that `draw.py` drew, as `drawn` gives them: people whose tone and gender the caption says.

    Only those of whom the boxes in front leave most of the upper half.
    """
    boxes = known["boxes"]
    for at, (who, words, box) in enumerate(zip(known["people"], known["subs"], boxes)):
        said = set(words.replace("-", " ").replace(",", " ").split())
        if not said & {"skin", "skinned"} or not said & {"woman", "man", "female", "male", "girl", "boy"}:
            continue
        left, top, right, bottom = box
        middle = (top + bottom) / 2
        hidden = sum(max(0, min(right, it[2]) - max(left, it[0])) * max(0, min(middle, it[3]) - max(top, it[1])) for it in boxes[at + 1:])
        if .15 * (right - left) * (middle - top) < hidden or min(right - left, bottom - top) < 12:
            continue
        yield box, boxes[at + 1:], boxes[:at], labels("one", people.Person(**who), bottom - top)


def pictures(source, first, last, size, roles):
    """`(seed, picture, crops)` of the shards in a folder, or freshly drawn; from a pool of so many people, if given."""
    if source != "new":
        for shard in range(first, last):
            for canvas in torch.load(f"{source}/{shard:04}.pt").values():
                for at, (image, known) in enumerate(zip(canvas["images"], json.loads(canvas["known"]))):
                    yield f"{shard} {at}", image.numpy(), planned(known)
        return
    r = random.Random(f"pool {first}")
    pool = [somebody(r, roles) for _ in range(size)]
    for seed in range(first, last):
        yield seed, *drawn(seed, pool, roles)[:2]


class Kept:
    """Crops as `batches.Crops` reads them."""

    def __init__(self):
        self.rows = {"crops": [], "front": [], "behind": [], "labels": [], "heights": [], "through": []}

    def __len__(self):
        return len(self.rows["crops"])

    def add(self, image, found, through):
        """What of a picture `drawn` found; whether it went through an autoencoder."""
        for box, front, behind, label in found:
            bytes_ = np.clip(np.round((colours(image, box) + 1) * 127.5), 0, 255).astype("uint8")
            self.rows["crops"].append(torch.from_numpy(bytes_))
            for name, others in (("front", front), ("behind", behind)):
                rows = [inside(box, it) for it in others][:MOST]
                self.rows[name].append(torch.tensor(rows + [(0.,) * 4] * (MOST - len(rows))))
            self.rows["labels"].append(torch.tensor(label, dtype=torch.int8))
            self.rows["heights"].append(box[3] - box[1])
            self.rows["through"].append(through)

    def save(self, path):
        stacked = {name: torch.stack(self.rows[name]) for name in ("crops", "front", "behind", "labels")}
        stacked |= {name: torch.tensor(self.rows[name]) for name in ("heights", "through")}
        torch.save(stacked, path + ".part")
        os.replace(path + ".part", path)


def main(path, source, first, last, size="0", vae="-", part="0", roles=",".join(people.ROLES)):
    first, last, size, part = int(first), int(last), int(size), float(part)
    encoder = Autoencoder(vae) if vae != "-" else None
    kept = Kept()
    for number, (seed, image, found) in enumerate(pictures(source, first, last, size, roles.split(","))):
        r = random.Random(f"through {seed}")
        through = encoder is not None and r.random() < part
        if through:
            image = encoder(image, r)
        kept.add(image, found, through)
        if number % 500 == 499:
            print(number + 1, len(kept), flush=True)
    kept.save(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
