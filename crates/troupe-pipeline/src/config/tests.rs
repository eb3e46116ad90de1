//! What a configuration takes.

use std::fmt::Write as _;

use super::*;

mod loras;
mod refused;

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

/// A LoRA at scale 1.
fn lora(path: &str) -> LoraConfig {
    LoraConfig { path: path.to_owned(), scale: 1.0, blocks: BTreeMap::new(), subjects: None }
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
    let changing = load("paint.regions.base_ratio = { from = 1, to = 0.1 }").unwrap();
    let ramp = changing.paint.regions.settings().base_ratio;
    assert_eq!((ramp.at(0, 10), ramp.at(9, 10)), (1.0, 0.1));
    let config = load("paint = { regions = { isolate = 0 } }\nplan.subjects.max = 4").unwrap();
    assert_eq!(config.paint.regions, RegionsConfig { isolate: 0.0, ..RegionsConfig::default() });
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
    assert_eq!(
        config.paint.regions,
        RegionsConfig { base_ratio: RampConfig::Same(1.0), ..RegionsConfig::default() }
    );
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
