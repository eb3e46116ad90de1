//! CLIP, UNet, VAE, LoRA; checkpoint and LoRA file formats.

pub mod checkpoint;
pub mod clip;
pub mod config;
pub mod contrastive;
pub mod embedding;
mod encoder;
pub mod error;
pub mod hash;
pub mod lora;
pub mod prompt;
pub mod single_file;
pub mod tokenizer;
pub mod unet;
pub mod vae;
pub mod weights;
