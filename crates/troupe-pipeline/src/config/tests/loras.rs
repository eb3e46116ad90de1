//! Whose a LoRA is, and how strong in which parts of the model.

use troupe_core::plan::Assigned;

use super::*;

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
        paint: troupe_core::plan::Manner::default(),
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
