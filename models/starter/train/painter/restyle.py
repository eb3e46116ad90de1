"""Drawn shards in another style: `python restyle.py night|ink DRAWN OUT SHARDS…`; what is known of the scenes stays true."""
import os
import sys

import numpy as np
import torch
from PIL import Image, ImageFilter

# How much of red, green and blue a night leaves, and how far apart its stars are, in pixels.
NIGHT, STARS = (.4, .46, .74), 28
# Of a line: how wide, in pixels, how soon it is black; and how much colour paper takes.
LINE, BLACK, WASH = 1.1, 9., .45


def night(image, nobody, r):
    """Blue and dark, with stars in the upper half where there is nobody."""
    pixels = np.asarray(image, dtype=np.float32) * NIGHT
    height, width = nobody.shape
    for _ in range(width * height // (2 * STARS * STARS)):
        x, y = r.integers(width), r.integers(height // 2)
        if nobody[y, x]:
            pixels[y:y + 2, x:x + 2] = r.uniform(150, 255)
    return pixels


def ink(image, _nobody, _r):
    """Black lines where brightness changes, on paper that takes a little of the colours."""
    grey = image.convert("L")
    fine, coarse = (np.asarray(grey.filter(ImageFilter.GaussianBlur(it)), dtype=np.float32) for it in (LINE, 2 * LINE))
    line = np.clip(1 - BLACK * np.maximum(0, coarse - fine) / 255, 0, 1)[..., None]
    return line * (255 - WASH * (255 - np.asarray(image, dtype=np.float32)))


def restyled(shard, style, seed):
    """A shard with all pictures in the style."""
    r = np.random.default_rng(seed)
    for kept in shard.values():
        pictures = []
        for pixels, masks in zip(kept["images"].numpy(), kept["masks"]):
            shown = np.stack([it.numpy() for it in masks]).max(0) if masks else np.zeros([side // 8 for side in pixels.shape[:2]])
            nobody = np.kron(shown, np.ones((8, 8))) == 0
            made = style(Image.fromarray(pixels), nobody, r)
            pictures.append(torch.from_numpy(made.round().clip(0, 255).astype("uint8")))
        kept["images"] = torch.stack(pictures)
    return shard


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.makedirs(sys.argv[3], exist_ok=True)
    for name in sys.argv[4:]:
        shard = restyled(torch.load(f"{sys.argv[2]}/{name}.pt"), {"night": night, "ink": ink}[sys.argv[1]], int(name))
        torch.save(shard, f"{sys.argv[3]}/{name}.pt")
