"""Makes tests/golden/contrastive: small CLIP and SigLIP models with random weights, and the directions of texts and pictures.

    python tests/reference/contrastive.py

What is expected comes from transformers' CLIPModel and SiglipModel in double precision, and from its SiglipTokenizer (which needs
sentencepiece). CLIP's tokenizer is that of tests/golden/clip.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, SiglipConfig, SiglipModel, SiglipTokenizer

from clip import HARD, prompt, randomise

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "models" / "starter" / "train" / "judge"))

import crop

GOLDEN = ROOT / "tests" / "golden" / "contrastive"
SCENE = ROOT / "tests" / "golden" / "audit"
PRESENCE = ["a photo of an empty place without people", "a photo of one person", "a photo of two people side by side"]
NOUNS = ["a photo of a runner", "a photo of a doctor"]
GENDERS = {who + "s": [f"a photo of a woman {who}", f"a photo of a man {who}"] for who in ("runner", "doctor")}
COLOURS = {"clip": ([.48145466, .4578275, .40821073], [.26862954, .26130258, .27577711]), "siglip": ([.5] * 3, [.5] * 3)}
LENGTH = 64


def make_tokenizer(folder):
    """A unigram vocabulary in SentencePiece's form, the same as tokenizer.json, and the ids of texts."""
    dice = random.Random(11)
    prompts = [prompt(dice) for _ in range(150)]
    with tempfile.TemporaryDirectory() as work:
        corpus = Path(work) / "corpus.txt"
        corpus.write_text("\n".join(prompts).lower())
        # As SigLIP's: padding and end are one token, nothing marks a beginning.
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{work}/spiece", vocab_size=160, hard_vocab_limit=False, model_type="unigram", num_threads=1, minloglevel=2,
            unk_id=2, eos_id=1, bos_id=-1, pad_id=0, pad_piece="<pad>", normalization_rule_name="nmt_nfkc")
        tokenizer = SiglipTokenizer(f"{work}/spiece.model", model_max_length=LENGTH)
        pieces = tokenizer.sp_model
        vocab = [[pieces.id_to_piece(it), pieces.get_score(it)] for it in range(pieces.get_piece_size())]
        special = [{"id": it, "content": vocab[it][0], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for it in range(3)]
        (folder / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "post_processor": None, "decoder": None,
            "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False}}, ensure_ascii=False))
        (folder / "tokenizer_config.json").write_text(json.dumps({
            "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", "model_max_length": LENGTH, "tokenizer_class": "SiglipTokenizer"}))
        # Without the tokenizer's own tokens, and without what joins emoji, which SentencePiece left to itself at some time.
        texts = [it for it in HARD if not set(it) & set("<\x00\u200d")] + prompts[:60]
        lines = []
        for text in texts:
            ids = tokenizer(text, padding="max_length", truncation=True)["input_ids"]
            lines.append(json.dumps({"text": text, "ids": ids}))
        (folder / "tokens.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
        # What a judge asks; later on the model's file is gone.
        asked = lambda texts: tokenizer(texts, padding="max_length", truncation=True)["input_ids"]
        return len(vocab), {text: asked(text) for text in questions()}


def layout():
    return json.loads((SCENE / "layout.json").read_text())


def questions():
    """Every text that a judge asks of the scene: how many are there, and each value of each axis that has several."""
    axes = [it for it in layout()["plan"]["axes"] if 1 < len(it["values"])]
    return [*PRESENCE, *NOUNS, *GENDERS["runners"], *GENDERS["doctors"],
            *(f"a photo of a runner {value['phrase']}" for axis in axes for value in axis["values"])]


def square(image, box, hidden, side):
    """A box with its margin in the middle of a square, and how much of each pixel is to be seen."""
    height, width = image.shape[:2]
    left, top, right, bottom = (edge * length for edge, length in zip(crop.window(box), (width, height) * 2))
    most = max(right - left, bottom - top)
    x, y = (left + right) / 2 - most / 2, (top + bottom) / 2 - most / 2
    rows, columns = crop.filters(y, y + most, side, height), crop.filters(x, x + most, side, width)
    colours = np.einsum("yh,xw,hwc->yxc", rows, columns, image / 127.5 - 1)

    def part(low, high, start):
        cells = np.arange(side)
        low, high = ((it - start) / most * side for it in (low, high))
        return np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, 1)

    seen = part(max(top, 0), min(bottom, height), y)[:, None] * part(max(left, 0), min(right, width), x)
    covered = np.zeros((side, side))
    for other in hidden:
        covered = np.maximum(covered, part(other[1] * height, other[3] * height, y)[:, None] * part(other[0] * width, other[2] * width, x))
    return colours, seen * (1 - covered)


def verdicts(name, model, side, ids):
    """What the model says of each box of the drawn scene, as probabilities of all texts of a question."""
    image = np.asarray(Image.open(SCENE / "scene.png").convert("RGB")).astype("float64")
    plan, placed = layout()["plan"], layout()["subjects"]
    boxes = [tuple(it["box"][edge] for edge in ("left", "top", "right", "bottom")) for it in placed]
    mean, deviation = COLOURS[name]
    said = []
    for at, box in enumerate(boxes):
        front = [boxes[it] for it in range(len(boxes)) if (placed[it]["depth"], it) > (placed[at]["depth"], at)]
        colours, seen = square(image, box, front, side)
        pixels = ((colours + 1) / 2 - mean) / deviation * seen[..., None]
        pixels = torch.from_numpy(pixels.transpose(2, 0, 1)[None])

        def ask(texts):
            with torch.no_grad():
                found = model(input_ids=torch.tensor([ids[it] for it in texts]), pixel_values=pixels)
            cosines = (found.image_embeds @ found.text_embeds.T)[0]
            return [round(it, 6) for it in (cosines * model.logit_scale.exp()).softmax(0).tolist()]

        said.append({"presence": ask(PRESENCE), "nouns": ask(NOUNS), **{f"{who} by gender": ask(GENDERS[who]) for who in GENDERS}, **{
            axis["axis"]: ask([f"a photo of a runner {it['phrase']}" for it in axis["values"]])
            for axis in plan["axes"] if 1 < len(axis["values"])}})
    (GOLDEN / name / "verdicts.json").write_text(json.dumps(said, indent=1) + "\n")


def make(name, model, positions, vocabulary, side, end, seed=11):
    generator = torch.Generator().manual_seed(seed)
    randomise(model, generator)
    with torch.no_grad():
        model.logit_scale.fill_(2.5)
    folder = GOLDEN / name
    model.eval().save_pretrained(folder)
    model.double()
    ids = torch.randint(3, vocabulary - 1, (3, positions), generator=generator)
    # Texts of different lengths: what follows the end of one doesn't count for CLIP, and does for SigLIP.
    for text, length in enumerate((3, positions // 2, positions - 1)):
        ids[text, length:] = end
    pixels = torch.randn(2, 3, side, side, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = model(input_ids=ids, pixel_values=pixels)
    save_file({
        "ids": ids, "pictures": pixels.permute(0, 2, 3, 1).float().contiguous(), "scale": model.logit_scale.exp().reshape(1).float(),
        "text_embeds": found.text_embeds.float().contiguous(), "image_embeds": found.image_embeds.float().contiguous(),
    }, folder / "expected.safetensors")
    return model


def main():
    torch.set_num_threads(1)
    torch.manual_seed(11)
    for name in ("clip", "clip_gelu", "siglip"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
    (GOLDEN / "siglip").mkdir(parents=True)

    def text(act, vocabulary, positions, **more):
        return {"vocab_size": vocabulary, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3,
                "max_position_embeddings": positions, "hidden_act": act, **more}

    def vision(act, **more):
        return {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": act, **more}

    # As the first files have it: the end is the largest id, whatever they say of it.
    clip = CLIPConfig(text_config=text("quick_gelu", 664, 77, eos_token_id=2), vision_config=vision("quick_gelu", image_size=24, patch_size=8), projection_dim=20)
    # Seeds with which both see one person in each box: what they say of others is asked only then.
    model = make("clip", CLIPModel(clip), 77, 664, 24, 663, 24)
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "tests" / "golden" / "clip")
    verdicts("clip", model, 24, {it: tokenizer(it, padding="max_length", max_length=77)["input_ids"] for it in questions()})
    clip = CLIPConfig(text_config=text("gelu", 60, 12, eos_token_id=59, projection_dim=99, layer_norm_eps=1e-3),
                      vision_config=vision("gelu", image_size=22, patch_size=5), projection_dim=16)
    make("clip_gelu", CLIPModel(clip), 12, 60, 22, 59)
    vocabulary, ids = make_tokenizer(GOLDEN / "siglip")
    siglip = SiglipConfig(text_config=text("gelu_pytorch_tanh", vocabulary, LENGTH, projection_size=32),
                          vision_config=vision("gelu_pytorch_tanh", image_size=22, patch_size=5))
    verdicts("siglip", make("siglip", SiglipModel(siglip), LENGTH, vocabulary, 22, 1, 16), 22, ids)


if __name__ == "__main__":
    main()
