"""Trains text encoder and UNet together on latents.

python train_unet.py WORK MINUTES [--threads 2] [--rate .01] [--final] [--seed 0] [--from PAINTER]

WORK holds `tokenizer/`, `autoencoder/` and `latents/`; `unet.pt` is written there every 200 steps, when new shards are taken
up, too, and is gone on from when it is there. Without it, `--from` begins with the weights of a diffusers folder, whose
tokenizer and autoencoder may be others. `--final` lets the rate fall to nothing over the last 60 % of the minutes.
Pictures: `export.py`.
"""
import argparse
import math
import os
import time

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import tokenizer as tokens
from attention import Conditioning, Processor
from data import Scenes, latents_of, seeded
from muon import HALF, split

WIDTH = 128  # of the text encoder
AVERAGES = (.99, .998, .9995)
TOKEN_LOSS = .02
ISOLATED_FROM = 500  # the time from which subjects don't see one another, the first half of the steps


def networks(vocabulary, channels):
    """UNet and text encoder with residual branches that start nearly silent."""
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1, hidden_act="quick_gelu"))
    unet = UNet2DConditionModel(
        sample_size=24, in_channels=channels, out_channels=channels, block_out_channels=(80, 128, 160),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1, cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=16)
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if 2 <= weight.ndim and any(it in name for it in ("conv2", "to_out", "ff.net.2", "proj_out")):
                weight.mul_(.2)
        unet.conv_out.weight.zero_()
        unet.conv_out.bias.zero_()
    return unet.to(memory_format=torch.channels_last), text


@torch.no_grad()
def begin_from(folder, tokenizer, unet, text):
    """Copies a painter's weights: of first and last layers the channels that both have, of the words their old pieces' mean."""
    old, old_text = UNet2DConditionModel.from_pretrained(f"{folder}/unet").float(), CLIPTextModel.from_pretrained(f"{folder}/text_encoder").float()
    pieces = tokens.load(f"{folder}/tokenizer")
    for network, before in ((unet, old.state_dict()), (text, old_text.state_dict())):
        for name, it in network.state_dict().items():
            if name.endswith("token_embedding.weight"):
                for word, at in tokenizer.get_vocab().items():
                    known = pieces.get_vocab().get(word)
                    said = [known] if known is not None else pieces(word.removesuffix("</w>"), add_special_tokens=False).input_ids
                    if said:
                        it[at] = before[name][said].mean(0)
            else:
                if name == "conv_in.weight":
                    it.zero_()  # what a channel more holds is nothing known yet
                both = tuple(slice(min(a, b)) for a, b in zip(it.shape, before[name].shape))
                it[both] = before[name][both]


def times(count, alphas, generator):
    """Six in ten evenly spread, four where half of the picture is noise (Laplace in the log of signal to noise)."""
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count * 1000
    even = even[torch.randperm(count, generator=generator)]
    uniform = torch.rand(count, generator=generator).clamp(1e-4, 1 - 1e-4) - .5
    laplace = -uniform.sign() * torch.log1p(-2 * uniform.abs())
    ratio = torch.log(alphas / (1 - alphas))
    middle = (ratio[None] - laplace[:, None]).abs().argmin(1)
    return torch.where(torch.rand(count, generator=generator) < .6, even.long(), middle)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=.01)
    parser.add_argument("--final", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="start")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator, r = torch.Generator().manual_seed(options.seed), seeded(options.seed)
    torch.manual_seed(options.seed)

    work = options.work
    tokenizer = tokens.load(f"{work}/tokenizer")
    scaling, channels = latents_of(f"{work}/autoencoder")
    unet, text = networks(len(tokenizer), channels)
    if options.start and not os.path.exists(f"{work}/unet.pt"):
        begin_from(options.start, tokenizer, unet, text)
    named = [(name, it) for network in (unet, text) for name, it in network.named_parameters()]
    averages = [[it.detach().clone() for _, it in named] for _ in AVERAGES]
    steps = seen = 0
    kept = f"{work}/unet.pt"
    inner, outer = split((unet, text), options.rate, options.rate * .12)
    if os.path.exists(kept):
        saved = torch.load(kept)
        steps, seen = saved["steps"], saved["seen"]
        with torch.no_grad():
            for at, (_, it) in enumerate(named):
                it.copy_(saved["weights"][at])
            averages = saved["averages"]
        for optimiser, state in zip((inner, outer), saved["optimisers"]):
            optimiser.load_state_dict(state)
    print(f"UNet {sum(it.numel() for it in unet.parameters()) / 1e6:.2f} M, text {sum(it.numel() for it in text.parameters()) / 1e6:.2f} M, {seen} seen", flush=True)
    conditioning = Conditioning()
    unet.set_attn_processor(Processor(conditioning))
    scenes = Scenes(f"{work}/latents", scaling, slice(1, None))
    print(len(scenes), "scenes", flush=True)
    alphas = DDPMScheduler(beta_schedule="scaled_linear", beta_start=.00085, beta_end=.012).alphas_cumprod

    begun, first, errors, placed = time.time(), seen, None, None
    while True:
        part = (time.time() - begun) / 60 / options.minutes
        if 1 < part:
            break
        falling = .5 * (1 + math.cos(math.pi * max(0, part - .4) / .6)) if options.final else 1
        for optimiser, rate in ((inner, options.rate), (outer, options.rate * .12)):
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, (steps + 1) / 100) * max(falling, .02)
        drawn = []

        def early(count):
            drawn.append(times(count, alphas, generator))
            return drawn[0] >= ISOLATED_FROM

        batch = scenes.batch(r, early)
        time_steps, z = drawn[0], batch.z.contiguous(memory_format=torch.channels_last)
        encoded = tokenizer(batch.prompts + batch.sub_prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt", return_offsets_mapping=True)
        batch.conditioning(encoded["offset_mapping"][:len(z)].tolist(), conditioning)
        noise = torch.randn(z.shape, generator=generator)
        signal = alphas[time_steps].view(-1, 1, 1, 1)
        noised = signal.sqrt() * z + (1 - signal).sqrt() * noise
        wanted = signal.sqrt() * noise - (1 - signal).sqrt() * z
        with torch.autocast("cpu", torch.bfloat16, HALF is torch.bfloat16):
            contexts = text(encoded["input_ids"]).last_hidden_state
            conditioning.contexts = contexts[len(z):]
            found = unet(noised, time_steps, contexts[:len(z)]).sample
        squares = (found.float() - wanted) ** 2
        error, loss = squares.mean(), (squares * batch.counts).mean()
        if conditioning.losses:
            beside = torch.stack(conditioning.losses).mean()
            loss = loss + TOKEN_LOSS * beside
            placed = beside.item() if placed is None else placed * .98 + .02 * beside.item()
        for _, it in named:
            it.grad = None
        loss.backward()
        inner.step()
        outer.step()
        steps, seen = steps + 1, seen + len(z)
        with torch.no_grad():
            for length, average in zip(AVERAGES, averages):
                torch._foreach_lerp_(average, [it.detach() for _, it in named], 1 - min(length, (steps + 1) / (steps + 10)))
        errors = error.item() if errors is None else errors * .98 + .02 * error.item()
        if steps % (5 if steps < 50 else 50) == 0:
            rate = (seen - first) / (time.time() - begun)
            print(f"{steps} steps, {seen} seen, {part * options.minutes:.1f} min, error {errors:.4f}, beside {placed or 0:.3f}, {rate:.1f} a second", flush=True)
        if steps % 200 == 0:
            save(kept, steps, seen, named, averages, (inner, outer))
            if scenes.stale():
                scenes = Scenes(f"{work}/latents", scaling, slice(1, None))
                print(len(scenes), "scenes", flush=True)
    save(kept, steps, seen, named, averages, (inner, outer))


def save(path, steps, seen, named, averages, optimisers):
    """Whole or not at all."""
    torch.save({
        "steps": steps, "seen": seen, "names": [name for name, _ in named], "weights": [it.detach() for _, it in named],
        "averages": averages, "optimisers": [it.state_dict() for it in optimisers]}, path + ".part")
    os.replace(path + ".part", path)


if __name__ == "__main__":
    main()
