"""Makes tests/golden/unet and tests/golden/regional: tiny random UNets, and what each block makes of noise.

    python tests/reference/unet.py

What is expected comes from diffusers' UNet2DConditionModel in double precision, so that the tests
measure our rounding and not the reference's. All activations are written channels-last. The weights
are rounded to half precision before anything is computed, which keeps the files small.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

CONFIGS = {
    # As Stable Diffusion 1.x: two layers a block, convolutions around the transformers.
    "two_layers": dict(
        block_out_channels=[8, 16, 16], layers_per_block=2, attention_head_dim=2,
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    ),
    # As Stable Diffusion 2.x: linear projections and a list of heads.
    "linear_projection": dict(
        block_out_channels=[8, 12, 16], layers_per_block=1, attention_head_dim=[1, 3, 4],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        use_linear_projection=True,
    ),
    # What no Stable Diffusion has, but the configuration can say.
    "uncommon": dict(
        block_out_channels=[12, 8], layers_per_block=[1, 2], attention_head_dim=[3, 2],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        transformer_layers_per_block=2, flip_sin_to_cos=False, freq_shift=1,
        downsample_padding=0, norm_eps=1e-3, in_channels=5, out_channels=3,
    ),
    "one_block": dict(
        block_out_channels=[8], layers_per_block=1, attention_head_dim=4,
        down_block_types=["CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D"],
    ),
    # As SDXL: ten transformer blocks at the smallest level, none at the largest, pooled text and sizes beside the timestep.
    "sdxl": dict(
        block_out_channels=[4, 8, 8], layers_per_block=1, attention_head_dim=[1, 2, 4], transformer_layers_per_block=[1, 2, 10],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=6,
        projection_class_embeddings_input_dim=46,
    ),
    # As the inpainting models: noise, mask and masked picture go in, noise comes out.
    "inpainting": dict(
        block_out_channels=[8], layers_per_block=1, attention_head_dim=2, in_channels=9,
        down_block_types=["CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D"],
    ),
}
# Height and width of the latents; odd ones are upsampled to the size of the skip connection.
SIZES = {"two_layers": (5, 7), "linear_projection": (4, 8), "uncommon": (6, 7), "one_block": (3, 2), "sdxl": (6, 5), "inpainting": (3, 2)}

# Layers in front of norms; with faint outputs an epsilon that is wrong shows.
FAINT = ["conv_in", "conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out"]

TEXT_WIDTH = 16
REGIONS = 3
BASE_RATIO = 0.2
# Left, top, right, bottom in sixtieths of the sides, and depth; the second box lies over the first.
BOXES = [(0, 13, 32, 60, 0), (23, 11, 44, 49, 2), (44, 6, 58, 60, 1)]


def randomise(model, generator, small):
    """Every weight and bias matters: none is zero, no scale is one. `small` makes the input of the norms faint."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            noise = 1 + 0.3 * noise
        elif weight.dim() == 1:
            noise = 0.2 * noise
        else:
            noise = 1.5 * noise / weight[0].numel() ** 0.5
        faint = any(part in name for part in FAINT)
        weight.data = (0.003 * noise if faint and small else noise).half().float()


def channels_last(tensor):
    return tensor.permute(0, 2, 3, 1).float().contiguous()


def make_unet(config, generator, small=False):
    model = UNet2DConditionModel(norm_num_groups=4, cross_attention_dim=TEXT_WIDTH, **config).eval()
    randomise(model, generator, small)
    return model


def half_weights(model):
    return {name: weight.half().contiguous() for name, weight in model.state_dict().items()}


def observe(model):
    """Records what each block puts out."""
    outputs = {}

    def keep(key):
        def hook(_module, _inputs, output):
            outputs[key] = channels_last(output[0] if isinstance(output, tuple) else output)

        return hook

    model.conv_in.register_forward_hook(keep("conv_in"))
    model.mid_block.register_forward_hook(keep("mid"))
    for side, blocks in (("down", model.down_blocks), ("up", model.up_blocks)):
        for index, block in enumerate(blocks):
            block.register_forward_hook(keep(f"{side}.{index}"))
    return outputs


def write_config(model, path):
    config = {key: value for key, value in model.config.items() if key != "_use_default_values"}
    config = {"_class_name": "UNet2DConditionModel", **config}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_blocks(name, config):
    generator = torch.Generator().manual_seed(8)
    model = make_unet(config, generator, small=name == "one_block")
    folder = GOLDEN / "unet"
    write_config(model, folder / f"{name}.json")
    weights = half_weights(model)
    latents = torch.randn((2, model.config.in_channels, *SIZES[name]), generator=generator)
    contexts = torch.randn((2, 6, TEXT_WIDTH), generator=generator)
    timestep = 613
    inputs = {"input.latents": channels_last(latents), "input.contexts": contexts}
    added = {}
    if model.config.addition_embed_type:
        inputs["input.pooled"] = torch.randn((2, 10), generator=generator)
        inputs["input.time_ids"] = torch.tensor([[48.0, 40, 0, 0, 48, 40], [64, 40, 8, 3, 48, 40]])
        added = {"text_embeds": inputs["input.pooled"].double(), "time_ids": inputs["input.time_ids"].double()}
    model.double()
    outputs = observe(model)
    with torch.no_grad():
        sample = model(latents.double(), timestep, contexts.double(), added_cond_kwargs=added).sample
    expected = {f"expected.{key}": value for key, value in outputs.items()}
    inputs["input.timestep"] = torch.tensor([float(timestep)])
    save_file({**weights, **inputs, **expected, "expected.sample": channels_last(sample)}, folder / f"{name}.safetensors")


class RegionMaps:
    """The weights and owners of a grid, by counting squares that no edge of a box or cell crosses."""

    def __init__(self):
        side = torch.arange(60)
        self.front = torch.full((60, 60), -1)
        for index, (left, top, right, bottom, _depth) in sorted(enumerate(BOXES), key=lambda it: it[1][4]):
            inside = ((top <= side) & (side < bottom))[:, None] & ((left <= side) & (side < right))[None]
            self.front[inside] = index

    def on(self, height, width):
        assert 60 % height == 0 and 60 % width == 0
        cells = lambda mask: mask.double().reshape(height, 60 // height, width, 60 // width).mean((1, 3)).flatten()
        visible = torch.stack([cells(self.front == index) for index in range(REGIONS)])
        # A cell of which a box covers exactly half would make the owner a matter of rounding.
        assert (visible - 0.5).abs().min() > 1e-6, (height, width)
        regions = (1 - BASE_RATIO) * visible
        owner = torch.full((height * width,), -1)
        for index in range(REGIONS):
            owner[visible[index] > 0.5] = index
        return 1 - regions.sum(0), regions, owner


class RegionalProcessor:
    """Row 0 of the batch is unconditional; row 1 mixes the outputs of the base and of the regions.

    Or, with `scores`, attends to the tokens of all their prompts at once, to whose scores the logarithms of the weights are
    added.
    """

    def __init__(self, maps, contexts, isolate, scores=False):
        self.maps, self.contexts, self.isolate, self.scores = maps, contexts, isolate, scores

    def __call__(self, attention, hidden_states, encoder_hidden_states=None, **_):
        def heads(x):
            return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)

        tokens = hidden_states.shape[1]
        base, regions, owner = self.maps[tokens]
        query = attention.to_q(hidden_states)
        if encoder_hidden_states is None:
            mine, other = owner[:, None], owner[None]
            allowed = (mine == other) | (mine < 0) | (other < 0)
            key, value = attention.to_k(hidden_states), attention.to_v(hidden_states)
            mask = allowed if self.isolate else None
            out = F.scaled_dot_product_attention(heads(query), heads(key), heads(value), attn_mask=mask)
            out = out.transpose(1, 2).flatten(2)
        else:

            def attend(query, context):
                key, value = attention.to_k(context), attention.to_v(context)
                out = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
                return out.transpose(1, 2).flatten(2)

            def attend_at_once(query, contexts, weights):
                key, value = attention.to_k(contexts), attention.to_v(contexts)  # (prompts, tokens, channels)
                added = weights.log().T.repeat_interleave(contexts.shape[1], 1)  # (queries, prompts · tokens)
                everything = lambda x: heads(x.flatten(0, 1)[None])
                out = F.scaled_dot_product_attention(heads(query), everything(key), everything(value), attn_mask=added)
                return out.transpose(1, 2).flatten(2)

            unconditional = attend(query[:1], encoder_hidden_states[:1])
            if self.scores:
                contexts = torch.cat([encoder_hidden_states[1:], self.contexts])
                weights = torch.cat([base[None], regions])
                out = torch.cat([unconditional, attend_at_once(query[1:], contexts, weights)])
                return attention.to_out[0](out)
            conditional = base[:, None] * attend(query[1:], encoder_hidden_states[1:])
            for weights, context in zip(regions, self.contexts):
                conditional = conditional + weights[:, None] * attend(query[1:], context[None])
            out = torch.cat([unconditional, conditional])
        return attention.to_out[0](out)


def make_regional():
    generator = torch.Generator().manual_seed(9)
    model = make_unet(CONFIGS["two_layers"], generator)
    folder = GOLDEN / "regional"
    write_config(model, folder / "config.json")
    tensors = half_weights(model)
    latents = torch.randn((2, 4, 12, 20), generator=generator)
    contexts = torch.randn((2, 6, TEXT_WIDTH), generator=generator)
    regions = torch.randn((REGIONS, 6, TEXT_WIDTH), generator=generator)
    tensors |= {"input.latents": channels_last(latents), "input.contexts": contexts, "input.regions": regions}
    tensors["input.boxes"] = torch.tensor(BOXES).float()
    counted = RegionMaps()
    grids = [(12, 20), (6, 10), (3, 5)]
    maps = {height * width: counted.on(height, width) for height, width in grids}
    for height, width in grids:
        base, weights, owner = maps[height * width]
        key = f"expected.map.{height}x{width}"
        tensors |= {f"{key}.base": base.float(), f"{key}.regions": weights.float(), f"{key}.owner": owner}
    model.double()
    for name, *how in (("free", False), ("isolated", True), ("scores", False, True)):
        model.set_attn_processor(RegionalProcessor(maps, regions.double(), *how))
        with torch.no_grad():
            sample = model(latents.double(), 421, contexts.double()).sample
        tensors[f"expected.{name}"] = channels_last(sample)
    save_file(tensors, folder / "regional.safetensors")


def main():
    torch.set_num_threads(1)
    for name, config in CONFIGS.items():
        make_blocks(name, config)
    make_regional()


if __name__ == "__main__":
    main()
