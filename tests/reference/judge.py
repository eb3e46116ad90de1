"""Makes tests/golden/judge: random judges of both architectures, a picture with boxes, and what is said of them.

    python tests/reference/judge.py

The networks and the cropping are those that the shipped judges were trained with, `models/starter/train/judge`.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/judge"
sys.path.insert(0, str(ROOT / "models/starter/train/judge"))
from judge import Judge  # noqa: E402
from judge import crops as judged  # noqa: E402
from networks import First, Second  # noqa: E402

HEADS = [
    {"name": "presence", "values": ["nobody", "one", "more"], "not_visible": False, "temperature": 0.75, "threshold": 0.4},
    {"name": "hair", "values": ["black", "blond", "red"], "not_visible": True, "temperature": 1.5, "threshold": 0.45},
    {"name": "glasses", "values": ["no", "yes"], "not_visible": True, "temperature": 1.0, "threshold": 0.5},
]
# Shares of the sides: at an edge, over the first one, and small; the first two are equally far in front.
BOXES = [[0, 0.125, 0.40625, 1], [0.3125, 0.25, 0.71875, 0.96875], [0.640625, 0.5, 0.75, 0.78125]]
DEPTHS = [1, 1, 0]


def randomise(model, generator):
    """Every weight, bias and running mean matters."""
    for name, it in [*model.named_parameters(), *model.named_buffers()]:
        if not it.is_floating_point():
            continue
        noise = torch.randn(it.shape, generator=generator)
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            it.data = 1 + 0.5 * noise.clamp(-1.5, 1.5)
        elif it.dim() == 1:
            it.data = 0.2 * noise
        else:
            it.data = 1.5 * noise / it[0].numel() ** 0.5


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    width, height = 80, 56
    coarse = torch.rand((1, 3, 14, 20), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    picture = (255 * smooth + 24 * torch.randn(smooth.shape, generator=generator)).round().clamp(0, 255)
    image = picture.byte().numpy()
    boxes = [[share * side for share, side in zip(it, (width, height) * 2)] for it in BOXES]
    crops = judged(image, boxes, DEPTHS)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    expected = {
        "picture": picture.half().contiguous(), "boxes": torch.tensor(BOXES), "depths": torch.tensor(DEPTHS, dtype=torch.int32),
        "crops": crops.permute(0, 2, 3, 1).contiguous(),
    }
    verdicts = {}
    for network in (First, Second):
        kind = network.architecture
        small = type("Small", (network,), {"channels": (4, 6, 8, 12), "groups": 2, "width": 10})
        model = small({it["name"]: len(it["values"]) + it["not_visible"] for it in HEADS})
        randomise(model, generator)
        model.double().eval()
        with torch.no_grad():
            logits = model(crops.double())
            tensors = {key: it.detach().float().contiguous() for key, it in model.exported().items()}
        expected |= {f"{kind}.{name}": it.float() for name, it in logits.items()}
        save_file(dict(sorted(tensors.items())), GOLDEN / f"{kind}.safetensors")
        named = {"pooled": {"groups": 2, "width": 10}} if kind == "pooled" else kind
        config = {"architecture": named, "channels": list(small.channels), "heads": HEADS}
        (GOLDEN / f"{kind}.json").write_text(json.dumps(config, indent=1) + "\n")
        judge = Judge(kind, GOLDEN)
        for name, it in judge.logits(crops).items():
            assert torch.allclose(it.double(), logits[name], atol=1e-4), (kind, name)
        said = judge.layout(image, boxes, DEPTHS)
        verdicts[kind] = [{name: answer for name, (answer, _) in it.items()} for it in said]
        expected[f"{kind}.confidence"] = torch.tensor([[sure for _, sure in it.values()] for it in said])
    save_file(expected, GOLDEN / "expected.safetensors")
    (GOLDEN / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
