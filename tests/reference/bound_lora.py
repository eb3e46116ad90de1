"""Makes tests/golden/bound-lora: LoRAs for the UNet of tests/golden/regional, merged, and bound to subjects.

    python tests/reference/bound_lora.py

`expected.merged` is diffusers' own: its loader reads the file, and the network runs on two plain prompts. `expected.bound` is
a plain reference of our formula in double precision, written as hooks on diffusers' layers: `y = W·x + Σ m·s·B(A·x)`,
with the weights of the regions as m, on keys and values of a subject's own prompt and of the negative one in its region.
"""

import copy

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from unet import CONFIGS, GOLDEN, TEXT_WIDTH, RegionMaps, channels_last

RANK, ALPHA = 2, 3.0
# Which LoRA each subject has; the one in front has none.
LORAS = [0, None, 1]


def targets(model):
    """Every matrix and convolution but those that aren't of the picture's tokens."""
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and not name.startswith("time_embedding"):
            yield name, module


def random_lora(model, seed):
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, module in targets(model):
        shape = module.weight.shape
        key = "lora_unet_" + name.replace(".", "_")
        down = torch.randn((RANK, *shape[1:]), generator=generator) / shape[1:].numel() ** 0.5
        up = 0.4 * torch.randn((shape[0], RANK), generator=generator)
        out[f"{key}.lora_down.weight"], out[f"{key}.lora_up.weight"] = down, up.reshape(*up.shape, *[1] * (len(shape) - 2))
        out[f"{key}.alpha"] = torch.tensor(ALPHA)
    return out


def applied(module, lora, name, x):
    """s·B(A·x) of a layer."""
    key = "lora_unet_" + name.replace(".", "_")
    down, up = lora[f"{key}.lora_down.weight"].double(), lora[f"{key}.lora_up.weight"].double()
    if isinstance(module, torch.nn.Conv2d):
        return ALPHA / RANK * F.conv2d(F.conv2d(x, down, None, module.stride, module.padding), up)
    return ALPHA / RANK * F.linear(F.linear(x, down), up)


class BoundProcessor:
    """Both rows mix the outputs of the base and of the regions, whose keys and values have the subject's LoRA."""

    def __init__(self, name, maps, contexts, loras):
        self.name, self.maps, self.contexts, self.loras = name, maps, contexts, loras

    def __call__(self, attention, hidden_states, encoder_hidden_states=None, **_):
        def heads(x):
            return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)

        def attend(query, key, value):
            return F.scaled_dot_product_attention(heads(query), heads(key), heads(value)).transpose(1, 2).flatten(2)

        query = attention.to_q(hidden_states)
        if encoder_hidden_states is None:
            out = attend(query, attention.to_k(hidden_states), attention.to_v(hidden_states))
            return attention.to_out[0](out)
        base, regions, _ = self.maps[hidden_states.shape[1]]

        def of_prompt(layer, end, context, lora):
            out = layer(context)
            return out if lora is None else out + applied(layer, self.loras[lora], f"{self.name}.{end}", context)

        mixed = []
        for row, own in ((0, [encoder_hidden_states[:1]] * len(LORAS)), (1, [it[None] for it in self.contexts])):
            each = [(base, encoder_hidden_states[row:row + 1], None), *zip(regions, own, LORAS)]
            out = 0
            for weights, context, lora in each:
                key = of_prompt(attention.to_k, "to_k", context, lora)
                value = of_prompt(attention.to_v, "to_v", context, lora)
                out = out + weights[:, None] * attend(query[row:row + 1], key, value)
            mixed.append(out)
        return attention.to_out[0](torch.cat(mixed))


def bind(model, maps, loras):
    """Adds to each layer's output what the LoRAs add where their subjects are."""

    def masks(tokens):
        return [sum(weights for weights, of in zip(maps[tokens][1], LORAS) if of == lora) for lora in range(len(loras))]

    def hook(name):
        def add(module, inputs, output):
            x, = inputs
            image = isinstance(module, torch.nn.Conv2d)
            shape = output.shape[-2:] if image else (output.shape[1], 1)
            for lora, mask in zip(loras, masks(shape[0] * shape[1])):
                output = output + mask.reshape(shape) * applied(module, lora, name, x)
            return output

        return add

    for name, module in targets(model):
        if not any(end in name for end in ("time_emb_proj", "attn2.to_k", "attn2.to_v")):
            module.register_forward_hook(hook(name))

    # A block's shift goes to all pixels; what a LoRA adds to it goes where its subjects are, behind the first convolution.
    for name, block in model.named_modules():
        if type(block).__name__ == "ResnetBlock2D":

            def remember(block, inputs):
                block.told = block.nonlinearity(inputs[1])

            def shift(block, name):
                def add(_module, _inputs, output):
                    height, width = output.shape[-2:]
                    for lora, mask in zip(loras, masks(height * width)):
                        delta = applied(block.time_emb_proj, lora, f"{name}.time_emb_proj", block.told)
                        output = output + mask.reshape(height, width) * delta[:, :, None, None]
                    return output

                return add

            block.register_forward_pre_hook(remember)
            block.conv1.register_forward_hook(shift(block, name))


def main():
    torch.set_num_threads(1)
    folder = GOLDEN / "bound-lora"
    folder.mkdir(exist_ok=True)
    tensors = load_file(GOLDEN / "regional" / "regional.safetensors")
    model = UNet2DConditionModel(norm_num_groups=4, cross_attention_dim=TEXT_WIDTH, **CONFIGS["two_layers"]).eval()
    names = set(model.state_dict())
    model.load_state_dict({name: it.float() for name, it in tensors.items() if name in names})
    loras = [{key: it.half() for key, it in random_lora(model, seed).items()} for seed in (31, 32)]
    for number, lora in enumerate(loras):
        save_file({key: it.contiguous() for key, it in lora.items()}, folder / f"{number}.safetensors")

    latents = tensors["input.latents"].permute(0, 3, 1, 2).double()
    contexts, regions = tensors["input.contexts"].double(), tensors["input.regions"].double()
    expected = {}
    for number in range(len(loras)):
        merged = copy.deepcopy(model)
        # Its loader of kohya's names is the pipeline's.
        pipe = StableDiffusionPipeline(
            vae=None, text_encoder=None, tokenizer=None, unet=merged, scheduler=None, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False)
        pipe.load_lora_weights({key: it.float() for key, it in loras[number].items()}, adapter_name="it")
        merged.double()
        with torch.no_grad():
            expected[f"expected.merged.{number}"] = channels_last(merged(latents, 421, contexts).sample)

    counted = RegionMaps()
    maps = {height * width: counted.on(height, width) for height, width in [(12, 20), (6, 10), (3, 5)]}
    model.double()
    bind(model, maps, loras)
    model.set_attn_processor({name: BoundProcessor(name.removesuffix(".processor"), maps, regions, loras) for name in model.attn_processors})
    with torch.no_grad():
        expected["expected.bound"] = channels_last(model(latents, 421, contexts).sample)
    save_file(expected, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
