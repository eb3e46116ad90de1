"""Makes tests/golden/vae: random autoencoders, latents and pictures, and what they make of one another.

    python tests/reference/vae.py

What is expected comes from diffusers' AutoencoderKL in double precision, so that the tests measure
our rounding and not the reference's. All activations are written channels-last.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "vae"
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def randomise(model, generator):
    """Every weight and bias matters: none is zero, no scale is one."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            weight.data = 1 + 0.3 * noise
        elif weight.dim() == 1:
            weight.data = 0.2 * noise
        else:
            weight.data = 1.5 * noise / weight[0].numel() ** 0.5


def channels_last(tensor):
    return tensor.permute(0, 2, 3, 1).float().contiguous()


def encoded_and_tiled(model, generator, scale):
    """What the encoder makes of a picture, and both halves in tiles of four latents."""
    draw = lambda channels, height, width: torch.randn((1, channels, height, width), generator=generator)
    picture, wide_picture = draw(3, 24, 32).clamp(-1, 1), draw(3, 56, 40).clamp(-1, 1)
    wide_latents = draw(4, 5, 7)
    with torch.no_grad():
        encoded = model.encode(picture.double()).latent_dist.mode() * scale
        model.enable_tiling()
        model.tile_latent_min_size, model.tile_sample_min_size = 4, 32
        tiled_encoded = model.encode(wide_picture.double()).latent_dist.mode() * scale
        tiled_image = model.decode(wide_latents.double() / scale).sample
    named = {"picture": picture, "encoded": encoded, "wide_picture": wide_picture, "tiled_encoded": tiled_encoded,
             "wide_latents": wide_latents, "tiled_image": tiled_image}
    return {name: channels_last(tensor) for name, tensor in named.items()}


def make(name, size, config, old_names=False, whole=False, quiet=False):
    torch.manual_seed(8)
    generator = torch.Generator().manual_seed(8)
    blocks = len(config["block_out_channels"])
    model = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * blocks, up_block_types=["UpDecoderBlock2D"] * blocks, **config).eval()
    randomise(model, generator)
    if quiet:
        # Variances so small that the eps of the first norm shows.
        model.decoder.conv_in.weight.data *= 0.005
        model.decoder.conv_in.bias.data *= 0.005
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    file = folder / "diffusion_pytorch_model.safetensors"
    if not whole:
        weights = {key: value for key, value in load_file(file).items() if not key.startswith(("encoder.", "quant_conv."))}
        if old_names:
            # The names of diffusers before 0.18, which the files of Stable Diffusion 1.x still have.
            for new, old in OLD_NAMES.items():
                weights = {key.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): value for key, value in weights.items()}
            assert any("proj_attn" in key for key in weights)
        save_file(weights, file, metadata={"format": "pt"})

    model.double()
    expected = {}

    def keep(key):
        return lambda _module, _inputs, output: expected.__setitem__(key, channels_last(output))

    decoder = model.decoder
    decoder.conv_in.register_forward_pre_hook(lambda _module, inputs: expected.__setitem__("post_quant", channels_last(inputs[0])))
    decoder.conv_in.register_forward_hook(keep("conv_in"))
    decoder.mid_block.register_forward_hook(keep("mid"))
    for index, block in enumerate(decoder.up_blocks):
        block.register_forward_hook(keep(f"up.{index}"))
    # In the UNet's space, as the sampler leaves them.
    latents = torch.randn((1, config["latent_channels"], *size), generator=generator)
    with torch.no_grad():
        image = model.decode(latents.double() / config["scaling_factor"] + (config.get("shift_factor") or 0)).sample
    recorded = {"latents": channels_last(latents), **expected, "image": channels_last(image)}
    if whole:
        recorded |= encoded_and_tiled(model, generator, config["scaling_factor"])
    save_file(recorded, folder / "expected.safetensors")
    config_file = folder / "config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()), indent=2) + "\n")


def main():
    torch.set_num_threads(1)
    # As Stable Diffusion 1.x: four blocks, all parts, and the encoder, which a decoder must pass over.
    make("whole", (3, 5), dict(block_out_channels=[8, 12, 16, 16], layers_per_block=1, norm_num_groups=4, latent_channels=4, scaling_factor=0.18215), whole=True)
    make("old_names", (5, 4), dict(block_out_channels=[12, 20], layers_per_block=2, norm_num_groups=2, latent_channels=4, scaling_factor=0.5, use_post_quant_conv=False, use_quant_conv=False), old_names=True)
    make("no_attention", (4, 6), dict(block_out_channels=[6, 12, 18], layers_per_block=1, norm_num_groups=3, latent_channels=8, scaling_factor=1.5305, shift_factor=0.6, mid_block_add_attention=False), quiet=True)


if __name__ == "__main__":
    main()
