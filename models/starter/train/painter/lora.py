"""LoRAs on the painter's UNet, in diffusers' keys and f16, and how they are trained."""
import argparse
import math
import os
import time

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

ATTENTIONS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
CONVOLUTIONS = ["conv1", "conv2", "time_emb_proj", "conv_shortcut"]


def attached(unet, rank, layers):
    """Puts a LoRA on these layers and holds all else; returns what there is to learn."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))
    learned = [it for it in unet.parameters() if it.requires_grad]
    print(f"{sum(it.numel() for it in learned) / 1e6:.2f} M", flush=True)
    return learned


def asked(rate, rank):
    """What the command line says: WORK PAINTER OUT MINUTES and options."""
    parser = argparse.ArgumentParser()
    for name in ("work", "painter", "out"):
        parser.add_argument(name)
    parser.add_argument("minutes", type=float)
    for name, usual in (("threads", 1), ("seed", 0), ("rank", rank)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--rate", type=float, default=rate)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def steps(options, unet, layers):
    """Puts a LoRA on these layers and learns for so many minutes: yields what takes each step's error."""
    learned = attached(unet, options.rank, layers)
    optimiser = torch.optim.AdamW(learned, options.rate, betas=(.9, .99), weight_decay=0)
    begun, number, errors = time.time(), 0, None

    def learn(error):
        nonlocal number, errors
        optimiser.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.)
        optimiser.step()
        number += 1
        errors = error.item() if errors is None else errors * .97 + .03 * error.item()
        if number % 20 == 0:
            print(f"{number} steps, {part * options.minutes:.1f} min, error {errors:.4f}", flush=True)

    while (part := (time.time() - begun) / 60 / options.minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1, (number + 1) / 20) * max(.02, .5 + .5 * math.cos(math.pi * part))
        yield learn
    saved(unet, options.out)


def saved(unet, path):
    """Writes the LoRA, whole or not at all."""
    state = {f"unet.{name}": it.detach().half().contiguous() for name, it in get_peft_model_state_dict(unet).items()}
    save_file(state, path + ".part", metadata={"format": "pt"})
    os.replace(path + ".part", path)
    print(len(state), "tensors")
