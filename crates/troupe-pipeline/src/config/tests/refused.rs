//! What a configuration refuses, where, and in which words.

use super::*;

#[test]
fn unknown_keys_name_the_nearest() {
    check("[paint]\nstepz = 3", 2, 1, &["`stepz`", "nearest is `steps`"]);
    check("[piant]\nsteps = 3", 1, 2, &["`piant`", "nearest is `paint`"]);
    check("[[plan.axis]]", 1, 8, &["`axis`", "nearest is `axes`"]);
    check("paint.regions = { base = 1 }", 1, 19, &["`base`", "nearest is `base_ratio`"]);
    check("plan.subjects.mim = 3", 1, 15, &["`mim`", "nearest is `min`"]);
    check(&axis(&["name = \"old\", shares = 5"]), 4, 19, &["`shares`", "nearest is `share`"]);
    check("layout.canvas = { width = 64, heightt = 64 }", 1, 31, &["nearest is `height`"]);
    // Letters count as columns, not their bytes.
    check("paint = { negative = \"äöü\", seed = 1 }", 1, 29, &["`seed`"]);
    check("[paint]\n\"a\\nb\u{1F600}\" = 3", 2, 1, &["`a b"]);
    // Keys of later versions are unknown to this one.
    for key in ["device", "schedule"] {
        check(&format!("[paint]\n{key} = \"auto\""), 2, 1, &["unknown key", key]);
    }
    let lora = "[[paint.loras]]\npath = \"a\"\nsubjects = { axes = \"b\", value = \"c\" }";
    check(lora, 3, 14, &["unknown key `axes`", "nearest is `axis`"]);
    let lora = |blocks: &str| format!("[[paint.loras]]\npath = \"a\"\nblocks = {blocks}");
    check(&lora("{ dwon = 0.5 }"), 3, 12, &["unknown key `dwon`", "nearest is `down`", "mid"]);
    check(&lora("{ \"down.1\" = 0.5 }"), 3, 12, &["unknown key `down.1`"]);
    check(&lora("{ up_blocks.1 = 0.5 }"), 3, 12, &["`paint.loras[0].blocks.up_blocks`", "quotes"]);
    check(&lora("{ up = \"much\" }"), 3, 17, &["a number from -10 to 10", "blocks.up`"]);
    check(&lora("0.5"), 3, 10, &["a table of parts of the model"]);
}

#[test]
fn wrong_types_say_what_was_wanted() {
    let steps = "a whole number from 1 to 1000 for `paint.steps`";
    check("paint.steps = \"x\"", 1, 15, &[steps, "the text \"x\""]);
    check("paint.steps = 2.5", 1, 15, &[steps, "it is 2.5"]);
    check("paint.steps = true", 1, 15, &[steps, "it is true"]);
    check("paint = 5", 1, 9, &["a table of model, vae, embeddings", "it is 5"]);
    check("paint.model = 1", 1, 15, &["a text in quotes for `paint.model`"]);
    check("paint.rng = \"cuda\"", 1, 13, &["\"troupe\" or \"torch-cpu\" for `paint.rng`"]);
    check("paint.spacing = 1", 1, 17, &["\"model\" or \"leading\" or \"trailing\""]);
    check("paint.eta = 1.5", 1, 13, &["a number from 0 to 1 for `paint.eta`"]);
    check("paint.guidance_rescale = 2", 1, 26, &["a number from 0 to 1"]);
    check("paint.loras = \"x\"", 1, 15, &["a list of tables", "the text \"x\""]);
    check("paint.loras = [\"x\"]", 1, 16, &["`paint.loras[0]`", "a table of path, scale"]);
    check("layout.formation = \"heap\"", 1, 20, &["\"auto\" or \"row\" or \"two_rows\""]);
    check("layout.canvas = \"big\"", 1, 17, &["\"auto\" or { width, height }"]);
    check("layout.canvas = 512", 1, 17, &["\"auto\" or { width, height }"]);
    check("paint.guidance = 1979-05-27", 1, 18, &["a number from 1 to 50", "a date or a time"]);
    check("run.metadata = []", 1, 16, &["\"full\" or \"provenance\" or \"none\"", "a list"]);
    check("plan.axes = [{ name = \"a\" }]", 1, 14, &["wanted `values` in `plan.axes[0]`"]);
    check("[[paint.loras]]\nscale = 1", 1, 1, &["wanted `path` in `paint.loras[0]`"]);
    let mixed = "[[plan.axes]]\nname = \"a\"\nvalues = []\nmixed = [1]";
    check(mixed, 4, 10, &["`plan.axes[0].mixed[0]`"]);
}

#[test]
fn numbers_stay_in_their_ranges() {
    check("paint.regions.base_ratio = { from = 0, to = 2 }", 1, 45, &["base_ratio.to", "0 to 1"]);
    for (key, values) in [
        ("paint.steps", &["0", "1001", "-1", "99999999999999999999"][..]),
        ("paint.guidance", &["0.9", "50.1", "nan", "inf", "-inf", "1e999"]),
        ("paint.threads", &["-1", "1025"]),
        ("paint.regions.base_ratio", &["-0.1", "1.1", "nan"]),
        ("paint.regions.isolate", &["-0.1", "2"]),
        ("paint.regions.base_ratio", &["{ from = 0 }", "\"half\""]),
        ("paint.regions.feather", &["0.6"]),
        ("paint.regions.mixing", &["\"both\"", "1"]),
        ("paint.regions.compose", &["1.5"]),
        ("paint.regions.bootstrap", &["-1"]),
        ("plan.subjects.min", &["0", "13"]),
        ("run.seed", &["-1", "9223372036854775808"]),
    ] {
        for value in values {
            check(&format!("{key} = {value}"), 1, key.len() + 4, &[]);
            check_set(&[], &[(key, value)], &[&format!("`{key}` on the command line: ")]);
        }
    }
    check("layout.canvas = { width = 100, height = 64 }", 1, 17, &["multiples of 8", "100x64"]);
    check("layout.canvas = { width = 64, height = 8 }", 1, 40, &["from 64 to 4096"]);
    check("[plan.subjects]\nmin = 8", 1, 1, &["`min` not above `max`", "8 to 6"]);
    check("paint.sampler = \"eulr\"", 1, 17, &["sampler `eulr`", "nearest is `euler`"]);
    assert_eq!(keys::MOST_SUBJECTS, u64::from(troupe_core::brief::MAXIMUM_SUBJECTS));
}

#[test]
fn shares_are_numbers_not_negative_and_not_all_zero() {
    let share = |share: &str| {
        axis(&["name = \"old\", share = 1", &format!("name = \"young\", share = {share}")])
    };
    check(&share("-5"), 5, 29, &["from 0 to", "-5"]);
    check(&share("-0.5"), 5, 29, &["from 0 to", "-0.5"]);
    check(&share("\"5\""), 5, 29, &["a number", "the text \"5\""]);
    check(&share("nan"), 5, 29, &["a number", "nan"]);
    check(&share("inf"), 5, 29, &["a number", "inf"]);
    check(&share("0.1234567"), 5, 29, &["at most 6 decimals"]);
    check(&share("true"), 5, 29, &["a number"]);
    let zero = axis(&["name = \"old\", share = 0", "name = \"young\", share = 0.0"]);
    check(&zero, 3, 10, &["axis `age`", "all are zero"]);
}

#[test]
fn axes_that_contradict_themselves_are_found() {
    check(&axis(&[]), 3, 10, &["at least one value"]);
    check(&axis(&["name = \"x\", share = 1", "name = \"X\", share = 1"]), 5, 3, &["two values"]);
    let one = axis(&["name = \"x\", share = 1"]);
    check(&format!("{one}{one}"), 7, 8, &["two axes have this name"]);
    let given =
        "[[plan.axes.given]]\naxis = \"size\"\nis = \"b\"\nvalues = [{ name = \"x\", share = 1 }]";
    check(&format!("{one}{given}"), 6, 1, &["`size`, which isn't declared"]);
    check(&axis(&["name = \"a\", share = 1, stature = 3"]), 4, 38, &["0.2 to 2"]);
}

#[test]
fn what_is_no_toml_says_where() {
    check("[paint\nsteps = 3", 1, 7, &[]);
    check("[paint]\nsteps = 3\nsteps = 4", 3, 1, &["duplicate key"]);
    check("[paint]\n[paint]", 2, 2, &["duplicate key"]);
    check("[paint]\nnegative = \"open", 2, 17, &[]);
    check("paint.steps = 3\0", 1, 15, &[]);
    assert!(load(&format!("a = {}", "[".repeat(100_000))).is_err());
    assert!(load(&format!("a = {}", "{a=".repeat(100_000))).is_err());
    assert!(load(&format!("{}a = 1", "a.".repeat(100_000))).is_err());
    let long = format!("#{}", "x".repeat(LONGEST));
    check(&long, 1, 1, &["at most 1048576 bytes", "1048577"]);
    assert!(load(&long[1..].replace('x', "#")).is_ok());
}

#[test]
fn variables_and_flags_are_named() {
    check_set(
        &[("TROUPE_PAINT_STEPZ", "3")],
        &[],
        &["TROUPE_PAINT_STEPZ: ", "nearest is `TROUPE_PAINT_STEPS`"],
    );
    check_set(&[("TROUPE_PIANT_STEPS", "3")], &[], &["nearest is `TROUPE_PAINT_STEPS`"]);
    check_set(&[("TROUPE_PAINT_STEPS", "x")], &[], &["TROUPE_PAINT_STEPS: ", "a whole number"]);
    check_set(&[("TROUPE_PAINT_STEPS", "")], &[], &["TROUPE_PAINT_STEPS: ", "a whole number"]);
    check_set(
        &[("TROUPE_PAINT_SAMPLER", "x")],
        &[],
        &["TROUPE_PAINT_SAMPLER: ", "unknown sampler"],
    );
    check_set(&[], &[("paint.stepz", "3")], &["nearest is `paint.steps`"]);
    check_set(&[], &[("plan.subjects.min", "9")], &["`plan.subjects.min` on", "9 to 6"]);
    check_set(
        &[("TROUPE_PLAN_SUBJECTS_MAX", "2")],
        &[("paint.steps", "3")],
        &["TROUPE_PLAN_SUBJECTS_MAX: "],
    );
    check_set(
        &[("TROUPE_PLAN_AXES", "[{ name = 'a', values = [] }]")],
        &[],
        &["TROUPE_PLAN_AXES: ", "at least one"],
    );
    check_set(
        &[("TROUPE_PLAN", "{ subject = 1 }")],
        &[],
        &["TROUPE_PLAN: ", "nearest is `subjects`"],
    );
}
