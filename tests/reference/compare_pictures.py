"""Paints what the program painted once more with PyTorch, and says how far apart the two are.

    python tests/reference/compare_pictures.py [--model FOLDER] [--latents DIR] RUN_DIR...

A RUN_DIR holds `image.png` and, in `latents/` or in DIR/NAME_OF_RUN_DIR, what `troupe paint --save-latents`
wrote. What was painted and how (layout, sampler, steps, guidance, regions, LoRAs) is read from the picture itself,
the noise from the first latents. Wanted: PSNR of the two pictures of at least 40 dB. Prints a table and, at its
end, the worst; exits 1 where a picture is too far off. The repainted picture is left beside the other as `reference.png`.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from generation import Reference, make_scheduler, relative_error

WANTED = 40.0
STARTER = Path(__file__).resolve().parents[2] / "models" / "starter" / "painter"
SAMPLERS = {"ddim": "ddim", "euler": "euler", "dpm++2m": "dpm++2m", "dpm++ 2m": "dpm++2m", "dpmpp_2m": "dpm++2m", "unipc": "unipc"}


def method(name):
    """Sampler and schedule of a name such as "dpm++2m karras"."""
    name = name.lower().strip()
    karras = name.endswith("karras")
    name = name.removesuffix("karras").strip(" _")
    if name not in SAMPLERS:
        sys.exit(f"wanted one of the samplers {', '.join(SAMPLERS)}, and the picture was painted with `{name}`")
    return SAMPLERS[name], "karras" if karras else "uniform"


def record_of(picture):
    """The chunk `troupe` of a picture: what was painted, and how."""
    with Image.open(picture) as image:
        if "troupe" not in image.text:
            sys.exit(f"{picture}: no chunk `troupe`; paint with metadata = \"full\"")
        return json.loads(image.text["troupe"])


def repaint(reference, record, first):
    """The latents of every step, and the picture; `first` is what entered the first step."""
    paint = record["paint"]
    sampler, schedule = method(paint["sampler"])
    sigma = make_scheduler(sampler, schedule, reference.scheduler, paint["steps"]).init_noise_sigma
    regions = paint["regions"]
    scene = record["layout"] if record.get("layout") else record["plain"]["prompt"]
    trace = reference.generate(
        scene, first / sigma, steps=paint["steps"], guidance=paint["guidance"], negative=paint["negative"],
        sampler=sampler, schedule=schedule, base_ratio=regions["base_ratio"], isolate=regions["isolate"],
    )
    return trace, reference.decode(trace[-1])


def read_latents(folder, step):
    return load_file(folder / f"{step if step == 'final' else f'step_{step:03}'}.safetensors")["latents"]


def pixels(path):
    with Image.open(path) as image:
        return torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).reshape(
            image.height, image.width, 3).double()


def psnr(a, b):
    error = ((a - b) ** 2).mean().item()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def load_reference(model, record):
    reference = Reference(model)
    for lora in record["paint"].get("loras", []):
        reference.add_lora(lora["path"], lora["scale"])
    return reference


def main():
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    arguments.add_argument("--model", type=Path, default=STARTER)
    arguments.add_argument("--latents", type=Path)
    arguments.add_argument("--each-step", action="store_true", help="print the relative error at every step")
    arguments = arguments.parse_args()

    worst, references = math.inf, {}
    print(f"{'run':24} {'PSNR':>8} {'most':>5} {'final latents':>14} {'worst step':>12}")
    for run in arguments.runs:
        record = record_of(run / "image.png")
        loras = json.dumps(record["paint"].get("loras", []))
        if loras not in references:
            references[loras] = load_reference(arguments.model, record)
        folder = arguments.latents / run.name if arguments.latents else run / "latents"
        trace, picture = repaint(references[loras], record, read_latents(folder, 0))
        steps = [*range(len(trace) - 1), "final"]
        errors = [relative_error(read_latents(folder, step), latents) for step, latents in zip(steps, trace)]
        Image.fromarray(picture.to(torch.uint8).numpy()).save(run / "reference.png")
        ours, theirs = pixels(run / "image.png"), pixels(run / "reference.png")
        decibels = psnr(ours, theirs)
        worst = min(worst, decibels)
        print(f"{run.name:24} {decibels:8.2f} {(ours - theirs).abs().max():5.0f} {errors[-1]:14.2e} {max(errors):12.2e}")
        if arguments.each_step:
            print("   " + " ".join(f"{error:.1e}" for error in errors))
    print(f"worst PSNR {worst:.2f} dB, wanted at least {WANTED} dB")
    return 0 if worst >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
