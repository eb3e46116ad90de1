"""Makes tests/golden/sampler/sampler.safetensors: diffusers' schedulers around a network of one line.

The loop is the one of StableDiffusionPipeline: unit noise times `init_noise_sigma`, then for each
timestep `scale_model_input`, the network, `step`. The network is elementwise, so that any
implementation can have exactly the same one; it isn't linear, and it depends on the timestep.

    python tests/reference/sampler.py
"""

import json
import math
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "sampler"
SHAPE = (1, 2, 3, 4)
SPACINGS = ["trailing", "leading", "linspace"]  # One configuration each: trailing.json, …
STEPS = [1, 2, 5, 7, 20]  # 7 doesn't divide 1000.
SCHEDULES_ONLY = [13, 50]  # More steps, of which the timesteps and sigmas are kept and no latents.
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
METHODS = [
    ("ddim", "normal"),
    ("euler", "normal"),
    ("euler", "karras"),
    ("euler_a", "normal"),
    ("euler_a", "karras"),
    ("dpm++2m", "normal"),
    ("dpm++2m", "karras"),
]


def network(x, timestep):
    return 0.7 * torch.tanh(x) + 0.5 * math.sin(float(timestep) / 1000) * x


def make_scheduler(sampler, schedule, config, steps):
    karras = schedule == "karras"
    if sampler == "ddim":
        scheduler = DDIMScheduler.from_config(config)
    elif sampler == "euler":
        scheduler = EulerDiscreteScheduler.from_config(config, use_karras_sigmas=karras)
    elif sampler == "euler_a":
        scheduler = EulerAncestralDiscreteScheduler.from_config(config)
    elif sampler == "dpm++2m":
        scheduler = DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=karras)
        assert scheduler.config.algorithm_type == "dpmsolver++"
        assert scheduler.config.solver_order == 2
        assert scheduler.config.solver_type == "midpoint"
        assert scheduler.config.final_sigmas_type == "zero"
    scheduler.set_timesteps(steps)
    if sampler == "euler_a" and karras:
        # The class has no such switch; it gets the noise levels of its deterministic sibling.
        euler = make_scheduler("euler", schedule, config, steps)
        scheduler.sigmas, scheduler.timesteps = euler.sigmas, euler.timesteps
    assert len(scheduler.timesteps) == steps
    return scheduler


def sample(scheduler, noise, step_noise):
    """The final latents, and the latents that enter each step (before `scale_model_input`)."""
    draws = iter(step_noise)
    scheduling_euler_ancestral_discrete.randn_tensor = lambda *_, **__: next(draws)
    latents = noise * scheduler.init_noise_sigma
    entering = []
    for timestep in scheduler.timesteps:
        entering.append(latents)
        output = network(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(output, timestep, latents).prev_sample
    return latents, torch.stack(entering)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(8)
    noise = torch.randn(SHAPE)
    step_noise = torch.randn((max(STEPS), *SHAPE))
    tensors = {"noise": noise, "step_noise": step_noise}
    for spacing in SPACINGS:
        config = json.loads((GOLDEN / f"{spacing}.json").read_text())
        tensors[f"{spacing}.alphas_cumprod"] = DDIMScheduler.from_config(config).alphas_cumprod
        for sampler, schedule in METHODS:
            for steps in STEPS + SCHEDULES_ONLY:
                key = f"{sampler}.{schedule}.{spacing}.{steps}"
                scheduler = make_scheduler(sampler, schedule, config, steps)
                tensors[f"{key}.timesteps"] = scheduler.timesteps.float()
                if sampler != "ddim":
                    tensors[f"{key}.sigmas"] = scheduler.sigmas
                if steps in SCHEDULES_ONLY:
                    continue
                for prediction in PREDICTIONS:
                    if sampler == "euler_a" and prediction == "sample":
                        continue  # Not implemented in diffusers.
                    scheduler = make_scheduler(
                        sampler, schedule, config | {"prediction_type": prediction}, steps
                    )
                    latents, entering = sample(scheduler, noise, step_noise)
                    tensors[f"{key}.{prediction}.latents"] = latents
                    if steps == 5 and prediction == "v_prediction":
                        tensors[f"{key}.{prediction}.entering"] = entering
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, GOLDEN / "sampler.safetensors")


if __name__ == "__main__":
    main()
