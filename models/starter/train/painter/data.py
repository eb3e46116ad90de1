"""Batches of latents with their captions, regions and masks, out of the shards that `encode.py` writes."""
import json
import os
import random

import torch
import torch.nn.functional as F

import people
from attention import grid

# Pictures in a batch, for each canvas: about as many tokens each.
BATCH = {(96, 160): 32, (192, 192): 16, (256, 192): 12, (384, 192): 8, (384, 256): 6, (512, 256): 4}
# How often a batch is of each. One person alone is a fifth of the work and says as much of who it is; with that learnt, groups are
# where people are missed.
CHANCE = {(96, 160): .34, (192, 192): .14, (256, 192): .12, (384, 192): .3, (384, 256): .05, (512, 256): .1}
HEADS = 3  # times what a head's error counts more than the rest: most of who somebody is shows in few pixels
REGIONAL = .5  # of the pictures with people are painted by regions
BASE_RATIO = .2


def names(folder):
    """The shards of a folder."""
    return sorted(it for it in os.listdir(folder) if it.endswith(".pt"))


class Scenes:
    """All latents in memory, drawn without repetition until all were seen."""

    def __init__(self, folder, scaling, shards=slice(None)):
        self.z, self.known, self.masks, self.regions = {}, {}, {}, {}
        self.folder, self.names = folder, names(folder)
        for name in self.names[shards]:
            for size, it in torch.load(f"{folder}/{name}").items():
                self.z.setdefault(size, []).append(it["z"])
                self.known.setdefault(size, []).extend(json.loads(it["known"]))
                self.masks.setdefault(size, []).extend(it["masks"])
                self.regions.setdefault(size, []).extend(it["regions"])
        self.z = {size: torch.cat(it) for size, it in self.z.items()}
        self.scaling = scaling
        self.left = {size: [] for size in self.z}

    def stale(self):
        """Whether there are shards now that weren't there before."""
        return self.names != names(self.folder)

    def __len__(self):
        return sum(len(it) for it in self.z.values())

    def batch(self, r, noisy):
        """A `Batch` of one canvas; `noisy` says for a number of pictures which of them are in the isolated steps."""
        sizes = list(self.z)
        size = r.choices(sizes, [CHANCE[it] for it in sizes])[0]
        if len(self.left[size]) < BATCH[size]:
            self.left[size] = r.sample(range(len(self.z[size])), len(self.z[size]))
        chosen = [self.left[size].pop() for _ in range(min(BATCH[size], len(self.left[size])))]
        return Batch(self, size, chosen, r, noisy)


class Batch:
    """Latents `z` (pictures, channels, height, width), what each place counts `(pictures, 1, height, width)`, the prompt of
    each, and what `attention.Conditioning` needs."""

    def __init__(self, scenes, size, chosen, r, noisy):
        self.z = scenes.z[size][torch.tensor(chosen)].float() * scenes.scaling
        known = [scenes.known[size][it] for it in chosen]
        early = noisy(len(chosen))
        self.prompts, self.sub_prompts, regions, isolated, spans = [], [], [], [], []
        for it, at, is_early in zip(known, chosen, early):
            dropped, by_region = r.random() < .1, it["subs"] and r.random() < REGIONAL
            if by_region:
                isolated.append(r.random() < (.8 if is_early else .4))
                regions.append(scenes.regions[size][at].float() / 255)
                self.prompts.append("" if dropped else it["base"])
                self.sub_prompts += [""] * len(it["subs"]) if dropped else it["subs"]
                spans.append([])
            else:
                isolated.append(False)
                regions.append(None)
                self.prompts.append("" if dropped else it["caption"])
                spans.append([] if dropped else it["spans"])
        self.size, self.spans = size, spans
        self._regions, self._isolated = regions, isolated
        self._masks = [scenes.masks[size][it].float() / 255 for it in chosen]
        counts = torch.stack([heads(it, masks) for it, masks in zip(known, self._masks)])[:, None]
        self.counts = (1 + HEADS * counts) / (1 + HEADS * counts).mean()

    def conditioning(self, tokenized, target):
        """Fills `target` for the resolutions of the UNet; `tokenized` are the prompts with offsets."""
        most = max((len(it) for it in self.spans), default=0)
        spoken = None
        if most:
            spoken = torch.zeros(len(self.spans), most, 77)
            for picture, spans in enumerate(self.spans):
                for person, (start, end) in enumerate(spans):
                    for token, (first, last) in enumerate(tokenized[picture]):
                        if start <= first and last <= end and first < last:
                            spoken[picture, person, token] = 1
        target.spans, target.losses, target.grids = spoken, [], {}
        for level in (1, 2, 4):
            smaller = lambda it: it if it is None or not len(it) or level == 1 else F.avg_pool2d(it[None], level)[0]
            masks = [smaller(it) if len(it) else it[:, ::level, ::level] for it in self._masks]
            made = grid([smaller(it) for it in self._regions], self._isolated, masks, spoken, BASE_RATIO)
            target.grids[masks[0].shape[-1] * masks[0].shape[-2]] = made


def heads(known, masks):
    """How much of each place shows somebody's head: the upper part of the box, less of it of a whole figure."""
    out = torch.zeros(masks.shape[-2:])
    for who, (_, top, _, bottom), mask in zip(known["people"], known["boxes"], masks):
        first, last = max(0, int(top // 8)), round((top + (bottom - top) * people.Person(**who).head_share) / 8)
        out[first:last] += mask[first:last]
    return out.clamp(max=1)


def latents_of(folder):
    """`scaling_factor` and number of channels of an autoencoder."""
    with open(f"{folder}/config.json") as it:
        config = json.load(it)
    return config["scaling_factor"], config["latent_channels"]


def seeded(seed):
    return random.Random(f"batches {seed}")
