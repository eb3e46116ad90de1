"""How far diffusers itself is from f32 when the UNets of `tests/golden/unet` compute in bf16: `bf16.json` there.

Their weights are random, and some of them magnify what is rounded as no trained network does; so ours are held against these.
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "unet"
NAMES = ["two_layers", "linear_projection", "uncommon", "one_block", "sdxl", "inpainting"]


@torch.no_grad()
def error(name):
    """The relative error of the whole output."""
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    unet = UNet2DConditionModel.from_config(json.loads((GOLDEN / f"{name}.json").read_text()))
    weights = {key: it.float() for key, it in tensors.items() if not key.startswith(("input.", "expected."))}
    unet.load_state_dict(weights)
    given = lambda key, dtype: tensors[f"input.{key}"].to(dtype)

    def sample(dtype):
        added = None
        if "input.pooled" in tensors:
            added = {"text_embeds": given("pooled", dtype), "time_ids": given("time_ids", dtype)}
        latents, timestep = given("latents", dtype).permute(0, 3, 1, 2), tensors["input.timestep"][0]
        out = unet.to(dtype)(latents, timestep, encoder_hidden_states=given("contexts", dtype), added_cond_kwargs=added)
        return out.sample.float()

    exact = sample(torch.float32)
    return ((sample(torch.bfloat16) - exact).norm() / exact.norm()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    errors = {name: round(error(name), 4) for name in NAMES}
    (GOLDEN / "bf16.json").write_text(json.dumps(errors, indent=2) + "\n")
