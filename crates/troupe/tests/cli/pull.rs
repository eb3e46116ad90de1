//! `troupe models pull` against a server on this machine that speaks as the hub does.
//!
//! Without the feature `hub` the program fetches nothing, and says so.

#[cfg(feature = "hub")]
mod server;

use std::path::Path;

use crate::support::{Done, Place, finish};

/// The program with a hub and a cache of its own, and nothing else of the environment.
fn pull(place: &Place, endpoint: &str, model: &str, variables: &[(&str, &str)]) -> Done {
    let mut command = place.command(&["models", "pull", model]);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().to_uppercase();
        if name.starts_with("HF_") || name.starts_with("HUGGINGFACE") || name.ends_with("_PROXY") {
            command.env_remove(&name).env_remove(name.to_lowercase());
        }
    }
    command.env("HF_HOME", place.path("home")).env("HF_HUB_CACHE", place.path("cache"));
    command.env("HF_ENDPOINT", endpoint).envs(variables.iter().copied());
    finish(&mut command)
}

/// Nothing but locks and unfinished files is in the cache.
fn is_empty(cache: &Path) -> bool {
    ["snapshots", "refs"].iter().all(|it| !cache.join("models--org--name").join(it).exists())
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_program_that_was_built_without_it_fetches_nothing() {
    let place = Place::new();
    let done = pull(&place, "http://127.0.0.1:9", "hf:org/name", &[]);
    assert_eq!(done.code, Some(6), "{}", done.stderr);
    assert!(done.stderr.contains("--features hub"), "{}", done.stderr);
    assert!(is_empty(&place.path("cache")) && !place.path("cache").exists());
}

#[test]
fn offline_and_without_an_address_nothing_is_asked() {
    let place = Place::new();
    let nobody = "http://127.0.0.1:9";
    for offline in ["1", "true", "YES", "on"] {
        let done = pull(&place, nobody, "hf:org/name", &[("HF_HUB_OFFLINE", offline)]);
        assert_eq!(done.code, Some(6), "{}", done.stderr);
        assert!(done.stderr.contains("HF_HUB_OFFLINE"), "{}", done.stderr);
    }
    for model in ["starter", "nobody", "hf:../x", "hf:org/name:../x"] {
        let done = pull(&place, nobody, model, &[]);
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(done.stderr.contains("hf:ORG/NAME"), "{}", done.stderr);
    }
    assert!(is_empty(&place.path("cache")));
}
