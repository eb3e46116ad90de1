//! The layers that diffusion networks are made of, on candle, with CPU kernels behind one trait.
