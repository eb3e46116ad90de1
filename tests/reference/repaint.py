"""Makes tests/golden/repaint: parts of a picture painted anew by a model that wasn't made for it.

    python tests/reference/repaint.py

diffusers' own StableDiffusionInpaintPipeline, whose UNet here has four channels, in double precision and twenty
steps, with the tiny random model of the golden `generation`.
"""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as inpaint
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from generation import GOLDEN as GENERATION, MARKS
from sampler import make_scheduler

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "repaint"
PROMPT, NEGATIVE = "two basketball players on an outdoor court", "a photograph"
STEPS, GUIDANCE = 20, 3.0
SAMPLERS = ["ddim", "euler", "dpm++2m", "unipc"]
STRENGTH = 0.45


def load():
    part = lambda kind, part: kind.from_pretrained(GENERATION / "model" / part).double().eval()
    vae = part(AutoencoderKL, "vae")
    # The distribution of latents is narrow, so that what is drawn from it is its mean.
    vae.quant_conv.weight.data[4:] = 0
    vae.quant_conv.bias.data[4:] = -30
    file = str(GENERATION / "model" / "tokenizer" / "tokenizer.json")
    pipe = StableDiffusionInpaintPipeline(
        vae=vae, unet=part(UNet2DConditionModel, "unet"), text_encoder=part(CLIPTextModel, "text_encoder"),
        tokenizer=PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=77, **MARKS),
        scheduler=DDIMScheduler.from_pretrained(GENERATION / "model" / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def main():
    torch.set_num_threads(1)
    pipe = load()
    config = pipe.scheduler.config
    noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(10)
    # Smooth, so that its latents are about as large as those that are painted.
    coarse = torch.rand((1, 3, 4, 6), generator=generator) * 255
    rgb = torch.nn.functional.interpolate(coarse, size=(64, 96), mode="bilinear")[0].permute(1, 2, 0).round().to(torch.uint8)
    anew = torch.zeros((64, 96), dtype=torch.uint8)
    anew[13:51, 20:61] = 255
    tensors = {"noise": noise, "rgb": rgb.half(), "anew": (anew // 255).half()}
    finals = {}
    for sampler in SAMPLERS:
        scheduler = make_scheduler(sampler, "uniform", config, STEPS)
        pipe.scheduler = scheduler
        with torch.no_grad():
            final = pipe(
                prompt=PROMPT, negative_prompt=NEGATIVE, image=Image.fromarray(rgb.numpy()),
                mask_image=Image.fromarray(anew.numpy()), strength=1.0, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                latents=noise.double().clone(), height=64, width=96, output_type="latent",
            ).images
        finals[sampler] = final
        tensors[f"{sampler}.final"] = final.float()
        print(f"{sampler}: deviation {final.std():.2f}, from ddim {((final - finals['ddim']).norm() / final.norm()):.2f}")
    # From the picture with part of the noise: diffusers takes given latents for the whole noise, so it is given this noise.
    inpaint.randn_tensor = lambda *_, **__: noise.double().clone()
    for sampler in SAMPLERS:
        pipe.scheduler = make_scheduler(sampler, "uniform", config, STEPS)
        with torch.no_grad():
            final = pipe(
                prompt=PROMPT, negative_prompt=NEGATIVE, image=Image.fromarray(rgb.numpy()),
                mask_image=Image.fromarray(anew.numpy()), strength=STRENGTH, num_inference_steps=STEPS,
                guidance_scale=GUIDANCE, height=64, width=96, output_type="latent",
            ).images
        tensors[f"{sampler}.part"] = final.float()
        print(f"{sampler}: from all of the noise {((final - finals[sampler]).norm() / final.norm()):.2f}")
    with torch.no_grad():
        image = pipe.vae.decode(finals["ddim"] / pipe.vae.config.scaling_factor).sample[0]
    tensors["ddim.picture"] = ((image / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).half()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, GOLDEN / "expected.safetensors")


if __name__ == "__main__":
    main()
