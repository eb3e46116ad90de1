//! CLIP, UNet, VAE, LoRA; checkpoint and LoRA file formats.

pub mod clip;
pub mod config;
pub mod error;
pub mod lora;
pub mod tokenizer;
pub mod vae;
pub mod weights;
