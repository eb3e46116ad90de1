//! CLIP, UNet, VAE, LoRA; checkpoint and LoRA file formats.

pub mod lora;
pub mod tokenizer;
pub mod weights;
