"""Batches of crops for the judges, and what a picture suffers on its way through a painter."""
import torch
import torch.nn.functional as F

from crop import HEIGHT, WIDTH


class Crops:
    """The crops of some files of `crops.py`, all in memory."""

    def __init__(self, paths):
        parts = [torch.load(it) for it in paths]
        for name in ("crops", "front", "behind", "labels", "heights", "through"):
            setattr(self, name, torch.cat([it[name] for it in parts]))

    def __len__(self):
        return len(self.crops)

    def inputs(self, chosen):
        """`(crops, 5, 144, 96)`: colours from -1 to 1, and how much the boxes in front and behind cover."""
        colours = self.crops[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.cat([colours, covered(self.front[chosen])[:, None], covered(self.behind[chosen])[:, None]], 1)


def covered(boxes):
    """As `crop.covered`, for `(crops, boxes, 4)`."""
    def part(start, end, cells):
        at = torch.arange(cells)
        return (torch.minimum(end[..., None] * cells, at + 1) - torch.maximum(start[..., None] * cells, at)).clamp(0, 1)
    left, top, right, bottom = boxes.float().unbind(-1)
    return (part(top, bottom, HEIGHT)[..., :, None] * part(left, right, WIDTH)[..., None, :]).amax(1)


def moved(x, generator):
    """Each crop mirrored or not, and scaled and moved by a few hundredths of its sides, as boxes never fit twice alike."""
    count = len(x)
    uniform = lambda: torch.rand(count, generator=generator)
    mirrored = 1 - 2 * (uniform() < .5).float()
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = mirrored * (.94 + .12 * uniform()), .94 + .12 * uniform()
    affine[:, 0, 2], affine[:, 1, 2] = .08 * uniform() - .04, .08 * uniform() - .04
    return F.grid_sample(x, F.affine_grid(affine, list(x.shape), False), "bilinear", "zeros", False)


def degraded(x, generator):
    """Blur, noise fine and coarse, and shifts of colour too small to make one skin tone another."""
    uniform = lambda *shape: torch.rand(shape, generator=generator)
    normal = lambda *shape: torch.randn(shape, generator=generator)
    colours, count = x[:, :3], len(x)
    quarter = count // 4
    for part in range(2):  # half of the crops lose detail
        some = slice(part * quarter, (part + 1) * quarter)
        factor = 1 + .8 * float(uniform(1))
        small = F.interpolate(colours[some], scale_factor=1 / factor, mode="bilinear", antialias=True)
        colours[some] = F.interpolate(small, (HEIGHT, WIDTH), mode="bilinear")
    each = lambda low, high: low + (high - low) * uniform(count, 1, 1, 1)
    noisy = (uniform(count, 1, 1, 1) < .4) * each(0, .07)
    coarse = (uniform(count, 1, 1, 1) < .3) * each(0, .06)
    blotches = F.interpolate(normal(count, 3, HEIGHT // 8, WIDTH // 8), (HEIGHT, WIDTH), mode="bilinear")
    grey = colours.mean(1, keepdim=True)
    colours = grey + (colours - grey) * each(.88, 1.12)
    colours = colours * (each(.95, 1.05) + .02 * normal(count, 3, 1, 1)) + .02 * normal(count, 3, 1, 1)
    colours = colours + noisy * normal(*colours.shape) + coarse * blotches
    return torch.cat([colours.clamp(-1, 1), x[:, 3:]], 1)
