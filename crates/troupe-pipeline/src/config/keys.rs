//! Every key of the configuration, and what it takes.

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// Whether its table is nothing without it.
    pub(super) required: bool,
}

/// What a key takes.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Table(&'static [Key]),
    List(&'static Self),
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number; both ends are included.
    Whole(u64, u64),
    /// A side of tiles, as [`is_tile`] has it.
    Tile,
    /// A number; both ends are included.
    Number(f64, f64),
    /// A number, or a table of two between which it changes over the steps; both ends are included.
    Ramp(f64, f64),
    /// A table of numbers by names of parts of a model ([`troupe_models::lora::is_part`]); both ends are included.
    Parts(f64, f64),
    /// A [`troupe_core::share::Share`].
    Share,
    /// A name of [`troupe_sampler::Method`].
    Sampler,
    /// "auto", or a size.
    Canvas,
}

const fn key(name: &'static str, takes: Takes) -> Key {
    Key { name, takes, required: false }
}

const fn required(name: &'static str, takes: Takes) -> Key {
    Key { name, takes, required: true }
}

/// The sides of tiles that [`is_tile`] takes, in words.
pub(super) const TILES: &str = "0 or a multiple of 32 from 64 to 8192";

/// Whether tiles have sides of so many pixels: a quarter of one, over which it overlaps the next, is a whole number of
/// latents, of 8 pixels each; 0 is no tiles.
pub(super) fn is_tile(pixels: u64) -> bool {
    pixels == 0 || (64..=8192).contains(&pixels) && pixels.is_multiple_of(32)
}

/// The whole configuration.
pub(super) const ROOT: Takes = Takes::Table(&[
    key("plan", PLAN),
    key("layout", LAYOUT),
    key("paint", PAINT),
    key("audit", AUDIT),
    key("run", RUN),
]);

/// The most people that a configuration may ask for.
pub(super) const MOST_SUBJECTS: u64 = 12; // `troupe_core::brief::MAXIMUM_SUBJECTS`; a test compares them.

const PLAN: Takes = Takes::Table(&[
    key(
        "subjects",
        Takes::Table(&[
            key("min", Takes::Whole(1, MOST_SUBJECTS)),
            key("max", Takes::Whole(1, MOST_SUBJECTS)),
        ]),
    ),
    key("model", Takes::Text),
    key("axes", Takes::List(&AXIS)),
]);

const AXIS: Takes = Takes::Table(&[
    required("name", Takes::Text),
    key("applies_to", Takes::List(&Takes::Text)),
    required("values", Takes::List(&VALUE)),
    key("scope", Takes::Word(&["image", "batch"])),
    key("given", Takes::List(&GIVEN)),
    key("mixed", Takes::List(&Takes::Text)),
]);

const VALUE: Takes = Takes::Table(&[
    required("name", Takes::Text),
    required("share", Takes::Share),
    key("phrase", Takes::Text),
    key("also", Takes::List(&Takes::Text)),
    key("stature", Takes::Number(0.2, 2.0)),
]);

const GIVEN: Takes = Takes::Table(&[
    required("axis", Takes::Text),
    required("is", Takes::Text),
    required("values", Takes::List(&VALUE)),
]);

const LAYOUT: Takes = Takes::Table(&[
    key("formation", Takes::Word(&["auto", "row", "two_rows"])),
    key("canvas", Takes::Canvas),
]);

/// The size of a canvas; that its sides are multiples of 8 is checked with both at hand.
pub(super) const SIZE: Takes = Takes::Table(&[
    required("width", Takes::Whole(64, 4096)),
    required("height", Takes::Whole(64, 4096)),
]);

const PAINT: Takes = Takes::Table(&[
    key("model", Takes::Text),
    key("vae", Takes::Text),
    key("embeddings", Takes::List(&Takes::Text)),
    key("clip_skip", Takes::Whole(1, 32)),
    key("vae_tile", Takes::Tile),
    key("negative", Takes::Text),
    key("threads", Takes::Whole(0, 1024)),
    key("dtype", Takes::Word(&["auto", "f32", "f16", "bf16"])),
    key("sampler", Takes::Sampler),
    key("steps", Takes::Whole(1, 1000)),
    key("eta", Takes::Number(0.0, 1.0)),
    key("spacing", Takes::Word(&["model", "leading", "trailing", "linspace"])),
    key("rng", Takes::Word(&["troupe", "torch-cpu"])),
    key("guidance", Takes::Number(1.0, 50.0)),
    key("guidance_rescale", Takes::Number(0.0, 1.0)),
    key(
        "regions",
        Takes::Table(&[
            key("base_ratio", Takes::Ramp(0.0, 1.0)),
            key("contrast", Takes::Number(0.0, 1.0)),
            key("isolate", Takes::Number(0.0, 1.0)),
            key("isolate_level", Takes::Whole(0, 8)),
            key("alone", Takes::Number(0.0, 1.0)),
            key("feather", Takes::Number(0.0, 0.5)),
            key("mixing", Takes::Word(&["outputs", "scores"])),
            key("compose", Takes::Number(0.0, 1.0)),
            key("bootstrap", Takes::Number(0.0, 1.0)),
            key("outline", Takes::Number(0.0, 1.0)),
            key("noises", Takes::Whole(1, 32)),
            key("noise_steps", Takes::Whole(0, 20)),
            key("blobs", Takes::Number(0.0, 4.0)),
        ]),
    ),
    key(
        "second_pass",
        Takes::Table(&[
            key("strength", Takes::Number(0.0, 1.0)),
            key("enlarge", Takes::Number(1.0, 16.0)),
        ]),
    ),
    key("retries", Takes::Whole(0, 10)),
    key("loras", Takes::List(&LORA)),
]);

const LORA: Takes = Takes::Table(&[
    required("path", Takes::Text),
    key("scale", Takes::Number(-10.0, 10.0)),
    key("blocks", Takes::Parts(-10.0, 10.0)),
    key(
        "subjects",
        Takes::Table(&[
            key("axis", Takes::Text),
            key("value", Takes::Text),
            key("id", Takes::Text),
        ]),
    ),
]);

const AUDIT: Takes =
    Takes::Table(&[key("judge", Takes::Text), key("margin", Takes::Number(0.0, 1.0))]);

const RUN: Takes = Takes::Table(&[
    key("seed", Takes::Whole(0, i64::MAX.unsigned_abs())),
    key("metadata", Takes::Word(&["full", "provenance", "none"])),
]);
