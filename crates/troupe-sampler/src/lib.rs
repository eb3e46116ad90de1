//! Noise schedules, and samplers over any denoiser.
