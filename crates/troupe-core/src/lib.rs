//! The vocabulary: prompt, axis, share, brief, cast, plan, layout, box, region weights, seed.
