//! What a configuration takes, and what it refuses.
