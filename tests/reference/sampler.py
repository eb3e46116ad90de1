"""Makes the tensors of tests/golden/sampler: diffusers' schedulers around a network of one line.

The loop is the one of StableDiffusionPipeline: unit noise times `init_noise_sigma`, then for each
timestep `scale_model_input`, the network, `step`. The network is elementwise, so that any
implementation can have exactly the same one; it isn't linear, and it depends on the timestep.

The loop runs in double precision, on the noise levels that diffusers rounds to f32: where it holds
latents of 4096, as in the first step of zero terminal SNR, its own f32 would be compared, not ours.

What diffusers doesn't have is computed here from its definition, in double precision:
- the schedules normal, sgm_uniform and simple (`plain_levels`), given to diffusers' solvers;
- DDIM, DDPM and LCM over noise levels instead of timesteps (`plain_sample`).

    python tests/reference/sampler.py
"""

import json
import math
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from diffusers.schedulers import (
    scheduling_ddim,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
    scheduling_euler_discrete,
    scheduling_lcm,
)
from diffusers.utils.torch_utils import randn_tensor
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "sampler"
SHAPE = (1, 2, 2, 2)
SPACINGS = ["trailing", "leading", "linspace"]  # One configuration each: trailing.json, …
STEPS = [1, 2, 4, 7, 20]  # 7 doesn't divide 1000.
SCHEDULES_ONLY = [13, 50]  # More steps, of which the timesteps and sigmas are kept and no latents.
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
DRAWS = ["ddim_eta", "ddpm", "euler_a", "dpm++2m_sde", "lcm"]
ETA = 0.6  # Of DDIM, where it isn't 0.
OF_TIMESTEPS = ["ddim", "ddim_eta", "ddpm", "lcm"]  # They know no sigmas.
CLASSES = {
    "ddim": "DDIMScheduler",
    "ddim_eta": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "lcm": "LCMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpm++2m": "DPMSolverMultistepScheduler",
    "dpm++2m_sde": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
DRAWING = [  # Modules that draw noise themselves.
    scheduling_ddim,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
    scheduling_lcm,
]


class Double:
    """PyTorch for modules that cast to float32: they cast to float64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def network(x, timestep):
    return 0.7 * torch.tanh(x) + 0.5 * math.sin(float(timestep) / 1000) * x


def set_levels(scheduler, sampler, timesteps, sigmas):
    """Gives a scheduler other noise levels than it would choose."""
    timesteps, sigmas = torch.as_tensor(timesteps), torch.as_tensor(sigmas).float()
    if sampler == "heun":  # Visits all but the first twice.
        timesteps = torch.cat([timesteps[:1], timesteps[1:].repeat_interleave(2)])
        sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    scheduler.timesteps, scheduler.sigmas = timesteps, sigmas


def plain_levels(schedule, table, steps):
    """Timesteps and sigmas of the three schedules that ComfyUI and A1111 have and diffusers hasn't.

    normal: evenly in timesteps from the last to 0, both visited. sgm_uniform: one point more, and
    the lowest isn't visited. Between whole timesteps ln σ is linear. simple: every
    (1000 / steps)-th entry of the table, from the end.
    """
    last = len(table) - 1
    if schedule == "simple":
        timesteps = np.array([last - int(x * (len(table) / steps)) for x in range(steps)], float)
    elif schedule == "sgm_uniform":
        timesteps = np.linspace(last, 0, steps + 1)[:-1]
    else:
        timesteps = np.linspace(last, 0, steps)
    sigmas = np.exp(np.interp(timesteps, np.arange(last + 1), np.log(table)))
    return timesteps, np.append(sigmas, 0.0)


def table_of(config):
    alphas_cumprod = diffusers.DDIMScheduler.from_config(config).alphas_cumprod.double().numpy()
    return np.sqrt((1 - alphas_cumprod) / alphas_cumprod)


def make_scheduler(sampler, schedule, config, steps):
    switches = {
        "use_karras_sigmas": schedule == "karras",
        "use_exponential_sigmas": schedule == "exponential",
    }
    if sampler in OF_TIMESTEPS + ["euler_a"]:
        switches = {}
    elif sampler == "dpm++2m_sde":
        switches["algorithm_type"] = "sde-dpmsolver++"
    scheduler = getattr(diffusers, CLASSES[sampler]).from_config(config, **switches)
    if sampler == "dpm++2m":
        assert scheduler.config.algorithm_type == "dpmsolver++"
    if sampler.startswith("dpm++2m"):
        assert scheduler.config.solver_type == "midpoint"
    if sampler.startswith("dpm++2m") or sampler == "unipc":
        assert scheduler.config.solver_order == 2
        assert scheduler.config.final_sigmas_type == "zero"
    scheduler.set_timesteps(steps)
    if schedule not in ["uniform", "karras", "exponential"]:
        set_levels(scheduler, sampler, *plain_levels(schedule, table_of(config), steps))
    elif (sampler == "euler_a" and schedule != "uniform") or (
        sampler == "heun" and config.get("rescale_betas_zero_snr")
    ):
        # The class has no such switch; it gets the noise levels of its plain sibling.
        euler = make_scheduler("euler", schedule, config, steps)
        set_levels(scheduler, sampler, euler.timesteps, euler.sigmas)
    assert len(scheduler.timesteps) == (2 * steps - 1 if sampler == "heun" else steps)
    return scheduler


def sample(sampler, scheduler, noise, step_noise):
    """The final latents, and the latents that enter each step (before `scale_model_input`)."""
    draws = iter(step_noise.double())
    for module in DRAWING:
        module.randn_tensor = lambda *_, **__: next(draws)
    for module in [*DRAWING, scheduling_euler_discrete]:
        module.torch = Double()
    for levels in ["sigmas", "alphas_cumprod", "final_alpha_cumprod"]:
        if hasattr(scheduler, levels):
            setattr(scheduler, levels, getattr(scheduler, levels).double())
    arguments = {"eta": ETA} if sampler == "ddim_eta" else {}
    latents = noise.double() * scheduler.init_noise_sigma
    entering = []
    for index, timestep in enumerate(scheduler.timesteps):
        if sampler != "heun" or index % 2 == 0:  # Heun's odd calls are second halves of steps.
            entering.append(latents.float())
        output = network(scheduler.scale_model_input(latents, timestep), timestep)
        latents = scheduler.step(output, timestep, latents, **arguments).prev_sample
    for module in [*DRAWING, scheduling_euler_discrete]:
        module.torch = torch
    assert latents.dtype == torch.float64
    return latents.float(), entering


def plain_sample(sampler, prediction, timesteps, sigmas, noise, step_noise):
    """DDIM (equation 12 of arXiv:2010.02502; DDPM is η = 1) and LCM over noise levels, in f64."""
    x = noise.double()
    entering = []
    for index, timestep in enumerate(timesteps):
        entering.append(x.float())
        alpha, alpha_next = (1 / math.sqrt(1 + s**2) for s in sigmas[index : index + 2])
        sigma, sigma_next = (math.sqrt(1 - a**2) for a in (alpha, alpha_next))
        if sigmas[index + 1] == 0:
            sigma_next = 0.0
        output = network(x, timestep)
        if prediction == "epsilon":
            x0 = (x - sigma * output) / alpha
        elif prediction == "v_prediction":
            x0 = alpha * x - sigma * output
        else:
            x0 = output
        drawn = step_noise[index].double()
        if sampler == "lcm":
            scaled = timestep * 10.0
            c_skip, c_out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
            denoised = c_out * x0 + c_skip * x
            last = index == len(timesteps) - 1
            x = denoised if last else alpha_next * denoised + sigma_next * drawn
            continue
        eta = {"ddim": 0.0, "ddim_eta": ETA, "ddpm": 1.0}[sampler]
        added = eta * sigma_next / sigma * math.sqrt(1 - (alpha / alpha_next) ** 2)
        epsilon = (x - alpha * x0) / sigma
        x = alpha_next * x0 + math.sqrt(sigma_next**2 - added**2) * epsilon + added * drawn
    return x.float(), entering


def cases():
    for sampler in CLASSES:
        for spacing in SPACINGS + ["zero_snr"]:
            yield sampler, "uniform", spacing
            if sampler not in OF_TIMESTEPS:
                yield sampler, "karras", spacing
                yield sampler, "exponential", spacing
        for schedule in ["normal", "sgm_uniform", "simple"]:
            yield sampler, schedule, "trailing"
        if sampler in OF_TIMESTEPS:
            yield sampler, "karras", "trailing"
            yield sampler, "exponential", "trailing"


def supported(sampler, spacing, prediction):
    if sampler == "euler_a" and prediction == "sample":
        return False  # Not implemented in diffusers.
    # At zero signal the noise says nothing of the image.
    return spacing != "zero_snr" or prediction != "epsilon"


def run(sampler, schedule, config, steps, noise, step_noise):
    if sampler in OF_TIMESTEPS and schedule != "uniform":
        if schedule in ["karras", "exponential"]:
            levels = make_scheduler("dpm++2m", schedule, config, steps)
            sigmas = levels.sigmas.double().numpy()
            # The class rounds its timesteps; in between ln σ is linear.
            table = table_of(config)
            timesteps = np.interp(np.log(sigmas[:-1]), np.log(table), np.arange(len(table)))
        else:
            timesteps, sigmas = plain_levels(schedule, table_of(config), steps)
        prediction = config["prediction_type"]
        return plain_sample(sampler, prediction, timesteps, sigmas, noise, step_noise)
    scheduler = make_scheduler(sampler, schedule, config, steps)
    return sample(sampler, scheduler, noise, step_noise)


def schedules():
    """Timesteps and sigmas of every case, those of all numbers of steps one behind the other."""
    tensors = {}
    for sampler, schedule, spacing in cases():
        if sampler == "ddim_eta" or (sampler in OF_TIMESTEPS and schedule != "uniform"):
            continue
        config = json.loads((GOLDEN / f"{spacing}.json").read_text())
        all_steps = [
            make_scheduler(sampler, schedule, config, steps) for steps in STEPS + SCHEDULES_ONLY
        ]
        key = f"{sampler}.{schedule}.{spacing}"
        each = 2 if sampler == "heun" else 1
        timesteps = [torch.cat([it.timesteps[:1], it.timesteps[1::each]]) for it in all_steps]
        tensors[f"{key}.timesteps"] = torch.cat(timesteps).float()
        if sampler not in OF_TIMESTEPS:
            sigmas = [torch.cat([it.sigmas[:1], it.sigmas[1::each]]) for it in all_steps]
            tensors[f"{key}.sigmas"] = torch.cat(sigmas)
    return tensors


def latents(noise, step_noise):
    """Final latents, shape (numbers of steps, *SHAPE), and those that enter each of four steps."""
    tensors = {}
    for sampler, schedule, spacing in cases():
        config = json.loads((GOLDEN / f"{spacing}.json").read_text())
        for prediction in PREDICTIONS:
            if not supported(sampler, spacing, prediction):
                continue
            key = f"{sampler}.{schedule}.{spacing}.{prediction}"
            predicting = config | {"prediction_type": prediction}
            finals = []
            for steps in STEPS:
                final, entering = run(sampler, schedule, predicting, steps, noise, step_noise)
                finals.append(final)
                if steps == 4 and prediction == "v_prediction":
                    tensors[f"{key}.entering"] = torch.stack(entering)
            tensors[f"{key}.latents"] = torch.stack(finals)
    return tensors


def guidance():
    """`rescale_noise_cfg` of diffusers over two pictures of which each is rescaled alone."""
    guided, conditional = 3 * torch.randn((2, 4, 3, 5)), torch.randn((2, 4, 3, 5))
    tensors = {"guidance.guided": guided, "guidance.conditional": conditional}
    for rescale in [0.0, 0.7, 1.0]:
        tensors[f"guidance.{rescale}"] = rescale_noise_cfg(guided, conditional, rescale)
    return tensors


def torch_cpu():
    """What torch.randn draws on the CPU: several tensors in a row, some of them below 16 numbers."""
    tensors = {}
    for seed in [0, 7, 2**32 + 5, 2**63 - 1]:
        generator = torch.Generator("cpu").manual_seed(seed)
        for draw, count in enumerate([16, 5, 100, 7, 4096, 1, 15, 33]):
            tensors[f"torch_cpu.{seed}.{draw}"] = torch.randn(count, generator=generator)
    config = json.loads((GOLDEN / "leading.json").read_text())
    for sampler in DRAWS:
        # As StableDiffusionPipeline does it: one generator for the latents and for the steps.
        for module in DRAWING:
            module.randn_tensor = randn_tensor
        scheduler = make_scheduler(sampler, "uniform", config, 4)
        arguments = {"eta": ETA} if sampler == "ddim_eta" else {}
        generator = torch.Generator("cpu").manual_seed(7)
        latents = randn_tensor((1, 4, 3, 5), generator=generator) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            output = network(scheduler.scale_model_input(latents, timestep), timestep)
            step = scheduler.step(output, timestep, latents, generator=generator, **arguments)
            latents = step.prev_sample
        tensors[f"picture.{sampler}"] = latents
    return tensors


def main():
    torch.set_num_threads(1)
    torch.manual_seed(8)
    noise = torch.randn(SHAPE)
    step_noise = torch.randn((max(STEPS), *SHAPE))
    tensors = {"noise": noise, "step_noise": step_noise} | guidance()
    for spacing in ["trailing", "linspace", "zero_snr"]:
        config = json.loads((GOLDEN / f"{spacing}.json").read_text())
        scheduler = diffusers.DDIMScheduler.from_config(config)
        tensors[f"{spacing}.alphas_cumprod"] = scheduler.alphas_cumprod
    files = {
        "sampler": tensors | latents(noise, step_noise),
        "schedules": schedules(),
        "torch_cpu": torch_cpu(),
    }
    for name, tensors in files.items():
        assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
        bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        assert not bad, bad
        tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(tensors, GOLDEN / f"{name}.safetensors")


if __name__ == "__main__":
    main()
