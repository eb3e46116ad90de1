"""Attention of a UNet in training: by regions as Troupe paints (DESIGN: "Regions, exactly").

PyTorch's fused attention is four times slower than plain products here, so scores are written out, a few pictures at a
time so that they stay in the cache.
"""
import torch

from muon import HALF

CACHED = 4_000_000  # scores at once


class Conditioning:
    """What a pass is told besides the contexts; one object shared by all attention layers."""

    def __init__(self):
        self.grids = {}  # tokens: Grid
        self.contexts = None  # (regions, 77, width)
        self.spans = None  # (pictures, people, 77): which tokens of the caption describe whom
        self.losses = []


class Grid:
    """Regions at one resolution.

    base: (pictures, tokens, 1), what the caption's attention weighs; index, weights: (regions, most), flat tokens over all
    pictures and what they weigh, 0 where padded; hidden: (pictures, 1, tokens, tokens), far below 0 where isolation hides, or
    None; masks: (pictures, people, tokens), which part of a token shows whom.
    """

    def __init__(self, base, index, weights, hidden, masks):
        self.base, self.index, self.weights, self.hidden, self.masks = base, index, weights, hidden, masks


def grid(regions, isolated, masks, spoken, base_ratio):
    """A `Grid` from each picture's region weights (regions, height, width), or None where it is painted plainly."""
    pictures, tokens = len(regions), masks[0].shape[-1] * masks[0].shape[-2]
    base, index, weights = torch.ones(pictures, tokens, 1), [], []
    hidden = None
    for picture, it in enumerate(regions):
        if it is None:
            continue
        flat = it.flatten(1)
        base[picture, :, 0] -= (1 - base_ratio) * flat.sum(0)
        for region in flat:
            at = (.02 < region).nonzero()[:, 0]
            index.append(at + picture * tokens)
            weights.append((1 - base_ratio) * region[at])
        if isolated[picture]:
            owner = torch.where(.5 < flat, torch.arange(1, len(flat) + 1)[:, None], 0).sum(0)
            if hidden is None:
                hidden = torch.zeros(pictures, 1, tokens, tokens, dtype=HALF)
            hidden[picture, 0].masked_fill_((owner[:, None] != owner) & (owner[:, None] != 0) & (owner != 0), -1e4)
    pad = torch.nn.utils.rnn.pad_sequence
    shown = None
    if spoken is not None:
        shown = torch.zeros(pictures, spoken.shape[1], tokens)
        for picture, it in enumerate(masks):
            if regions[picture] is None:
                shown[picture, :len(it)] = it.flatten(1)[:spoken.shape[1]]
    return Grid(base, pad(index, True) if index else None, pad(weights, True) if index else None, hidden, shown)


def shares(query, key, hidden=None):
    """What each query listens to, (pictures, heads, tokens, keys). Autocast by itself turns the scores to f32 and back."""
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -.5) @ key.transpose(-1, -2)
        if hidden is not None:
            scores += hidden
        return scores.softmax(-1)


def plain(query, key, value, hidden=None):
    """Softmax attention over heads, (pictures, heads, tokens, width)."""
    step = max(1, CACHED // (query.shape[1] * query.shape[2] * key.shape[2]))
    parts = [query.split(step), key.split(step), value.split(step)]
    hidden = [None] * len(parts[0]) if hidden is None else hidden.split(step)
    out = [shares(q, k, h) @ v for q, k, v, h in zip(*parts, hidden)]
    return torch.cat(out) if 1 < len(out) else out[0]


class Processor:
    """In diffusers' place for attention processors."""

    def __init__(self, conditioning):
        self.conditioning = conditioning

    def __call__(self, layer, x, encoder_hidden_states=None, attention_mask=None, **_):
        heads = lambda it: it.view(it.shape[0], it.shape[1], layer.heads, -1).transpose(1, 2)
        joined = lambda it: it.transpose(1, 2).flatten(2)
        now = self.conditioning.grids.get(x.shape[1])
        query = layer.to_q(x)
        if encoder_hidden_states is None:
            out = joined(plain(heads(query), heads(layer.to_k(x)), heads(layer.to_v(x)), now and now.hidden))
        else:
            out = self.crossed(layer, query, encoder_hidden_states, now, heads, joined)
        return layer.to_out[1](layer.to_out[0](out))

    def crossed(self, layer, query, context, now, heads, joined):
        """The caption's attention and each region's, mixed before the last projection."""
        key, value = heads(layer.to_k(context)), heads(layer.to_v(context))
        if now is not None and now.masks is not None:
            listened = shares(heads(query), key)
            out = joined(listened @ value)
            self.conditioning.losses.append(misplaced(listened, now.masks, self.conditioning.spans))
        else:
            out = joined(plain(heads(query), key, value))
        if now is None or now.index is None:
            return out
        contexts = self.conditioning.contexts
        flat = query.flatten(0, 1)
        own = joined(plain(heads(flat[now.index]), heads(layer.to_k(contexts)), heads(layer.to_v(contexts))))
        mixed = (out * now.base).flatten(0, 1).to(out.dtype)
        mixed = mixed.index_add(0, now.index.flatten(), (own * now.weights[..., None]).flatten(0, 1).to(out.dtype))
        return mixed.view_as(out)


def misplaced(listened, masks, spans):
    """TokenCompose's token loss (arXiv 2312.03626, eq. 3): how much of a described person's words falls beside the person."""
    seen = listened.float().mean(1)  # (pictures, tokens, 77)
    inside = masks @ seen  # (pictures, people, 77)
    part = inside / seen.sum(1)[:, None].clamp(min=1e-6)
    return ((1 - part) ** 2 * spans).sum() / spans.sum().clamp(min=1)
