"""Makes tests/golden/lora-kinds: LoHa, LoKr, DoRA and others, and the weights that they make.

    python tests/reference/lora_kinds.py

The networks are the tiny SD 1 of tests/golden/single-file. peft makes and merges its LoHa, LoKr and
DoRA; LyCORIS makes the kinds and the Tucker forms that peft hasn't got, and the merged weight is the
one with which its module computes: the script checks that the module's output is that of the weight.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import UNet2DConditionModel
from lycoris.functional.general import weight_decompose
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "lora-kinds"
MODEL = Path(__file__).resolve().parents[1] / "golden" / "single-file" / "sd1"
TARGETS = ["to_q", "to_k", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "time_emb_proj"]
# Matrices, convolutions of one pixel and of nine; square ones and others.
WATCHED = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.1.resnets.0.conv1",
    "mid_block.resnets.1.conv1",
    "up_blocks.0.resnets.1.time_emb_proj",
]
PEFT = {
    # Convolutions in the Tucker form, and flattened.
    "loha_tucker": LoHaConfig(r=3, alpha=4, target_modules=TARGETS, init_weights=False, use_effective_conv2d=True,
                              alpha_pattern={"conv1": 2}),
    "loha": LoHaConfig(r=2, alpha=3, target_modules=TARGETS, init_weights=False, rank_pattern={"to_q": 4}),
    # With both factors whole, either one or both as products, and the second in the Tucker form.
    "lokr": LoKrConfig(r=3, alpha=5, target_modules=TARGETS, init_weights=False, decompose_both=True),
    "lokr_tucker": LoKrConfig(r=3, alpha=2, target_modules=TARGETS, init_weights=False, decompose_factor=2,
                              use_effective_conv2d=True, alpha_pattern={"mid_block.resnets.1.conv1": 7}),
    "dora": LoraConfig(r=3, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False, use_dora=True,
                       alpha_pattern={"conv1": 2}),
    "with_bias": LoraConfig(r=2, lora_alpha=3, target_modules=["to_out.0", "time_emb_proj"], init_lora_weights=False, lora_bias=True),
    "plain": LoraConfig(r=2, lora_alpha=3, target_modules=TARGETS, init_lora_weights=False),
}
# Module by module what LyCORIS makes of it; ranks that differ from alphas, and lengths of rows and of columns.
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0"
LYCORIS = {
    f"{ATTENTION}.attn1.to_q": (LoConModule, dict(lora_dim=3, alpha=2, weight_decompose=True)),
    f"{ATTENTION}.attn1.to_k": (LoConModule, dict(lora_dim=2, alpha=3, weight_decompose=True, wd_on_out=False)),
    f"{ATTENTION}.attn1.to_v": (LokrModule, dict(lora_dim=3, factor=2)),
    f"{ATTENTION}.attn1.to_out.0": (LokrModule, dict(lora_dim=1, alpha=0.5, factor=2, weight_decompose=True)),
    f"{ATTENTION}.attn2.to_q": (LohaModule, dict(lora_dim=3, alpha=2)),
    f"{ATTENTION}.attn2.to_k": (LohaModule, dict(lora_dim=2, alpha=1, weight_decompose=True)),
    f"{ATTENTION}.ff.net.0.proj": (LokrModule, dict(lora_dim=3, alpha=1.5, decompose_both=True)),
    f"{ATTENTION}.ff.net.2": (FullModule, {}),
    f"{ATTENTION}.norm1": (NormModule, {}),
    "down_blocks.0.attentions.0.norm": (NormModule, {}),
    "down_blocks.0.resnets.0.conv1": (LoConModule, dict(lora_dim=3, alpha=2, use_tucker=True)),
    "down_blocks.0.resnets.0.conv2": (LoConModule, dict(lora_dim=3, alpha=2, use_tucker=True, weight_decompose=True)),
    "down_blocks.1.resnets.0.conv1": (LohaModule, dict(lora_dim=3, alpha=2, use_tucker=True)),
    "down_blocks.1.resnets.0.conv2": (LokrModule, dict(lora_dim=3, alpha=2, factor=2, use_tucker=True)),
    "mid_block.resnets.0.conv1": (LokrModule, dict(lora_dim=3, alpha=4, factor=2)),
    "mid_block.resnets.0.conv2": (LoConModule, dict(lora_dim=2, alpha=3, weight_decompose=True, wd_on_out=False)),
    "mid_block.resnets.1.conv1": (LohaModule, dict(lora_dim=2, alpha=3)),
    "mid_block.resnets.1.conv2": (FullModule, {}),
}


def network():
    """The file holds f16; the reference merges the rounded weights in f32."""
    return UNet2DConditionModel.from_pretrained(MODEL / "unet", variant="fp16").float().eval()


def tensors_of(model, modules):
    """Weights and biases of modules by their names."""
    found = dict(model.named_modules())
    for name in modules:
        module = getattr(found[name], "base_layer", found[name])
        for end in ("weight", "bias"):
            value = getattr(module, end, None)
            if value is not None:
                yield f"{name}.{end}", value.detach().clone()


def save(tensors, name):
    save_file({key: value.detach().float().contiguous().clone() for key, value in tensors.items()}, GOLDEN / name)


def randomise(model):
    """Lengths and biases begin as what changes nothing, and products of many factors as very little."""
    for key, value in model.named_parameters():
        if "lora_magnitude_vector" in key or ".lora_B.default.bias" in key:
            value.data = value.data * (1 + 0.3 * torch.randn(value.shape)) + 0.05 * torch.randn(value.shape)
        elif "hada_" in key or "lokr_" in key:
            value.data = 0.6 * torch.randn(value.shape)


def peft_folders(expected):
    """What peft's `save_pretrained` writes, and what it merges at two scales."""
    for seed, (name, config) in enumerate(PEFT.items(), start=20):
        torch.manual_seed(seed)
        model = get_peft_model(network(), config)
        randomise(model)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            save(load_file(Path(folder) / "adapter_model.safetensors"), f"{name}.safetensors")
            text = json.loads((Path(folder) / "adapter_config.json").read_text())
        text["target_modules"].sort()
        (GOLDEN / f"{name}.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
        for scale in [1.0, 0.6]:
            merged = load_peft({name: scale})
            expected.update({f"{name}*{scale}/{key}": value for key, value in tensors_of(merged, WATCHED)})
    # One after another: peft takes DoRA's lengths of the weight before all of them.
    for scales in [{"plain": 0.7, "dora": 0.6}, {"dora": 0.6, "plain": 0.7}]:
        merged = load_peft(scales)
        case = "+".join(f"{name}*{scale}" for name, scale in scales.items())
        expected.update({f"{case}/{key}": value for key, value in tensors_of(merged, WATCHED[:5])})


def load_peft(scales):
    """A network with saved adapters merged, each at its scale."""
    model = network()
    for name in scales:
        inject_adapter_in_model(PEFT[name], model, adapter_name=name)
    own = dict(model.named_parameters())
    for name in scales:
        for key, value in load_file(GOLDEN / f"{name}.safetensors").items():
            key = key.removeprefix("base_model.model.")
            begin, _, end = key.rpartition(".")
            places = [f"{key}.{name}", f"{key}.{name}.weight", f"{begin}.{name}.{end}"]
            [place] = [it for it in places if it in own]
            own[place].data.copy_(value)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            for name, scale in scales.items():
                module.set_scale(name, scale)
            module.merge(adapter_names=list(scales))
    return model


def lycoris_file(expected):
    """A file in the names of kohya with a kind for each module, and what LyCORIS makes of the weights."""
    model = network()
    modules = dict(model.named_modules())
    tensors = {}
    for seed, (name, (kind, options)) in enumerate(LYCORIS.items(), start=60):
        torch.manual_seed(seed)
        base = modules[name]
        module = kind("lora", base, 1.0, **options)
        with torch.no_grad():
            for key, value in module.named_parameters():
                if "dora_scale" in key:
                    value.mul_(1 + 0.3 * torch.randn(value.shape))
                elif not key.startswith("org_module"):
                    value.copy_(0.5 * torch.randn(value.shape))
            written, weight, bias = lycoris_weight(module, base)
        prefix = "lora_unet_" + name.replace(".", "_")
        if {"lokr_w1", "lokr_w2"} <= written.keys():
            # Neither LyCORIS nor ComfyUI scales by it, where there is no rank.
            written["alpha"] = torch.tensor(9.0)
        tensors.update({f"{prefix}.{key}": value for key, value in written.items()})
        # ComfyUI's scale, which is outside of DoRA's.
        for scale in [1.0, 0.6]:
            expected[f"lycoris*{scale}/{name}.weight"] = base.weight + scale * (weight - base.weight)
            if bias is not None:
                expected[f"lycoris*{scale}/{name}.bias"] = base.bias + scale * (bias - base.bias)
    save(tensors, "lycoris.safetensors")


def lycoris_weight(module, base):
    """What a module writes, the weight and the bias with which it computes."""
    if isinstance(module, NormModule):
        written = {"w_norm": module.w_norm, "b_norm": module.b_norm}
        return written, *module.get_merged_weight()
    if isinstance(module, FullModule):
        written = {"diff": module.weight.clone(), "diff_b": module.bias.clone()}
        return written, base.weight + module.weight, base.bias + module.bias
    if isinstance(module, LoConModule):
        delta = module.get_diff_weight()[0]
    else:
        # Its `get_merged_weight` scales by alpha / rank twice; the output is what counts.
        delta = module.get_weight(module.shape) * module.scalar
    weight = base.weight + delta
    if module.wd:
        weight = weight_decompose(weight, module.dora_scale, 1, module.wd_on_out)
    shape = (2, base.in_features) if isinstance(base, torch.nn.Linear) else (1, base.in_channels, 6, 6)
    x = torch.randn(shape)
    ours = module.op(x, weight, base.bias, **module.kw_dict)
    torch.testing.assert_close(module(x), ours, rtol=1e-4, atol=1e-5)
    return module.custom_state_dict(), weight, None


def main():
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    expected = {}
    peft_folders(expected)
    lycoris_file(expected)
    base = dict(network().named_parameters())
    changed = {"lycoris*1.0", "lycoris*0.6", "dora*1.0", "loha*1.0", "lokr*1.0", "loha_tucker*1.0", "lokr_tucker*1.0"}
    for key, value in expected.items():
        case, name = key.split("/")
        if case in changed and name.endswith("weight"):
            moved = (value - base[name]).norm() / base[name].norm()
            assert 0.02 < moved < 20, f"{key} moves by {moved}"
    save(expected, "expected.safetensors")


if __name__ == "__main__":
    main()
