"""Makes tests/golden/generation-families: whole generations of SDXL and of an SD 2 inpainting model.

    python tests/reference/generation_families.py

The pictures are those of diffusers' own StableDiffusionXLPipeline and StableDiffusionInpaintPipeline, in
double precision and twenty steps, from tiny random models. People in boxes are the attention processor of
`unet.py`, put into the pipeline.
"""

import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import (
    AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, StableDiffusionXLPipeline, UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from generation import MARKS, SCENE, isolated_steps, region_map
from unet import RegionalProcessor, randomise

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "generation-families"
TOKENIZER = GOLDEN.parent / "clip" / "tokenizer.json"
PROMPT, NEGATIVE = "two basketball players on an outdoor court", "a photograph"
STEPS, GUIDANCE, BASE_RATIO, ISOLATE = 20, 3.0, 0.2, 0.5
SCHEDULER = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
                 set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")


def text_encoder(kind, generator, width, **more):
    model = kind(CLIPTextConfig(vocab_size=664, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3,
                                num_attention_heads=2, eos_token_id=2, **more))
    randomise(model, generator, small=False)
    return model


def tokenizer(**more):
    return PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), model_max_length=77, **{**MARKS, **more})


def unet(generator, **config):
    blocks = dict(down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"])
    model = UNet2DConditionModel(sample_size=8, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
                                 attention_head_dim=[1, 2], use_linear_projection=True, **blocks, **config)
    randomise(model, generator, small=False)
    return model


def vae(generator, **config):
    model = AutoencoderKL(block_out_channels=[4, 4, 8, 8], layers_per_block=1, norm_num_groups=2, latent_channels=4,
                          down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, **config)
    randomise(model, generator, small=False)
    model.decoder.conv_out.weight.data *= 0.3  # Few pixels of the picture are cut off.
    # The distribution of latents is narrow, so that what is drawn from it is its mean.
    model.quant_conv.weight.data[4:] = 0
    model.quant_conv.bias.data[4:] = -30
    return model


def make_models():
    generator = torch.Generator().manual_seed(8)
    sdxl = dict(
        unet=unet(generator, cross_attention_dim=40, transformer_layers_per_block=[1, 2], addition_embed_type="text_time",
                  addition_time_embed_dim=4, projection_class_embeddings_input_dim=36),
        vae=vae(generator, scaling_factor=0.13025),
        text_encoder=text_encoder(CLIPTextModel, generator, 16, hidden_act="quick_gelu"),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, generator, 24, hidden_act="gelu", projection_dim=12),
    )
    inpaint = dict(
        unet=unet(generator, cross_attention_dim=16, in_channels=9),
        vae=vae(generator, scaling_factor=0.18215),
        text_encoder=text_encoder(CLIPTextModel, generator, 16, hidden_act="gelu"),
    )
    for name, parts, prediction in (("sdxl", sdxl, "epsilon"), ("inpaint", inpaint, "v_prediction")):
        for part, model in parts.items():
            # The UNet in several files.
            size = "60KB" if part == "unet" else "10GB"
            model.half().save_pretrained(GOLDEN / name / part, max_shard_size=size)
        DDIMScheduler(prediction_type=prediction, **SCHEDULER).save_pretrained(GOLDEN / name / "scheduler")


def load(name):
    part = lambda kind, part: kind.from_pretrained(GOLDEN / name / part).double().eval()
    parts = dict(unet=part(UNet2DConditionModel, "unet"), vae=part(AutoencoderKL, "vae"), text_encoder=part(CLIPTextModel, "text_encoder"),
                 scheduler=DDIMScheduler.from_pretrained(GOLDEN / name / "scheduler"), tokenizer=tokenizer())
    if name == "sdxl":
        second = part(CLIPTextModelWithProjection, "text_encoder_2")
        pipe = StableDiffusionXLPipeline(text_encoder_2=second, tokenizer_2=tokenizer(pad_token="!"), add_watermarker=False, **parts)
    else:
        pipe = StableDiffusionInpaintPipeline(safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe, noise, scene=None, **more):
    """The final latents; with a scene, people in boxes."""
    processors = None
    if scene:
        maps, (height, width) = {}, noise.shape[2:]
        for _ in pipe.unet.config.block_out_channels:
            maps[height * width] = region_map(scene, height, width, BASE_RATIO, torch.float64)
            height, width = (height + 1) // 2, (width + 1) // 2
        contexts = torch.cat([pipe.encode_prompt(it["sub_prompt"], do_classifier_free_guidance=False)[0] for it in scene["subjects"]])
        processors = [RegionalProcessor(maps, contexts, isolate) for isolate in (True, False)]

    def use(step):
        isolate = step < isolated_steps(ISOLATE, STEPS)
        pipe.unet.set_attn_processor(processors[0 if isolate else 1] if processors else AttnProcessor2_0())

    def after(_pipe, step, _timestep, tensors):
        use(step + 1)
        return tensors

    use(0)
    with torch.no_grad():
        return pipe(num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise.double().clone(), height=64, width=96,
                    output_type="latent", callback_on_step_end=after, **more).images


def skipped(pipe):
    """`clip_skip` for both prompts, as A1111 has it; diffusers itself leaves the negative prompt as it is."""
    embeds = {}
    for prefix, prompt in (("", PROMPT), ("negative_", NEGATIVE)):
        with torch.no_grad():
            context, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, clip_skip=1)
        embeds |= {f"{prefix}prompt_embeds": context, f"{prefix}pooled_prompt_embeds": pooled}
    return embeds


def picture(pipe, latents):
    with torch.no_grad():
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample[0]
    return ((image / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0)


def main():
    torch.set_num_threads(1)
    for name in ("sdxl", "inpaint"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
    make_models()
    noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(9))
    pipe = load("sdxl")
    finals = {
        "plain": generate(pipe, noise, prompt=PROMPT, negative_prompt=NEGATIVE),
        "zeros": generate(pipe, noise, prompt=PROMPT),
        "skipped": generate(pipe, noise, **skipped(pipe)),
        "regional": generate(pipe, noise, SCENE, prompt=SCENE["base_prompt"], negative_prompt=NEGATIVE),
    }
    tensors = {f"sdxl.{name}": latents.float() for name, latents in finals.items()}
    tensors["sdxl.picture"] = picture(pipe, finals["plain"]).half()

    pipe = load("inpaint")
    generator = torch.Generator().manual_seed(10)
    rgb = torch.randint(0, 256, (64, 96, 3), generator=generator, dtype=torch.uint8)
    anew = torch.zeros((64, 96), dtype=torch.uint8)
    anew[13:51, 20:61] = 255
    final = generate(pipe, noise, prompt=PROMPT, negative_prompt=NEGATIVE, image=Image.fromarray(rgb.numpy()),
                     mask_image=Image.fromarray(anew.numpy()), strength=1.0)
    tensors |= {"inpaint.rgb": rgb.half(), "inpaint.anew": (anew // 255).half(), "inpaint.final": final.float(),
                "inpaint.picture": picture(pipe, final).half(), "noise": noise}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, GOLDEN / "expected.safetensors")
    for name, latents in {**finals, "inpaint": final}.items():
        print(name, f"deviation {latents.std():.2f}, from plain {((latents - finals['plain']).norm() / finals['plain'].norm()):.2f}")


if __name__ == "__main__":
    main()
