"""Trains the autoencoder on crops of drawn scenes.

python train_autoencoder.py DRAWN FOLDER MINUTES [--from FOLDER] [--like FOLDER] [--rate .012] [--threads 2] [--decoder]

Three in twenty steps are EQ-VAE's (arXiv 2502.09509): the latents are made smaller, and the decoder must give the smaller
picture. A head's error counts eightfold. The rate falls over the last 60 % of the minutes. `--from` begins with the weights of
another, which may have fewer channels. `--like` holds the first channels to another autoencoder's scaled latents where those are
alive, so that a UNet trained on them goes on and only has the other channels to learn. `--decoder` leaves the encoder, and so all
latents, alone.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import people
from muon import HALF, split

CROP, PICTURES, CHANNELS = 96, 4, 12
HEADS = 7  # times what a head's error counts more than the rest: faces are small, and what people look at
AVERAGE = .998
NOISE = .05  # on latents whose deviation is held near one


def network():
    """×8, 3.3 M weights."""
    it = AutoencoderKL(
        block_out_channels=(24, 48, 96, 128), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1, latent_channels=CHANNELS, norm_num_groups=8, sample_size=192)
    with torch.no_grad():
        for name, weight in it.named_parameters():
            if 2 <= weight.ndim:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -.5 * (.1 if "conv2" in name or "to_out" in name else 1))
            elif name.endswith("bias"):
                weight.zero_()
    return it


@torch.no_grad()
def begin_from(folder, it):
    """Copies the weights of an autoencoder with as many channels or fewer; what is added stays as it began."""
    old = AutoencoderKL.from_pretrained(folder).float()
    channels, before = old.config.latent_channels, old.state_dict()
    for name, weight in it.state_dict().items():
        both = tuple(slice(a) for a in before[name].shape)
        if name.startswith("quant_conv"):  # the means come first, then the deviations, which nobody reads
            both = (slice(channels), *both[1:])
        weight[both] = before[name][tuple(slice(part.stop) for part in both)]
    it.register_to_config(scaling_factor=old.config.scaling_factor)


class Older:
    """Another autoencoder's latents, as its UNet sees them."""

    def __init__(self, folder):
        self.network = AutoencoderKL.from_pretrained(folder).float().eval().to(memory_format=torch.channels_last)
        self.alive = None

    @torch.no_grad()
    def __call__(self, pixels):
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            z = self.network.encode(pixels).latent_dist.mean.float() * self.network.config.scaling_factor
        if self.alive is None:
            self.alive = [at for at, it in enumerate(z.std((0, 2, 3))) if .1 < it]
        return z[:, self.alive]


def shrunk(cut):
    """A square (side, side, 4) of bytes shrunk to a crop's."""
    found = F.interpolate(cut.permute(2, 0, 1)[None].float(), size=CROP, mode="bicubic", antialias=True)
    return found[0].permute(1, 2, 0).clamp(0, 255).round().byte()


class Crops:
    """Squares around people, four in five, and anywhere, out of a shard at a time, and what each pixel counts.

    Six in ten are larger and then shrunk: most of what is drawn has large faces, and small ones are hard to keep."""

    def __init__(self, folder, r):
        self.r, self.folder, self.pool = r, folder, []
        self.shards = sorted(it for it in os.listdir(folder) if it.endswith(".pt"))[1:]  # the first is for measuring

    def refill(self):
        for (width, height), it in torch.load(f"{self.folder}/{self.r.choice(self.shards)}").items():
            for image, known in zip(it["images"], json.loads(it["known"])):
                heads = torch.zeros(height, width, dtype=torch.uint8)
                for who, (left, top, right, bottom) in zip(known["people"], known["boxes"]):
                    last = top + (bottom - top) * people.Person(**who).head_share
                    heads[max(0, int(top)):max(0, round(last)), max(0, int(left)):max(0, round(right))] = 255
                both = torch.cat([image, heads[..., None]], 2)
                for _ in range(1 + width // 192):
                    side = round(CROP * self.r.uniform(1, min(width, height) / CROP)) if self.r.random() < .6 else CROP
                    x, y = self.r.uniform(0, width - side), self.r.uniform(0, height - side)
                    if known["boxes"] and self.r.random() < .8:
                        left, top, right, bottom = self.r.choice(known["boxes"])
                        x = self.r.uniform(left, right) - side / 2
                        y = self.r.uniform(top - 10, top + (bottom - top) * .6) - side / 2
                    x, y = int(min(max(x, 0), width - side)), int(min(max(y, 0), height - side))
                    cut = both[y:y + side, x:x + side]
                    self.pool.append(cut.clone() if side == CROP else shrunk(cut))
        self.r.shuffle(self.pool)

    def batch(self):
        if len(self.pool) < PICTURES:
            self.refill()
        drawn, self.pool = self.pool[:PICTURES], self.pool[PICTURES:]
        images, heads = torch.stack(drawn).split((3, 1), 3)
        counts = 1 + HEADS * heads.permute(0, 3, 1, 2).float() / 255
        return images.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last), counts / counts.mean()


def difference(found, wanted, counts):
    """Squared, also of neighbouring pixels' steps. Absolute differences pull at every pixel alike, so that the eyes of a small
    face, a few pixels that are far off, stay unseen among thousands that are nearly right."""
    across, down = (lambda it: it[..., 1:] - it[..., :-1]), (lambda it: it[..., 1:, :] - it[..., :-1, :])
    apart = found - wanted
    steps = (across(apart) ** 2 * counts[..., 1:]).mean() + (down(apart) ** 2 * counts[..., 1:, :]).mean()
    return (apart ** 2 * counts).mean() + 3 * steps + .05 * (apart.abs() * counts).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("drawn")
    parser.add_argument("folder")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--from", dest="start")
    parser.add_argument("--like")
    parser.add_argument("--rate", type=float, default=.012)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decoder", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    r = random.Random(0)
    it = network()
    if options.start:
        begin_from(options.start, it)
    it = it.to(memory_format=torch.channels_last)
    older = Older(options.like) if options.like else None
    if options.decoder:
        for weight in [*it.encoder.parameters(), *it.quant_conv.parameters()]:
            weight.requires_grad_(False)
    inner, outer = split([it], options.rate, options.rate / 15)
    average = {name: weight.detach().clone() for name, weight in it.named_parameters()}
    crops, begun, steps, quality = Crops(options.drawn, r), time.time(), 0, None
    while (part := (time.time() - begun) / 60 / options.minutes) < 1:
        falling = .5 * (1 + math.cos(math.pi * max(0, part - .4) / .6))
        for optimiser, rate in ((inner, options.rate), (outer, options.rate / 15)):
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, (steps + 1) / 30) * max(falling, .02)
        (pixels, counts), smaller = crops.batch(), r.random() < .15
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            found = it.encode(pixels).latent_dist
        mean = found.mean.float()
        z = mean + NOISE * torch.randn_like(mean)
        # A divergence from the normal distribution, however light, let channels die: Adam and Muon follow a gradient's
        # direction, and a channel that nothing uses yet has no other. So each channel's deviation is held instead.
        scale = mean.std((0, 2, 3)).log().square()
        apart = torch.zeros(())
        if older:
            kept = older(pixels)
            apart = (mean[:, older.alive] - kept).square().mean()
            scale[older.alive] = 0
        wanted = pixels
        if smaller:
            side = r.choice([6, 7, 8, 9])
            z = F.interpolate(z, size=side, mode="bilinear", antialias=True).contiguous(memory_format=torch.channels_last)
            wanted, counts = (F.interpolate(it, size=side * 8, mode="bilinear", antialias=True) for it in (pixels, counts))
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            decoded = it.decode(z).sample
        decoded = decoded.float()
        loss = difference(decoded, wanted, counts) + .01 * scale.mean() + .5 * apart
        it.zero_grad()
        loss.backward()
        inner.step()
        outer.step()
        with torch.no_grad():
            for name, weight in it.named_parameters():
                average[name].lerp_(weight, 1 - min(AVERAGE, (steps + 1) / (steps + 10)))
        if not smaller:
            now = 10 * math.log10(4 / ((decoded - wanted).clamp(-2, 2) ** 2).mean().item())
            quality = now if quality is None else quality * .97 + .03 * now
        steps += 1
        if steps % 100 == 0:
            print(f"{steps} steps, {part * options.minutes:.1f} min, {quality or 0:.2f} dB, deviations {mean.std((0, 2, 3)).min():.2f} to {mean.std((0, 2, 3)).max():.2f}, apart {apart:.4f}", flush=True)
        if steps % 300 == 0:
            torch.save(average, options.folder + ".pt.part")
            os.replace(options.folder + ".pt.part", options.folder + ".pt")
    with torch.no_grad():
        for name, weight in it.named_parameters():
            weight.copy_(average[name])
        it.quant_conv.weight[it.config.latent_channels:] = 0
        it.quant_conv.bias[it.config.latent_channels:] = 2 * math.log(NOISE)
    if older:
        it.register_to_config(scaling_factor=1.0)  # its latents are scaled ones
    it.save_pretrained(options.folder)


if __name__ == "__main__":
    main()
