"""LoRAs on the painter's UNet, in diffusers' keys and f16."""
import os

from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

ATTENTIONS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
CONVOLUTIONS = ["conv1", "conv2", "time_emb_proj", "conv_shortcut"]


def attached(unet, rank, layers):
    """Puts a LoRA on these layers and holds all else; returns what there is to learn."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))
    learned = [it for it in unet.parameters() if it.requires_grad]
    print(f"{sum(it.numel() for it in learned) / 1e6:.2f} M", flush=True)
    return learned


def saved(unet, path):
    """Writes the LoRA, whole or not at all."""
    state = {f"unet.{name}": it.detach().half().contiguous() for name, it in get_peft_model_state_dict(unet).items()}
    save_file(state, path + ".part", metadata={"format": "pt"})
    os.replace(path + ".part", path)
    print(len(state), "tensors")
