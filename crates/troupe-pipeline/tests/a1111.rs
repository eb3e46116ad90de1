//! The chunk `parameters`, read back by a parser of AUTOMATIC1111's format.
//!
//! The format as `parse_generation_parameters` of the web UI documents and reads it: lines of the
//! prompt; from a line that begins with "Negative prompt:" on, those of the negative one; and a last
//! line of settings, `key: value` between commas, where a value that holds a comma, colon or newline
//! is a JSON string. A last line with fewer than three settings belongs to the prompt.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

use std::collections::BTreeMap;

use troupe_pipeline::config::Metadata;
use troupe_pipeline::metadata::{Parameters, encode_png, read_png};

/// What the web UI shows beside a picture.
#[derive(Debug, PartialEq)]
struct Infotext {
    prompt: String,
    negative: String,
    settings: BTreeMap<String, String>,
}

fn parse(text: &str) -> Infotext {
    let mut lines: Vec<&str> = text.trim().lines().collect();
    let mut settings = settings_of(lines.last().unwrap());
    if settings.len() < 3 {
        settings.clear();
    } else {
        lines.pop();
    }
    let (mut prompt, mut negative, mut behind) = (Vec::new(), Vec::new(), false);
    for line in lines.into_iter().map(str::trim) {
        let stripped = line.strip_prefix("Negative prompt:").map(str::trim);
        behind |= stripped.is_some();
        if behind { &mut negative } else { &mut prompt }.push(stripped.unwrap_or(line));
    }
    Infotext {
        prompt: prompt.join("\n"),
        negative: negative.join("\n"),
        settings: settings.into_iter().collect(),
    }
}

/// Each place at which a key and a value begin, from the left.
fn settings_of(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        match setting(rest) {
            Some((key, value, behind)) => {
                found.push((key, value));
                rest = behind;
            }
            None => rest = &rest[rest.chars().next().unwrap().len_utf8()..],
        }
    }
    found
}

/// `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` at the beginning of a text, and what follows.
fn setting(text: &str) -> Option<(String, String, &str)> {
    let (key, rest) = text.trim_start().split_once(':')?;
    let word = |it: char| it.is_alphanumeric() || it == '_';
    let sound = key.starts_with(word)
        && 2 <= key.chars().count()
        && key.chars().all(|it| word(it) || matches!(it, ' ' | '-' | '/'));
    if !sound {
        return None;
    }
    let rest = rest.trim_start();
    let quoted =
        quoted(rest).filter(|length| matches!(rest[*length..].chars().next(), None | Some(',')));
    let length = quoted.unwrap_or_else(|| rest.find(',').unwrap_or(rest.len()));
    let (value, behind) = rest.split_at(length);
    let value = match quoted {
        Some(_) => serde_json::from_str(value).unwrap_or_else(|_| value.to_owned()),
        None => value.to_owned(),
    };
    Some((key.to_owned(), value, behind.strip_prefix(',').unwrap_or(behind)))
}

/// How long the string in quotes is that a text begins with.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(1) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if 1 < at => return text.starts_with('"').then_some(at + 1),
            _ => {}
        }
    }
    None
}

fn parameters() -> Parameters {
    Parameters {
        prompt: "a group".to_owned(),
        negative: String::new(),
        steps: 20,
        sampler: "DPM++ 2M".to_owned(),
        schedule: Some("Karras".to_owned()),
        guidance: 5.5,
        seed: 4_294_967_295,
        torch_cpu: true,
        width: 768,
        height: 512,
        model_hash: "0123456789".to_owned(),
        model: "starter".to_owned(),
        vae: Some(("anime.safetensors".to_owned(), "9876543210".to_owned())),
        clip_skip: 2,
        loras: vec![
            ("night".to_owned(), "abcdefabcdef".to_owned()),
            ("film: grain".to_owned(), "fedcbafedcba".to_owned()),
        ],
        embeddings: vec![("fox".to_owned(), "001122334455".to_owned())],
        version: "troupe 0.1.0".to_owned(),
    }
}

/// Writes a picture, and reads back what it says.
fn read_back(parameters: &Parameters) -> Infotext {
    let png = encode_png(&[0; 3], (1, 1), Metadata::Full, parameters, "{}").unwrap();
    parse(&read_png(&png).unwrap().parameters.unwrap())
}

#[test]
fn the_parser_reads_the_example_of_the_format() {
    // The example in the documentation of `parse_generation_parameters`, shortened.
    let text = "girl with an artist's beret, determined, ((eyeshadow)), intricate\n\
                Negative prompt: ugly, fat, (((deformed))), [blurry], messy drawing\n\
                Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b";
    let read = parse(text);
    assert_eq!(read.prompt, "girl with an artist's beret, determined, ((eyeshadow)), intricate");
    assert_eq!(read.negative, "ugly, fat, (((deformed))), [blurry], messy drawing");
    let settings = [
        ("CFG scale", "7"),
        ("Model hash", "45dee52b"),
        ("Sampler", "Euler a"),
        ("Seed", "965400086"),
        ("Size", "512x512"),
        ("Steps", "20"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(read.settings, settings.into_iter().collect());
    assert!(parse("a group\nof two").settings.is_empty());
}

#[test]
fn every_setting_comes_back() {
    let read = read_back(&parameters());
    assert_eq!((&*read.prompt, &*read.negative), ("a group", ""));
    let expected = [
        ("CFG scale", "5.5"),
        ("Clip skip", "2"),
        ("Lora hashes", "night: abcdefabcdef, film grain: fedcbafedcba"),
        ("Model", "starter"),
        ("Model hash", "0123456789"),
        ("RNG", "CPU"),
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Karras"),
        ("Seed", "4294967295"),
        ("Size", "768x512"),
        ("Steps", "20"),
        ("TI hashes", "fox: 001122334455"),
        ("VAE", "anime.safetensors"),
        ("VAE hash", "9876543210"),
        ("Version", "troupe 0.1.0"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(read.settings, expected.into_iter().collect());
}

#[test]
fn prompts_and_names_of_any_kind_come_back() {
    for prompt in [
        "größe, Steps: 3, \"quoted\"",
        "two lines\nof a prompt: with (weights:1.3), [brackets] and \\(backslashes\\)",
        "五人の医者 👩‍⚕️",
    ] {
        for negative in ["", "blurry, Seed: 4, Size: 1x1, Model: none", "bad\nworse"] {
            for model in ["starter", "my model, v1.0: \"fine\"\\", "größe"] {
                let parameters = Parameters {
                    prompt: prompt.to_owned(),
                    negative: negative.to_owned(),
                    model: model.to_owned(),
                    ..parameters()
                };
                let read = read_back(&parameters);
                assert_eq!((&*read.prompt, &*read.negative), (prompt, negative));
                assert_eq!(read.settings["Model"], model);
                assert_eq!(read.settings["Seed"], "4294967295");
                assert_eq!(read.settings.len(), 15);
            }
        }
    }
}
