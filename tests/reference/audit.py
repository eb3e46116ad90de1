"""A drawn scene and its layout, of whom everything is known: `FLUENT=…/assets/ python tests/reference/audit.py`.

The scene is one of `models/starter/train/painter`, drawn from Fluent Emoji 3D; the layout says of everybody what was drawn.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "models" / "starter" / "train" / "painter"))

import art
import scenes

GOLDEN = ROOT / "tests" / "golden" / "audit"
SEED, SIZE = 901_459, (384, 192)
AXES = {"skin tone": list(art.TONES), "gender": ["woman", "man"], "clothes colour": list(art.CLOTHES), "mood": ["glad"]}


def share(value, side):
    return round(value / side, 6)


def planned(scene, without=()):
    """The layout of a scene as a document: everybody as drawn, but for the people of these indices, who are left out."""
    width, height = scene.image.size
    order = sorted((at for at in range(len(scene.people)) if at not in without), key=lambda it: scene.boxes[it][0])
    subjects, placed = [], []
    for number, at in enumerate(order, 1):
        who, box = scene.people[at], scene.boxes[at]
        values = {"skin tone": who.tone, "gender": who.gender, "clothes colour": who.clothes, "mood": "glad"}
        subjects.append({
            "id": f"s{number}", "kind": 0, "noun": who.role, "sub_prompt": scene.sub_prompts[at],
            "values": [{"axis": axis, "value": value} for axis, value in values.items() if value]})
        placed.append({
            "id": f"s{number}", "sub_prompt": scene.sub_prompts[at], "depth": at,
            "box": {"left": share(box[0], width), "top": share(box[1], height), "right": share(box[2], width), "bottom": share(box[3], height)}})
    count = len(subjects)
    proofs = []
    for axis, names in AXES.items():
        tallies = [{
            "value": name, "share": 1 / len(names), "target": count / len(names), "stated": 0, "quota": count / len(names),
            "dealt": sum(value == {"axis": axis, "value": name} for it in subjects for value in it["values"])} for name in names]
        proofs.append({
            "axis": axis, "scope": "image", "stream": "", "values": [{"name": name, "phrase": name} for name in names],
            "cells": [{"people": count, "tallies": tallies}]})
    plan = {
        "schema": "troupe.plan/1", "prompt": scene.caption, "picture": 1, "run_seed": 0, "seed": 0,
        "brief": {
            "people": [{"number": count, "noun": subjects[0]["noun"], "stated": []}], "activity": "", "clothing": "",
            "setting": "", "style": "", "formation": "auto", "shot": "full_body"},
        "base_prompt": scene.base, "subjects": subjects, "axes": proofs}
    return {
        "schema": "troupe.layout/1", "canvas": {"width": width, "height": height}, "base_prompt": scene.base, "subjects": placed,
        "plan": plan}


def main():
    scene = scenes.scene(SEED, SIZE)
    GOLDEN.mkdir(exist_ok=True)
    scene.image.save(GOLDEN / "scene.png")
    (GOLDEN / "layout.json").write_text(json.dumps(planned(scene), indent=1) + "\n")
    for who in scene.people:
        print(vars(who))


if __name__ == "__main__":
    main()
