//! The architecture of `crates/README.md`, as tests: who may depend on whom, and on what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every crate, bottom to top, and the crates of ours that it may use. A crate may use only what
/// stands above its own line; stages don't see each other, only the vocabulary.
const LAYERS: [(&str, &[&str]); 12] = [
    ("troupe-testkit", &[]),
    ("troupe-core", &[]),
    ("troupe-plan", &["troupe-core"]),
    ("troupe-layout", &["troupe-core"]),
    ("troupe-sampler", &["troupe-core"]),
    ("troupe-nn", &["troupe-core"]),
    ("troupe-models", &["troupe-core", "troupe-nn"]),
    ("troupe-llm", &["troupe-core"]),
    ("troupe-render", &["troupe-core", "troupe-sampler", "troupe-nn", "troupe-models"]),
    ("troupe-audit", &["troupe-core", "troupe-nn", "troupe-models"]),
    (
        "troupe-pipeline",
        &[
            "troupe-core",
            "troupe-plan",
            "troupe-layout",
            "troupe-sampler",
            "troupe-nn",
            "troupe-models",
            "troupe-llm",
            "troupe-render",
            "troupe-audit",
        ],
    ),
    ("troupe", &["troupe-core", "troupe-plan", "troupe-layout", "troupe-llm", "troupe-pipeline"]),
];

/// Crates of others that only some of ours may use.
const RESERVED: [(&str, &[&str]); 10] = [
    (
        "candle-core",
        &["troupe-sampler", "troupe-nn", "troupe-models", "troupe-render", "troupe-audit"],
    ),
    ("candle-nn", &[]),
    ("candle-transformers", &[]),
    ("llama-cpp-2", &["troupe-llm"]),
    ("llguidance", &["troupe-llm"]),
    ("toktrie", &["troupe-llm"]),
    ("memmap2", &["troupe-pipeline"]), // Models take tensors and bytes, not paths.
    ("hf-hub", &["troupe-pipeline"]),  // Nothing else talks to a network.
    ("clap", &["troupe"]),
    ("indicatif", &["troupe"]),
];

/// One dependency of one of our crates.
struct Dependency {
    of: String,
    on: String,
    only_for_tests: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root is there")
}

/// The names of our crates, and all that they depend on directly.
fn metadata() -> (Vec<String>, Vec<Dependency>) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("a list");
    let names = packages.iter().map(|it| text(&it["name"])).collect();
    let dependencies = packages
        .iter()
        .flat_map(|package| {
            package["dependencies"].as_array().expect("a list").iter().map(|dependency| {
                Dependency {
                    of: text(&package["name"]),
                    on: text(&dependency["name"]),
                    only_for_tests: dependency["kind"] == "dev",
                }
            })
        })
        .collect();
    (names, dependencies)
}

fn position(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(it, _)| *it == name)
}

#[test]
fn layers_list_every_crate_and_point_downwards() {
    let (names, _) = metadata();
    for name in &names {
        assert!(position(name).is_some(), "{name} has no layer: add it to LAYERS");
    }
    for (at, (name, uses)) in LAYERS.iter().enumerate() {
        assert!(names.iter().any(|it| it == name), "{name} is in LAYERS, and there is none");
        for used in *uses {
            let below = position(used).is_some_and(|it| it < at);
            assert!(below, "{name} may not depend on {used}: it isn't below");
        }
    }
}

#[test]
fn crates_use_only_what_their_layer_may() {
    let (_, dependencies) = metadata();
    assert!(!dependencies.is_empty());
    for Dependency { of, on, only_for_tests } in &dependencies {
        if position(on).is_none() || (on == "troupe-testkit" && *only_for_tests) {
            continue;
        }
        let uses = position(of).map_or(&[][..], |at| LAYERS[at].1);
        assert!(uses.contains(&on.as_str()), "{of} may not depend on {on}");
    }
}

#[test]
fn heavy_dependencies_stop_where_they_should() {
    let (_, dependencies) = metadata();
    for (on, who) in RESERVED {
        for dependency in dependencies.iter().filter(|it| it.on == on) {
            let of = dependency.of.as_str();
            assert!(who.contains(&of), "{of} may not depend on {on}; only {who:?} may");
        }
    }
}

/// Files, clocks, the environment and the terminal are known to none of these.
#[test]
fn pure_crates_are_silent_and_touch_nothing() {
    let forbidden =
        ["std::fs", "std::env", "std::net", "std::process", "std::time", "std::thread", "io::std"];
    for name in [
        "troupe-core",
        "troupe-plan",
        "troupe-layout",
        "troupe-sampler",
        "troupe-models",
        "troupe-audit",
    ] {
        let folder = root().join("crates").join(name).join("src");
        let mut files = Vec::new();
        sources(&folder, &mut files);
        assert!(!files.is_empty(), "{} holds no code", folder.display());
        let is_test = |it: &Path| {
            let below = it.strip_prefix(&folder).unwrap_or(it);
            it.ends_with("tests.rs") || below.components().any(|it| it.as_os_str() == "tests")
        };
        for file in files.iter().filter(|it| !is_test(it)) {
            let text = fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for it in forbidden {
                assert!(!code.contains(it), "{} uses {it}", file.display());
            }
        }
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}
