//! Prompt to scene plan, given anything that completes text under a schema.
