"""A diffusers folder in f16 out of a training: `python export.py WORK FOLDER [LENGTH]`.

Of the averages of the weights the one that errs least on held-out scenes is taken, unless LENGTH names one.
"""
import json
import os
import shutil
import sys

import torch
from diffusers import AutoencoderKL, DDIMScheduler

import tokenizer as tokens
from attention import Conditioning, Processor
from data import Batch, Scenes, latents_of, seeded
from train_unet import AVERAGES, networks

HELD_OUT = 12  # batches


def filled(networks_, values):
    """Puts an average into the networks."""
    with torch.no_grad():
        for it, value in zip([it for network in networks_ for it in network.parameters()], values):
            it.copy_(value)


@torch.no_grad()
def error(unet, text, tokenizer, scenes, alphas):
    """The mean squared error of v over held-out scenes and evenly spread times, always with the same noise."""
    generator, r, total = torch.Generator().manual_seed(1), seeded(1), []
    conditioning = Conditioning()
    unet.set_attn_processor(Processor(conditioning))
    sizes = sorted(scenes.z)
    for number in range(HELD_OUT):
        size = sizes[number % len(sizes)]
        time_steps = (torch.arange(8) * 125 + 60).long()
        batch = Batch(scenes, size, r.sample(range(len(scenes.z[size])), 8), r, lambda _: time_steps >= 500)
        encoded = tokenizer(batch.prompts + batch.sub_prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt", return_offsets_mapping=True)
        batch.conditioning(encoded["offset_mapping"][:8].tolist(), conditioning)
        noise = torch.randn(batch.z.shape, generator=generator)
        signal = alphas[time_steps].view(-1, 1, 1, 1)
        contexts = text(encoded["input_ids"]).last_hidden_state
        conditioning.contexts = contexts[8:]
        found = unet(signal.sqrt() * batch.z + (1 - signal).sqrt() * noise, time_steps, contexts[:8]).sample
        total.append(((found - (signal.sqrt() * noise - (1 - signal).sqrt() * batch.z)) ** 2).mean().item())
    return sum(total) / len(total)


def main(work, out, length=None):
    saved = torch.load(f"{work}/unet.pt")
    tokenizer = tokens.load(f"{work}/tokenizer")
    scaling, channels = latents_of(f"{work}/autoencoder")
    unet, text = networks(len(tokenizer), channels)
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=.00085, beta_end=.012, prediction_type="v_prediction", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing")
    errors = {}
    if length is None:
        scenes = Scenes(f"{work}/latents", scaling, slice(0, 1))
        for it, average in zip(AVERAGES, saved["averages"]):
            filled((unet, text), average)
            errors[it] = error(unet, text, tokenizer, scenes, scheduler.alphas_cumprod)
        length = min(errors, key=errors.get)
    print(f"{saved['seen']} samples seen, errors of the averages {errors}, taken {length}")
    filled((unet, text), saved["averages"][AVERAGES.index(length)])
    from diffusers.models.attention_processor import AttnProcessor2_0
    unet.set_attn_processor(AttnProcessor2_0())
    unet.half().save_pretrained(f"{out}/unet")
    text.half().save_pretrained(f"{out}/text_encoder")
    AutoencoderKL.from_pretrained(f"{work}/autoencoder").half().save_pretrained(f"{out}/vae")
    scheduler.save_pretrained(f"{out}/scheduler")
    os.makedirs(f"{out}/tokenizer", exist_ok=True)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        shutil.copy(f"{work}/tokenizer/{name}", f"{out}/tokenizer/{name}")
    special = {"bos_token": tokens.START, "eos_token": tokens.END, "pad_token": tokens.END, "unk_token": tokens.END}
    parts = {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "feature_extractor": [None, None],
        "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    for name, it in (("tokenizer/special_tokens_map", special), ("model_index", parts),
                     ("tokenizer/tokenizer_config", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special})):
        with open(f"{out}/{name}.json", "w") as file:
            json.dump(it, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if 3 < len(sys.argv) else None)
