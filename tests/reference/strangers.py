"""How often the starter judges see somebody in drawn scenes where nobody is, and whom they miss.

    FLUENT=…/assets/ python tests/reference/strangers.py [SCENES [TROUPE]]

So many drawn scenes of two to six people are audited by `troupe` twice: by a layout of everybody, in which a stranger is one too
many, and by one that leaves out somebody who stands in front, who must be found as a stranger.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from audit import planned, scenes

FIRST, SIZES = 700_000_000, ((256, 192), (384, 192))
SAME = 0.2  # at least so much of both boxes is shared, where a stranger is who was left out


def crowds(count):
    """Scenes of two to six people."""
    seed = FIRST
    while count:
        scene = scenes.scene(seed, SIZES[seed % len(SIZES)])
        if 2 <= len(scene.people) <= 6:
            count -= 1
            yield scene
        seed += 1


def shared(a, b):
    """The part of two boxes' union that both have."""
    side = lambda low, high: max(0, min(a[high], b[high]) - max(a[low], b[low]))
    area = lambda it: (it["right"] - it["left"]) * (it["bottom"] - it["top"])
    both = side("left", "right") * side("top", "bottom")
    return both / (area(a) + area(b) - both)


def strangers(troupe, folder, scene, layout, judge):
    (folder / "layout.json").write_text(json.dumps(layout))
    scene.image.save(folder / "scene.png")
    second = ["--second"] if judge == "second" else []
    command = [troupe, "--json", "audit", folder / "scene.png", "--layout", folder / "layout.json", *second]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["strangers"]


def main(count=96, troupe="target/release/troupe"):
    with tempfile.TemporaryDirectory() as folder:
        for judge in ("first", "second"):
            invented = found = 0
            for scene in crowds(int(count)):
                invented += bool(strangers(troupe, Path(folder), scene, planned(scene), judge))
                front = len(scene.people) - 1  # boxes stand back to front
                whole = planned(scene)["subjects"]
                box = next(it["box"] for it in whole if it["depth"] == front)
                there = strangers(troupe, Path(folder), scene, planned(scene, {front}), judge)
                found += any(SAME < shared(box, it["box"]) for it in there)
            print(f"{judge}: of {count} scenes {invented} with a stranger who isn't there; {found} of {count} found who were left out")


if __name__ == "__main__":
    main(*sys.argv[1:])
