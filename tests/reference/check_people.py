"""Looks at each box of a picture of the starter painter: is somebody there, and which skin tone has the face?

    python tests/reference/check_people.py IMAGE [--layout layout.json] [--json OUT.json]
    python tests/reference/check_people.py --measure ART

Without a layout the one inside the picture is taken. The starter painter knows nothing but Fluent Emoji 3D people, whose
skin is painted in five tones. A pixel looks like skin if it is near one of their reference colours; the face is looked
for in the upper middle of the box. A face has lights and shades, and dark hair is near dark skin: so a tone counts from the
lightest on, and the first that has a fair part of the skin-like pixels is the face's. Of a person without a skin tone in
the plan (an axis may apply to some kinds of people only) it says no more than whether somebody is there.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Measured with `--measure` from the art (@lobehub/fluent-emoji-3d, MIT): the median, over eleven emoji (woman, man,
# doctors, chef, basketball players, runner, and others), of the median colour of the pixels that are skin, which are those
# that change from the lightest emoji to the darkest by more than 70 of 255. In this package the art named medium light
# (1f3fc) is darker than the one named medium (1f3fd); here, and to the painter, the lighter one is medium light.
TONES = {
    "light": (230, 176, 162),
    "medium light": (215, 158, 139),
    "medium": (164, 116, 114),
    "medium dark": (128, 85, 87),
    "dark": (69, 45, 48),
}
CODES = dict(zip(TONES, ("1f3fb", "1f3fd", "1f3fc", "1f3fe", "1f3ff")))
ART = ["1f468-%s", "1f469-%s", "1f468-%s-200d-2695-fe0f", "1f469-%s-200d-2695-fe0f", "1f469-%s-200d-1f373",
       "26f9-%s-200d-2640-fe0f", "26f9-%s-200d-2642-fe0f", "1f481-%s-200d-2640-fe0f", "1f3c3-%s-200d-2640-fe0f",
       "1f46e-%s-200d-2640-fe0f", "1f477-%s-200d-2642-fe0f"]
# From a colour that is nearer than this the eye wouldn't tell the tone's own lights and shades.
NEAR = 26
# The part of the face's window that must look like skin, and the part of that which makes a tone. With these the check is
# right about 180 of 190 people of the art (drawn small and blurred before scenes of the painter's training), and
# takes 18 of 190 empty places for somebody, in the mountains, on the farm and in the city, and none on the court.
SOMEBODY, TONE = 0.12, 0.3
# Light and medium light differ little where light falls on a face; what differs is red minus blue, 66 and 76 in the median.
WARM = 71
# Left, top, right, bottom of the window in the box.
WINDOW = (0.25, 0.05, 0.75, 0.5)


def measure(assets):
    """Prints the reference colours."""
    found = {tone: [] for tone in TONES}
    for name in ART:
        art = np.stack([np.array(Image.open(assets / f"{name % code}.webp").convert("RGBA"), float) for code in CODES.values()])
        grey = art[..., :3].mean(-1)
        skin = (art[..., 3].min(0) > 250) & (grey[0] - grey[4] > 70) & (grey[0] > 150)
        for tone, picture in zip(TONES, art):
            found[tone].append(np.median(picture[skin][:, :3], axis=0))
    for tone, colours in found.items():
        print(f"{tone:14} {np.median(colours, axis=0).round().astype(int)}, deviation {np.std(colours, axis=0).round(1)}")


def judge(pixels, box):
    """What is in a box of a picture; `pixels` has shape (height, width, 3)."""
    height, width = pixels.shape[:2]
    x, y = box["left"] * width, box["top"] * height
    w, h = (box["right"] - box["left"]) * width, (box["bottom"] - box["top"]) * height
    left, top, right, bottom = WINDOW
    window = pixels[round(y + top * h):max(round(y + bottom * h), round(y + top * h) + 1),
                    round(x + left * w):max(round(x + right * w), round(x + left * w) + 1)].reshape(-1, 3).astype(float)
    distance = np.linalg.norm(window[:, None] - np.array(list(TONES.values()))[None], axis=-1)
    skin = distance.min(1) < NEAR
    part = skin.mean()
    votes = np.bincount(distance[skin].argmin(1), minlength=len(TONES)) / max(skin.sum(), 1)
    votes = dict(zip(TONES, votes.tolist()))
    lightest_first = sorted(TONES, key=lambda tone: -sum(TONES[tone]))
    pale = window[skin & np.isin(distance.argmin(1), [list(TONES).index("light"), list(TONES).index("medium light")])]
    if len(pale):
        red, _green, blue = np.median(pale, axis=0)
        both = votes["light"] + votes["medium light"]
        votes["light"], votes["medium light"] = (both, 0.0) if red - blue < WARM else (0.0, both)
    tone = next((tone for tone in lightest_first if votes[tone] >= TONE), max(votes, key=votes.get))
    return {"somebody": bool(part >= SOMEBODY), "skin": round(float(part), 3), "tone": tone if part >= SOMEBODY else None,
            "votes": {tone: round(vote, 2) for tone, vote in votes.items()}}


def check(image, layout):
    """A row for each person of a layout."""
    pixels = np.array(image.convert("RGB"))
    people = {subject["id"]: subject for subject in layout["plan"]["subjects"]}
    rows = []
    for placement in layout["subjects"]:
        values = {it["axis"]: it["value"] for it in people[placement["id"]]["values"]}
        wanted = values.get("skin tone") or next((value for value in values.values() if value in TONES), None)
        found = judge(pixels, placement["box"])
        rows.append({"id": placement["id"], "noun": people[placement["id"]]["noun"], "sub_prompt": placement["sub_prompt"],
                     "wanted": wanted, **found, "right": found["tone"] == wanted if wanted else None})
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("images", type=Path, nargs="*", metavar="IMAGE")
    arguments.add_argument("--layout", type=Path)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--measure", type=Path, metavar="ART")
    arguments = arguments.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return 0
    found = {}
    for path in arguments.images:
        with Image.open(path) as image:
            image.load()
            layout = json.loads(arguments.layout.read_text()) if arguments.layout else json.loads(image.text["troupe"])["layout"]
            found[str(path)] = check(image, layout)
        print(path)
        for row in found[str(path)]:
            verdict = "nobody" if not row["somebody"] else {True: "right", False: "wrong", None: "there"}[row["right"]]
            print(f"  {row['id']:4} wanted {row['wanted'] or '-':13} found {row['tone'] or '-':13} {verdict:7}"
                  f" skin {row['skin']:5.1%}  {row['sub_prompt']}")
    rows = [row for rows in found.values() for row in rows]
    if rows:
        toned = [row for row in rows if row["wanted"]]
        print(f"{len(rows)} boxes: somebody in {sum(row['somebody'] for row in rows)}, "
              f"tone right in {sum(row['right'] for row in toned)} of {len(toned)}")
        for noun in sorted({row["noun"] for row in rows}) if len({row["noun"] for row in rows}) > 1 else []:
            kind = [row for row in rows if row["noun"] == noun]
            print(f"  {noun}: {len(kind)} boxes, somebody in {sum(row['somebody'] for row in kind)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
