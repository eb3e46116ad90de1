"""Fine-tunes some layers of SmolLM2-135M-Instruct to write briefs.

    python train.py WORK MINUTES [--resume | --from PLANNER.gguf] [--rate R]

WORK holds `base.safetensors` and `tokenizer.json` (base.py makes them); checkpoints go there. The learning rate falls
to nothing over MINUTES, so that a slow or busy machine ends in time. Muon for the matrices, Adam for the rest.
"""
import argparse
import copy
import random
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import export
import generate
import model as network
import quantize
import tokens

LAYERS = [0, 1, 2, 8, 15, 19, 20, 24, 27, 29]
BATCH, POOL, LONGEST = 32, 16, 176
FORCED_WEIGHT = 0.1


def orthogonal(gradient, steps=3):
    """Newton-Schulz iteration towards the nearest orthogonal matrix, batched (Jordan et al. 2024, "Muon")."""
    x = gradient.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Matrices of one shape are orthogonalised together; the step has the size of Adam's (RMS 0.2)."""

    def __init__(self, parameters):
        self.groups = {}
        for parameter in parameters:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.momentum = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, rate):
        for shape, group in self.groups.items():
            gradient = torch.stack([parameter.grad for parameter in group])
            momentum = self.momentum[shape].lerp_(gradient, 0.05)
            update = orthogonal(gradient.lerp(momentum, 0.95)) * (0.2 * max(shape) ** 0.5)
            for parameter, change in zip(group, update):
                parameter.add_(change, alpha=-rate)


def batches(tokenizer, seed):
    """Endless batches of about one length each: ids, positions whose successors count, the successors, weights."""
    while True:
        rng = random.Random(seed)
        pool = (tokens.encode(tokenizer, *generate.pair(rng), FORCED_WEIGHT) for _ in range(BATCH * POOL))
        pool = sorted((pair for pair in pool if len(pair[0]) <= LONGEST), key=lambda pair: len(pair[0]))
        chunks = [pool[at:at + BATCH] for at in range(0, len(pool) - BATCH + 1, BATCH)]
        rng.shuffle(chunks)
        for chunk in chunks:
            yield seed, *collate(chunk, rng)
        seed += 1


def collate(chunk, rng, forced_share=0.15):
    # Few different shapes: each new one costs the matrix library seconds and memory.
    length = -(-max(len(ids) for ids, _ in chunk) // 16) * 16
    table = torch.full((len(chunk), length), tokens.END)
    rows, columns, weights = [], [], []
    for row, (ids, weight) in enumerate(chunk):
        table[row, :len(ids)] = torch.tensor(ids)
        forced = rng.random() < forced_share
        for column, value in enumerate(weight):
            if value == 1.0 or (value > 0 and forced):
                rows.append(row), columns.append(column), weights.append(value)
    spare = -len(rows) % 128
    rows, columns, weights = rows + [0] * spare, columns + [1] * spare, weights + [0.0] * spare
    rows, columns = torch.tensor(rows), torch.tensor(columns)
    return table, rows, columns, torch.tensor(weights)


def scores(model, table, rows, columns):
    """Scores for the tokens at (rows, columns), each from the position before."""
    with torch.autocast("cpu", torch.bfloat16):
        return model(table, (rows, columns - 1)).float()


@torch.no_grad()
def exact_share(model, tokenizer, pairs):
    """Share of briefs whose every decided token is the most likely one, given those before it."""
    rng, right = random.Random(0), 0
    coded = sorted((tokens.encode(tokenizer, *pair, 0.0) for pair in pairs), key=lambda pair: len(pair[0]))
    for at in range(0, len(coded), 32):
        table, rows, columns, weights = collate(coded[at:at + 32], rng, 0)
        wrong = (scores(model, table, rows, columns).argmax(-1) != table[rows, columns]) & (weights > 0)
        right += len(coded[at:at + 32]) - len(set(rows[wrong].tolist()))
    return right / len(pairs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("minutes", type=float)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true")
    begin.add_argument("--from", dest="start", type=Path, help="weights of a planner that export.py wrote")
    parser.add_argument("--seed", type=int, default=1000, help="of the first pool of pairs")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--name", default="planner")
    parser.add_argument("--from-nothing", action="store_true", help="random weights instead of SmolLM2's, for comparison")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=100, help="steps between checkpoints")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    tokenizer = tokens.trimmed((options.work / "tokenizer.json").read_text())
    model = network.from_pretrained(load_file(options.work / "base.safetensors"), LAYERS, tokens.VOCABULARY)
    if options.from_nothing:
        for parameter in model.parameters():
            parameter.data = torch.randn_like(parameter) * 0.02 if parameter.ndim == 2 else torch.ones_like(parameter)
    if options.start:
        model.load_state_dict(export.read(options.start))
    seed, checkpoint = options.seed, options.work / f"{options.name}.safetensors"
    if options.resume:
        model.load_state_dict(load_file(checkpoint))
        seed = int((options.work / f"{options.name}.seed").read_text()) + 1
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon, adam = Muon(matrices), torch.optim.Adam(others, betas=(0.9, 0.98))
    average = copy.deepcopy(model)
    held_out = [generate.pair(random.Random(7_000_000 + index)) for index in range(128)]
    began, mean, step = time.time(), None, 0
    for seed, table, rows, columns, weights in batches(tokenizer, seed):
        progress = max((time.time() - began) / (60 * options.minutes), step / options.steps)
        rate = options.rate * min(1, (step + 1) / (8 if options.resume or options.start else 40)) * max(0.0, 1 - progress)
        with quantize.stored(model):
            loss = F.cross_entropy(scores(model, table, rows, columns), table[rows, columns], reduction="none")
            loss = (loss * weights).sum() / weights.sum()
            model.zero_grad()
            loss.backward()
        muon.step(rate)
        for group in adam.param_groups:
            group["lr"] = rate * 0.5
        adam.step()
        step += 1
        with torch.no_grad():
            keep = min(0.99, step / (step + 10))
            for slow, fast in zip(average.parameters(), model.parameters()):
                slow.lerp_(fast, 1 - keep)
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0:
            print(f"{step} steps, {time.time() - began:.0f} s, loss {mean:.4f}, rate {rate:.2e}", flush=True)
        if step % options.every == 0 or progress >= 1:
            with quantize.stored(average):
                print(f"  held out exact: {exact_share(average, tokenizer, held_out):.3f}", flush=True)
            save_file({name: value.contiguous() for name, value in average.state_dict().items()}, checkpoint)
            (options.work / f"{options.name}.seed").write_text(str(seed))
        if progress >= 1:
            break


if __name__ == "__main__":
    main()
