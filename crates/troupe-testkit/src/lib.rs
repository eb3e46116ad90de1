//! Compares numbers with goldens and says where they first differ; a dev-dependency only.
