//! What a configuration takes, and what it refuses.

use std::fmt::Write as _;

use troupe_core::plan::Assigned;

use super::*;

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(("pipeline.toml", text)), &[], &[])
}

/// What is said of a file: where, and each part of the message.
#[track_caller]
fn check(text: &str, line: usize, column: usize, parts: &[&str]) {
    let message = load(text).unwrap_err().to_string();
    let place = format!("pipeline.toml:{line}:{column}: ");
    assert!(message.starts_with(&place), "wanted {place}in {message}");
    for part in parts {
        assert!(message.contains(part), "wanted {part} in {message}");
    }
    assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
}

/// What is said of variables and flags over an empty file.
#[track_caller]
fn check_set(environment: &[(&str, &str)], flags: &[(&str, &str)], parts: &[&str]) {
    let message = Config::load(None, &pairs(environment), &pairs(flags)).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "wanted {part} in {message}");
    }
}

/// An axis with these values, each in a line of its own from the fourth.
fn axis(values: &[&str]) -> String {
    let mut text = "[[plan.axes]]\nname = \"age\"\nvalues = [\n".to_owned();
    for value in values {
        writeln!(text, "  {{ {value} }},").unwrap();
    }
    text + "]\n"
}

#[test]
fn the_template_says_what_holds_without_it() {
    let defaults = Config::load(None, &[], &[]).unwrap();
    assert_eq!(load(TEMPLATE).unwrap(), defaults);
    assert_eq!(Config::default(), defaults);
    let axes: Vec<usize> = defaults.plan.axes.iter().map(|axis| axis.values.len()).collect();
    assert_eq!(axes, [5, 2]);
}

#[test]
fn the_repository_has_the_template() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipeline.toml");
    assert_eq!(std::fs::read_to_string(root).unwrap(), TEMPLATE);
}

#[test]
fn what_the_template_has_in_comments_is_right_too() {
    let example = |line: &str| line.starts_with("# ") && line.contains(['[', ']', '{', '=']);
    let prose = |line: &str| line.contains('`') || line.contains(": ");
    let mut text = String::new();
    let mut lines = TEMPLATE.lines().skip_while(|line| !line.starts_with("# [[plan.axes]]"));
    for line in lines.by_ref().take_while(|line| !line.starts_with("[layout]")) {
        writeln!(text, "{}", line.trim_start_matches('#')).unwrap();
    }
    for line in lines.filter(|line| example(line) && !prose(line)) {
        let line = line.trim_start_matches("# ");
        // The canvas is in an inline table of its own.
        writeln!(text, "{}", line.replace("canvas =", "[layout]\ncanvas =")).unwrap();
    }
    let config = load(&text).unwrap();
    assert_eq!(config.plan.axes.len(), 3);
    assert_eq!(config.plan.axes[2].applies_to.as_ref().unwrap().len(), 2);
    assert_eq!(config.plan.axes[1].given.len(), 1);
    assert_eq!(config.plan.axes[0].values[0].stature, Some(0.7));
    assert_eq!(config.layout.canvas, CanvasChoice::Fixed(Canvas::new(768, 512).unwrap()));
    let blocks = [("text", 0.0), ("down", 0.5), ("up_blocks.1", 0.3)];
    let blocks = blocks.map(|(part, scale)| (part.to_owned(), scale)).into();
    let expected = LoraConfig { scale: 0.6, blocks, ..lora("film-grain.safetensors") };
    assert_eq!(config.paint.loras[0], expected);
}

#[test]
fn a_lora_is_of_those_with_a_value_or_of_one_person() {
    let of = |subjects: &str| {
        let text = format!("[[paint.loras]]\npath = \"a\"\nsubjects = {subjects}");
        let config = load(&text).unwrap();
        config.paint.check().map(|()| config.paint.loras[0].subjects.clone().unwrap())
    };
    let subject = Subject {
        id: "s2".to_owned(),
        kind: 0,
        noun: "doctor".to_owned(),
        values: vec![Assigned { axis: "age".to_owned(), value: "older".to_owned(), stated: false }],
        also: Vec::new(),
        loras: Vec::new(),
        sub_prompt: String::new(),
        edited: false,
    };
    for (subjects, means) in [
        ("{ axis = \"age\", value = \"older\" }", true),
        ("{ axis = \"age\", value = \"adult\" }", false),
        ("{ axis = \"hair\", value = \"older\" }", false),
        ("{ id = \"s2\" }", true),
        ("{ id = \"s1\" }", false),
    ] {
        assert_eq!(of(subjects).unwrap().means(&subject), means, "{subjects}");
    }
    for subjects in
        ["{ axis = \"age\" }", "{ value = \"a\" }", "{}", "{ axis = \"a\", id = \"s1\" }"]
    {
        assert!(of(subjects).unwrap_err().contains("either `axis` and `value` or `id`"));
    }
}

/// A LoRA at scale 1.
fn lora(path: &str) -> LoraConfig {
    LoraConfig { path: path.to_owned(), scale: 1.0, blocks: BTreeMap::new(), subjects: None }
}

#[test]
fn a_lora_has_scales_of_parts() {
    let of = |blocks: &str| {
        load(&format!("[[paint.loras]]\npath = \"a\"\nscale = 0.5\nblocks = {blocks}"))
    };
    let config = of("{ down = 0, text = -1.5, \"up_blocks.0.attentions.1\" = 2 }").unwrap();
    let scales = config.paint.loras[0].scales();
    assert_eq!(scales.to_string(), "0.5 (down 0, text -1.5, up_blocks.0.attentions.1 2)");
    assert_eq!(config.paint.check(), Ok(()));
    assert_eq!(load(&config.resolved_toml()).unwrap(), config);
    // A picture's record comes by another way.
    for (part, scale, words) in [("dwon", 1.0, "`dwon` (known: text"), ("down", 11.0, "-10 to 10")]
    {
        let blocks = BTreeMap::from([(part.to_owned(), scale)]);
        let mut config = config.clone();
        config.paint.loras[0].blocks = blocks;
        let problem = config.paint.check().unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }
}

#[test]
fn what_is_resolved_reads_as_the_same() {
    let text = "run.seed = 9223372036854775807\nlayout = { canvas = { width = 768, height = 512 }, \
        formation = \"two_rows\" }\npaint.loras = [{ path = \"a\\\"b\" }]\n\
        plan.axes = [{ name = \"x\", values = [{ name = \"b\", share = 12.5, stature = 0.5 }, \
        { name = \"c\", share = 0.1 }], scope = \"image\" }]\nrun.metadata = \"none\"";
    for config in [Config::default(), load(text).unwrap()] {
        assert_eq!(load(&config.resolved_toml()).unwrap(), config);
    }
}

#[test]
fn what_a_file_leaves_out_is_the_default() {
    let config = load("paint = { regions = { isolate = 0 } }\nplan.subjects.max = 4").unwrap();
    assert_eq!(config.paint.regions, RegionsConfig { base_ratio: 0.2, isolate: 0.0 });
    assert_eq!(config.plan.subjects, SubjectsConfig { min: 3, max: 4 });
    assert_eq!(config.plan.axes, Config::default().plan.axes);
    assert_eq!(load("plan.axes = []").unwrap().plan.axes, []);
    assert_eq!(load("\u{feff}paint.steps = 3").unwrap().paint.steps, 3);
    assert_eq!(load("paint.steps = 0x1F\r\nrun.seed = 1_0").unwrap().paint.steps, 31);
}

#[test]
fn tiles_are_multiples_of_32_pixels() {
    let tile = |side: usize| load(&format!("paint.vae_tile = {side}")).map(|it| it.paint.vae_tile);
    for side in [0, 64, 96, 512, 8192] {
        assert_eq!(tile(side).unwrap(), side);
    }
    for side in [1_usize, 31, 32, 65, 100, 8224] {
        let message = format!("`paint.vae_tile`, and it is {side}");
        let text = format!("[paint]\nvae_tile = {side}");
        check(&text, 2, 12, &["0 or a multiple of 32 from 64 to 8192", &message]);
        let paint = PaintConfig { vae_tile: side, ..PaintConfig::default() };
        assert!(paint.check().unwrap_err().contains("a multiple of 32"));
    }
    check("paint.vae_tile = \"512\"", 1, 18, &["a multiple of 32", "the text \"512\""]);
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let steps = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let text = Some(("pipeline.toml", "paint.steps = 2\npaint.guidance = 2"));
        let config = Config::load(text, &pairs(environment), &pairs(flags)).unwrap();
        assert_eq!(config.paint.guidance.to_bits(), 2.0_f64.to_bits());
        config.paint.steps
    };
    assert_eq!(steps(&[], &[]), 2);
    assert_eq!(steps(&[("TROUPE_PAINT_STEPS", "3")], &[]), 3);
    assert_eq!(steps(&[("TROUPE_PAINT_STEPS", "3")], &[("paint.steps", "4")]), 4);
    assert_eq!(steps(&[], &[("paint.steps", "4"), ("paint.steps", " 5 ")]), 5);
    assert_eq!(steps(&[("TROUPE_TEST_GGUF", "a.gguf"), ("PAINT_STEPS", "x")], &[]), 2);
}

#[test]
fn variables_and_flags_take_words_as_they_stand_and_else_toml() {
    let environment = [
        ("TROUPE_PAINT_NEGATIVE", "5 = \"five"),
        ("TROUPE_PAINT_SAMPLER", "Euler a"),
        ("TROUPE_PAINT_REGIONS_BASE_RATIO", "1"),
        ("TROUPE_LAYOUT_FORMATION", "row"),
        ("TROUPE_PAINT_LORAS", "[{ path = 'x' }]"),
        ("TROUPE_PLAN_AXES", "[]"),
    ];
    let flags = [
        ("paint.rng", "torch-cpu"),
        ("paint.spacing", "trailing"),
        ("layout.canvas", "{ width = 256, height = 128 }"),
        ("plan.subjects", "{ min = 5 }"),
        ("run.metadata", "none"),
    ];
    let config = Config::load(None, &pairs(&environment), &pairs(&flags)).unwrap();
    assert_eq!(config.paint.negative, "5 = \"five");
    assert_eq!(config.paint.sampler, "Euler a");
    assert_eq!(config.paint.rng, Rng::TorchCpu);
    assert_eq!(config.paint.spacing, Spacing::Trailing);
    assert_eq!(config.paint.regions, RegionsConfig { base_ratio: 1.0, isolate: 0.5 });
    assert_eq!(config.layout.formation, Formation::Row);
    assert_eq!(config.layout.canvas, CanvasChoice::Fixed(Canvas::new(256, 128).unwrap()));
    assert_eq!(config.paint.loras, [lora("x")]);
    assert_eq!(config.plan.axes, []);
    assert_eq!(config.plan.subjects, SubjectsConfig { min: 5, max: 6 });
    assert_eq!(config.run.metadata, Metadata::None);
    let auto = Config::load(None, &[], &pairs(&[("layout.canvas", "auto")])).unwrap();
    assert_eq!(auto.layout.canvas, CanvasChoice::Auto);
}

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
    for key in ["device", "dtype", "retries", "schedule"] {
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
    for (key, values) in [
        ("paint.steps", &["0", "1001", "-1", "99999999999999999999"][..]),
        ("paint.guidance", &["0.9", "50.1", "nan", "inf", "-inf", "1e999"]),
        ("paint.threads", &["-1", "1025"]),
        ("paint.regions.base_ratio", &["-0.1", "1.1", "nan"]),
        ("paint.regions.isolate", &["-0.1", "2"]),
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
fn a_schedule_takes_the_place_of_the_one_in_a_samplers_name() {
    let check = |sampler: &str, schedule: &str, expected: Schedule| {
        let named = with_schedule(sampler, schedule).unwrap();
        let (was, is): (Method, Method) = (sampler.parse().unwrap(), named.parse().unwrap());
        assert_eq!((is.sampler, is.spacing), (was.sampler, was.spacing), "{named}");
        assert_eq!(is.schedule, Some(expected), "{named}");
    };
    for sampler in ["ddim", "Euler a", "dpm++2m", "DPM++ 2M Karras", "ddim_trailing"] {
        for schedule in Schedule::ALL {
            check(sampler, schedule.name(), schedule);
        }
    }
    check("euler karras", "sgm_uniform", Schedule::SgmUniform);
    for (sampler, schedule, part) in [
        ("euler", "kerras", "schedule `kerras`, the nearest is `karras`"),
        ("eulr", "karras", "sampler `eulr`"),
    ] {
        let problem = with_schedule(sampler, schedule).unwrap_err();
        assert!(problem.contains(part), "{problem}");
    }
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
fn an_axis_of_some_kinds_names_them() {
    let with = |kinds: &str| format!("{}{kinds}\n", axis(&["name = \"x\", share = 1"]));
    let config = load(&with("applies_to = [\"nurse\", \"Head Cooks\"]")).unwrap();
    let kinds = config.plan.axes[0].applies_to.clone().unwrap();
    assert_eq!(kinds, ["nurse", "Head Cooks"], "no prompt need have them");
    assert_eq!(load(&config.resolved_toml()).unwrap(), config);
    assert_eq!(load(&with("")).unwrap().plan.axes[0].applies_to, None);
    check(&with("applies_to = \"nurse\""), 6, 14, &["a list of texts", "the text \"nurse\""]);
    check(
        &with("applies_to = [\"nurse\", 3]"),
        6,
        24,
        &["`plan.axes[0].applies_to[1]`", "it is 3"],
    );
    check(&with("applies_to = []"), 6, 14, &["axis `age`", "at least one noun in `applies_to`"]);
    check(&with("applies_to = [\"!\"]"), 6, 14, &["at least one word in `applies_to`"]);
    let many = format!("applies_to = [{}]", "\"a nurse\", ".repeat(65));
    check(&with(&many), 6, 14, &["at most 64 nouns"]);
    check(&with("apply_to = [\"nurse\"]"), 6, 1, &["`apply_to`", "nearest is `applies_to`"]);
    check(&with("appliesto = [\"nurse\"]"), 6, 1, &["nearest is `applies_to`"]);
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

#[test]
fn every_key_of_the_types_is_described() {
    #[track_caller]
    fn described(value: &toml::Value, takes: keys::Takes) {
        match (value, takes) {
            (toml::Value::Table(table), keys::Takes::Table(keys)) => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                assert!(table.keys().all(|name| names.contains(&name.as_str())), "{names:?}");
                for key in keys {
                    let optional = ["stature", "applies_to", "id"].contains(&key.name);
                    assert!(optional || table.contains_key(key.name), "{}", key.name);
                    if let Some(below) = table.get(key.name) {
                        described(below, key.takes);
                    }
                }
            }
            (toml::Value::Array(list), keys::Takes::List(of)) => {
                for entry in list {
                    described(entry, *of);
                }
            }
            _ => {}
        }
    }
    let whose = "blocks = { up = 1 }\nsubjects = { axis = \"b\", value = \"c\" }";
    let text = format!("{TEMPLATE}\n[[paint.loras]]\npath = \"a\"\n{whose}");
    let config = load(&text).unwrap();
    described(&toml::Value::try_from(config).unwrap(), keys::ROOT);
}
