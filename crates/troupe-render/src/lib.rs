//! Layout to image: conditioning, guidance, denoising, decoding.
