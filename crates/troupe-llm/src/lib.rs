//! Completes text with llama.cpp under a schema, in a child process.
