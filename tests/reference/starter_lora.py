"""Makes a LoRA for the starter painter with peft, and compares what the program does with it with what diffusers does.

    python tests/reference/starter_lora.py OUT.safetensors [--model FOLDER] [--troupe BINARY] [--layout layout.json]

Without a binary the LoRA is only made. With one, a plain picture (and a layout, where given) is painted by both from the
same noise, with and without the LoRA. Wanted: the LoRA moves the final latents by at least 5 %, and ours are
diffusers' to a relative error of 1e-3; exits 1 otherwise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from generation import Reference, relative_error, save_lora

STARTER = Path(__file__).resolve().parents[2] / "models" / "starter" / "painter"
PROMPT, SIZE = "a group of four doctors in a hospital", (256, 192)
SETTINGS = dict(steps=8, guidance=4.0, sampler="ddim", base_ratio=0.2, isolate=0.5)
MOVES, AGREES = 0.05, 1e-3
SCALE = 0.8


def ours(binary, model, what, noise, lora, folder):
    """The final latents of the program, and those that entered each step before."""
    flags = {"steps": SETTINGS["steps"], "guidance": SETTINGS["guidance"], "sampler": SETTINGS["sampler"],
             "base-ratio": SETTINGS["base_ratio"], "isolate": SETTINGS["isolate"], "model": model, "noise": noise,
             "save-latents": folder / "latents", "output": folder / "image.png", "negative": ""}
    if lora:
        flags["lora"] = f"{lora}:{SCALE}"
    (folder / "latents").mkdir(parents=True)
    command = [binary, "paint", *what, *(f"--{name}={value}" for name, value in flags.items())]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    files = sorted((folder / "latents").glob("step_*.safetensors")) + [folder / "latents" / "final.safetensors"]
    return [load_file(file)["latents"] for file in files]


def main():
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--model", type=Path, default=STARTER)
    arguments.add_argument("--troupe", type=Path)
    arguments.add_argument("--layout", type=Path)
    arguments = arguments.parse_args()
    output = arguments.output.resolve()
    save_lora(Reference(arguments.model).unet, output, rank=4, alpha=6, size=0.4, seed=8)
    print(f"{output}: {len(load_file(output))} tensors")

    plain, changed = Reference(arguments.model), Reference(arguments.model)
    changed.add_lora(output, SCALE)
    cases = {"plain": (PROMPT, SIZE, ["--prompt", PROMPT, f"--size={SIZE[0]}x{SIZE[1]}"])}
    if arguments.layout:
        layout = json.loads(arguments.layout.read_text())
        cases["layout"] = (layout, (layout["canvas"]["width"], layout["canvas"]["height"]), [arguments.layout])
    failed = False
    for name, (scene, (width, height), what) in cases.items():
        noise = torch.randn((1, plain.unet.config.in_channels, height // 8, width // 8), generator=torch.Generator().manual_seed(8))
        theirs = {lora: model.generate(scene, noise, **SETTINGS) for lora, model in ((None, plain), (output, changed))}
        moved = relative_error(theirs[output][-1], theirs[None][-1])
        failed |= moved < MOVES
        print(f"{name}: the LoRA moves the final latents by {moved:.1%}")
        if not arguments.troupe:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "noise.safetensors"
            save_file({"noise": noise}, file)
            for number, (lora, expected) in enumerate(theirs.items()):
                found = ours(arguments.troupe.resolve(), arguments.model, what, file, lora, Path(folder) / str(number))
                errors = [relative_error(a, b) for a, b in zip(found, expected, strict=True)]
                failed |= errors[-1] > AGREES
                print(f"{name}, {'with' if lora else 'without'} the LoRA: final latents differ by {errors[-1]:.1e}; "
                      f"at each step {' '.join(f'{error:.0e}' for error in errors)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
