"""The judges as they are shipped, in PyTorch: `python judge.py IMAGE LAYOUT.json [first|second]` says who is in each box."""
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads are slower for matrices this small
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from crop import crop

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../judge")


class Judge:
    """`NAME.json` and `NAME.safetensors` of a folder."""

    def __init__(self, name, folder=SHIPPED):
        with open(f"{folder}/{name}.json") as it:
            self.config = json.load(it)
        self.heads = self.config["heads"]
        self.weights = {key: it.float() for key, it in load_file(f"{folder}/{name}.safetensors").items()}

    def _conv(self, x, name, stride=1):
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def _linear(self, x, name):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    @torch.no_grad()
    def logits(self, x):
        """Of crops `(crops, 5, 144, 96)`: `(crops, classes)` for each head."""
        if self.config["architecture"] == "residual":
            for at in range(4):
                x = F.relu(self._conv(x, f"down.{at}", 2))
                if at:
                    block = f"blocks.{at - 1}"
                    x = F.relu(x + self._conv(F.relu(self._conv(x, f"{block}.first")), f"{block}.second"))
            x = (x * self.weights["pool"]).sum((2, 3))
        else:
            groups = self.config["architecture"]["pooled"]["groups"]
            for at in range(4):
                x = self._conv(x, f"convs.{at}", 1 if at else 2)
                x = F.max_pool2d(x, 2) if at < 3 else x
                x = F.silu(F.group_norm(x, groups, self.weights[f"norms.{at}.weight"], self.weights[f"norms.{at}.bias"]))
            x = F.silu(self._linear(x.permute(0, 2, 3, 1).flatten(1), "dense"))
        return {it["name"]: self._linear(x, f"heads.{it['name']}") for it in self.heads}

    def verdicts(self, x):
        """For each crop `{attribute: (answer, confidence)}`; an answer is a value, "not visible" or "not sure"."""
        logits, found = self.logits(x), [{} for _ in x]
        for head in self.heads:
            confidence, best = (logits[head["name"]] / head["temperature"]).softmax(1).max(1)
            names = head["values"] + ["not visible"] * head["not_visible"]
            for it, at, sure in zip(found, best.tolist(), confidence.tolist()):
                it[head["name"]] = (names[at] if head["threshold"] <= sure else "not sure", sure)
        return found

    def layout(self, image, boxes, depths):
        """The verdicts on all boxes (left, top, right, bottom) of a picture, in pixels."""
        return self.verdicts(crops(image, boxes, depths)) if boxes else []


def crops(image, boxes, depths):
    """The crops `(boxes, 5, 144, 96)` of all boxes of a picture, in pixels; of equal depths the later is in front."""
    order = [(depth, at) for at, depth in enumerate(depths)]
    others = lambda own, wanted: [it for at, it in zip(order, boxes) if at != own and (own < at) == wanted]
    each = [crop(image, box, others(own, True), others(own, False)) for own, box in zip(order, boxes)]
    return torch.from_numpy(np.stack(each))


def placed(layout, size):
    """The boxes of a layout's subjects in pixels, and their depths."""
    edges = ("left", "top", "right", "bottom")
    boxes = [[it["box"][edge] * side for edge, side in zip(edges, size * 2)] for it in layout["subjects"]]
    return boxes, [it["depth"] for it in layout["subjects"]]


if __name__ == "__main__":
    torch.set_num_threads(1)
    image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
    with open(sys.argv[2]) as it:
        layout = json.load(it)
    boxes, depths = placed(layout, (image.shape[1], image.shape[0]))
    judge = Judge(*sys.argv[3:4] or ["first"])
    for subject, verdict in zip(layout["subjects"], judge.layout(image, boxes, depths)):
        print(subject["id"], "|", subject["sub_prompt"])
        print("   ", ", ".join(f"{name}: {answer} ({sure:.2f})" for name, (answer, sure) in verdict.items()))
