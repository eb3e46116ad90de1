"""How the planner's matrices are stored, and what of a weight is left then: trained with, so that little is lost."""
from contextlib import contextmanager

import torch
from gguf import GGMLQuantizationType as Kind

# The large matrices bear less precision than the small ones; the embedding is also the output.
FORMATS = {"q_proj": Kind.Q5_0, "k_proj": Kind.Q5_0, "v_proj": Kind.Q5_0, "o_proj": Kind.Q5_0, "gate_proj": Kind.Q4_0,
           "up_proj": Kind.Q4_0, "down_proj": Kind.Q4_0, "embed_tokens": Kind.Q5_0}
LEVELS, BLOCK = {Kind.Q4_0: 16, Kind.Q5_0: 32}, 32


def kind_of(name):
    """The format of the parameter `name`, or None for a vector, which stays f32."""
    return FORMATS.get(name.removesuffix(".weight").split(".")[-1])


def rounded(weight, levels):
    """`weight` as Q4_0 (16 levels) or Q5_0 (32) gives it back: ggml's `quantize_row_q4_0_ref`, 32 weights to a scale."""
    blocks, half = weight.reshape(-1, BLOCK), levels // 2
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = largest / -half
    inverse = torch.where(scale == 0, 0, 1 / scale)
    level = (blocks * inverse + (half + .5)).floor_().clamp_(0, levels - 1)
    return ((level - half) * scale.half().float()).reshape(weight.shape)


@contextmanager
def stored(model):
    """Inside, the matrices are what their files would hold; gradients go through to the weights (straight-through)."""
    kept = [(parameter, parameter.data) for name, parameter in model.named_parameters() if kind_of(name)]
    for name, parameter in model.named_parameters():
        if kind_of(name):
            parameter.data = rounded(parameter.data, LEVELS[kind_of(name)])
    try:
        yield
    finally:
        for parameter, weight in kept:
            parameter.data = weight
