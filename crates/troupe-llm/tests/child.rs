//! The real child on a tiny model of noise: what it says is nonsense, and still JSON under the schema.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use troupe_llm::{
    BlockingClient, ChatTemplateOrigin, ChildLog, ChildProgram, CompleteRequest, Completion,
    LlmError, LoadRequest, Message, Prompt, Role, StopReason,
};

const LIMIT: Duration = Duration::from_mins(1);

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-gguf/tiny.gguf")
}

fn program() -> ChildProgram {
    ChildProgram {
        program: PathBuf::from(env!("CARGO_BIN_EXE_troupe-llm-serve")),
        arguments: Vec::new(),
        log: ChildLog::Quoted,
        stop: None,
    }
}

fn start(model: &Path) -> Result<BlockingClient, LlmError> {
    let request = LoadRequest { model: model.to_owned(), context: 512, threads: 1 };
    BlockingClient::start(&program(), &request, LIMIT)
}

/// Bounded in every direction, with keys out of alphabetical order.
fn schema() -> String {
    // As text: what `json!` makes has an order of its own.
    r##"{
        "type": "object", "additionalProperties": false, "required": ["zeal", "alpha", "more"],
        "properties": {
            "zeal": {"type": ["integer", "null"], "minimum": 1, "maximum": 12},
            "alpha": {"type": "string", "maxLength": 6},
            "more": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/thing"}}
        },
        "$defs": {
            "thing": {
                "type": "object", "additionalProperties": false, "required": ["what", "of"],
                "properties": {"what": {"enum": ["row", "two_rows"]}, "of": {"type": "null"}}
            }
        }
    }"##
    .to_owned()
}

fn request(prompt: Prompt) -> CompleteRequest {
    CompleteRequest { prompt, schema: schema(), max_tokens: 200, time_limit: LIMIT }
}

fn raw(text: &str) -> CompleteRequest {
    request(Prompt::Raw(text.to_owned()))
}

fn complete(client: &mut BlockingClient, request: &CompleteRequest) -> Completion {
    client.complete(request, |_| ()).expect("it completes")
}

#[test]
fn replies_are_compact_json_with_the_keys_of_the_schema_in_its_order() {
    let mut client = start(&tiny()).unwrap();
    assert_eq!(client.loaded().context, 512);
    assert_eq!(client.loaded().chat_template, ChatTemplateOrigin::Model);
    for prompt in ["a", "three chefs in a kitchen\n", "\"quoted\" \u{7f} ünïcode \u{1f600}"] {
        let reply = complete(&mut client, &raw(prompt));
        assert_eq!(reply.stop, StopReason::Finished);
        let value: serde_json::Value = serde_json::from_str(&reply.text).expect("it is JSON");
        let (zeal, rest) = reply.text.split_once(',').unwrap();
        assert!(
            zeal.starts_with("{\"zeal\":") && rest.starts_with("\"alpha\":\""),
            "{}",
            reply.text
        );
        let more = value["more"].as_array().unwrap();
        assert!(more.len() <= 2 && value["alpha"].as_str().unwrap().chars().count() <= 6);
        for thing in more {
            let text = thing["what"].as_str().unwrap();
            assert!(reply.text.contains(&format!("{{\"what\":\"{text}\",\"of\":null}}")));
        }
    }
    client.close();
}

#[test]
fn a_reply_does_not_depend_on_what_was_asked_before() {
    let long = "the same beginning of more than sixty-four tokens, of which whole chunks are kept, and then ".repeat(2);
    let asked =
        [format!("{long}five bakers"), format!("{long}six potters"), "seven".to_owned(), long];
    let fresh: Vec<Completion> =
        asked.iter().map(|text| complete(&mut start(&tiny()).unwrap(), &raw(text))).collect();
    let mut client = start(&tiny()).unwrap();
    for round in [[0, 1, 2, 3], [3, 3, 1, 0]] {
        for index in round {
            assert_eq!(complete(&mut client, &raw(&asked[index])), fresh[index], "{index}");
        }
    }
}

#[test]
fn a_conversation_is_rendered_by_the_template_of_the_model() {
    let mut client = start(&tiny()).unwrap();
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    let tokens = |client: &mut BlockingClient, messages| {
        complete(client, &request(Prompt::Chat(messages))).prompt_tokens
    };
    // "<|im_start|>", "user", "\n", the content, "<|im_end|>", "\n", "<|im_start|>", "assistant", "\n" in tokens of
    // one byte each, except for control tokens and the merges of "er" and "an".
    let frame = 1 + 3 + 1 + 1 + 1 + 1 + 8 + 1;
    assert_eq!(tokens(&mut client, vec![message(Role::User, "xyz")]), frame + 3);
    // Ten bytes, not one control token.
    assert_eq!(tokens(&mut client, vec![message(Role::User, "<|im_end|>")]), frame + 10);
    assert_eq!(complete(&mut client, &raw("<|im_end|>")).prompt_tokens, 10);
}

#[test]
fn limits_end_a_reply_and_not_the_child() {
    let mut client = start(&tiny()).unwrap();
    let endless = CompleteRequest {
        schema:
            r#"{"type": "array", "items": {"type": "string", "minLength": 1000}, "minItems": 9}"#
                .to_owned(),
        max_tokens: 20,
        ..raw("a")
    };
    let reply = complete(&mut client, &endless);
    assert_eq!((reply.stop, reply.tokens), (StopReason::TokenLimit, 20));
    assert!(reply.text.starts_with("[\""), "{}", reply.text);

    let until_full =
        complete(&mut client, &CompleteRequest { max_tokens: 100_000, ..endless.clone() });
    assert_eq!((until_full.stop, until_full.tokens), (StopReason::TokenLimit, 511));

    let late = CompleteRequest { time_limit: Duration::ZERO, ..endless };
    let reply = complete(&mut client, &late);
    assert_eq!((reply.stop, reply.text.as_str()), (StopReason::TimeLimit, ""));
    assert_eq!(complete(&mut client, &raw("a")).stop, StopReason::Finished);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason_and_the_child_lives_on() {
    let mut client = start(&tiny()).unwrap();
    let schema =
        |schema: serde_json::Value| CompleteRequest { schema: schema.to_string(), ..raw("a") };
    let refused = [
        (raw(""), "the prompt has 0 tokens, wanted 1 to 511"),
        (raw(&"x".repeat(100_000)), "the prompt has 100000 tokens, wanted 1 to 511"),
        (raw(&"x".repeat(5 << 20)), "at most 4194304 can be sent"),
        (schema(json!(3)), "it is not an object"),
        (schema(json!({"type": "nonsense"})), "the schema is refused"),
        (schema(json!({"$ref": "https://example.com/schema"})), "the schema is refused"),
        (CompleteRequest { schema: "{".to_owned(), ..raw("a") }, "the schema is refused"),
    ];
    for (request, expected) in refused {
        let error = client.complete(&request, |_| ()).expect_err(expected);
        assert!(matches!(error, LlmError::Request { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(complete(&mut client, &raw("a")).stop, StopReason::Finished);
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(tiny()).unwrap();
    let place = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let files = [
        ("text", b"no model at all".to_vec(), "not a GGUF file: it begins with `no m`"),
        ("cut", bytes[..100_000].to_vec(), "it is truncated or damaged"),
        // Nothing that the header alone shows: llama.cpp's own words are quoted.
        ("tensor", with(place(b"blk.1.attn_q"), b"blk.1.attn_x"), "blk.1.attn_q.weight"),
        ("architecture", with(place(b"llama"), b"xlama"), "`xlama.block_count` is missing"),
    ];
    for (name, bytes, expected) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = start(&path).expect_err(name);
        assert!(matches!(error, LlmError::Model { .. }), "{name}: {error:?}");
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = start(&path).expect_err("it is no file");
        assert!(matches!(error, LlmError::Model { .. }), "{error:?}");
    }
}

#[test]
fn a_damaged_file_costs_one_error_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.gguf");
    let bytes = fs::read(tiny()).unwrap();
    let mut state = 8_u64;
    let mut random = |below: usize| {
        // Knuth's linear congruential generator; its upper bits are good enough here.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut completed, mut failed) = (0, 0);
    for _ in 0..40 {
        let mut bytes = bytes.clone();
        for _ in 0..=random(3) {
            // Anywhere in the metadata.
            bytes[random(10_000)] ^= 1 << random(8);
        }
        fs::write(&path, bytes).unwrap();
        let quick = CompleteRequest { time_limit: Duration::from_secs(5), ..raw("a few words") };
        match start(&path).and_then(|mut client| client.complete(&quick, |_| ())) {
            Ok(_) => completed += 1,
            Err(_) => failed += 1,
        }
    }
    assert_eq!(completed + failed, 40);
    assert!(0 < completed && 0 < failed, "{completed} completed, {failed} failed");
}
