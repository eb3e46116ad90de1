"""PSNR of an autoencoder over 500 held-out scenes, and a sheet to look at: `python measure_autoencoder.py FOLDER SHEET.png`."""
import math
import sys

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from scenes import CANVASES as canvases
from scenes import scene

SCENES, FIRST = 500, 800_000_000
# Not the small canvas, which is only trained on.
CANVASES = [it[:2] for it in canvases if 192 <= it[0]]


@torch.no_grad()
def main(folder, sheet):
    network = AutoencoderKL.from_pretrained(folder).float().eval().to(memory_format=torch.channels_last)
    errors, shown = [], []
    for seed in range(FIRST, FIRST + SCENES):
        image = np.asarray(scene(seed, CANVASES[seed % len(CANVASES)]).image)
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        back = network.decode(network.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mean).sample
        back = ((back[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round()
        errors.append(((back - torch.from_numpy(image.copy())) ** 2).mean().item())
        if len(shown) < 12 and image.shape[1] == 192:
            shown.append(np.concatenate([image, back.numpy().astype("uint8")], 1))
    mean = 10 * math.log10(255**2 / (sum(errors) / len(errors)))
    each = [10 * math.log10(255**2 / it) for it in errors]
    print(f"{mean:.2f} dB over all pixels, {sum(each) / len(each):.2f} dB in the mean of {len(each)} scenes, least {min(each):.2f}")
    rows = [np.concatenate(shown[at:at + 3], 1) for at in range(0, 12, 3)]
    Image.fromarray(np.concatenate(rows)).save(sheet)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:3])
