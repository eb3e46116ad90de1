//! pipeline.toml, weights, the run folder, batches, resuming.
