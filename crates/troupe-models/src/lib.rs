//! CLIP, UNet, VAE, LoRA; checkpoint and LoRA file formats.
