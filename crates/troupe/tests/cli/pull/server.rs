//! The hub's protocol, as far as it is spoken here: the commit of a revision, the files of a commit, and the bytes
//! of a file, of large ones by way of another server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{is_empty, pull};
use crate::support::Place;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";
/// What the server lists of it, made by git and by sha256sum.
const POINTER: &str = "1554bc8f0ebb74f91332500ae7644dcaacf39982";
const SHA256: &str = "3c65ea93424a9c362fec0e3a69ea36031e8a358441479dd665cc6110eabe7b08";
const TEXT: &str = "config.json";
const BLOB: &str = "0967ef424bce6791893e9a57bb952f80fd536e93";

fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// How the server misbehaves.
#[derive(Clone, Default)]
struct Manner {
    /// The status of everything, instead of what was asked for.
    status: Option<u16>,
    /// Wants this token.
    token: Option<String>,
    /// Sends other weights than it lists.
    lies: bool,
    /// Says the length of the weights, and ends before it, the first time only.
    cuts: bool,
    /// Begins at the first byte, whatever it is asked for.
    ignores_ranges: bool,
    /// Lists files of these names too.
    names: Vec<String>,
    /// The commit that it says, if another.
    commit: Option<String>,
}

/// One request: its line, and its headers in lower case.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
}

/// A hub, the server of its large files, and what both were asked.
struct Server {
    endpoint: String,
    asked: Arc<Mutex<Vec<Request>>>,
    of_large: Arc<Mutex<Vec<Request>>>,
}

fn listen(
    answer: impl Fn(&Request, &mut TcpStream) + Send + 'static,
) -> (String, Arc<Mutex<Vec<Request>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
    let log = Arc::clone(&asked);
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(line)) = lines.next() else { continue };
            let headers = lines.map_while(Result::ok).take_while(|it| !it.is_empty());
            let headers = headers.filter_map(|it| {
                let (name, value) = it.split_once(':')?;
                Some((name.to_lowercase(), value.trim().to_owned()))
            });
            let request = Request { line, headers: headers.collect() };
            log.lock().unwrap().push(request.clone());
            answer(&request, &mut stream);
        }
    });
    (address, asked)
}

fn respond(stream: &mut TcpStream, status: u16, headers: &[(&str, String)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    // Whoever asked may have gone.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
}

/// Bytes from the one on that is asked for; of a `HEAD` none.
fn send(stream: &mut TcpStream, request: &Request, bytes: &[u8], manner: &Manner, cut: bool) {
    let range = request.headers.get("range").and_then(|it| it.strip_prefix("bytes="));
    let range = range.and_then(|it| it.split_once('-')).filter(|_| !manner.ignores_ranges);
    let from = range.map_or(0, |(from, _)| from.parse::<usize>().unwrap());
    let part = &bytes[from..];
    let mut headers = vec![("Content-Length", part.len().to_string())];
    if range.is_some() {
        let all = bytes.len();
        headers.push(("Content-Range", format!("bytes {from}-{}/{all}", all - 1)));
    }
    let end = if cut { part.len().div_euclid(2) } else { part.len() };
    let body = if request.line.starts_with("HEAD ") { &[][..] } else { &part[..end] };
    respond(stream, if range.is_some() { 206 } else { 200 }, &headers, body);
}

fn tree(manner: &Manner) -> Value {
    let large = |path: &str| {
        let lfs = json!({ "oid": SHA256, "size": weights().len(), "pointerSize": 131 });
        json!({ "type": "file", "oid": POINTER, "size": weights().len(), "path": path, "lfs": lfs })
    };
    let mut listed = vec![
        json!({ "type": "directory", "oid": BLOB, "path": "unet" }),
        json!({ "type": "file", "oid": BLOB, "size": 3, "path": TEXT }),
        large(WEIGHTS),
    ];
    listed.extend(manner.names.iter().map(|name| large(name)));
    Value::from(listed)
}

fn serve(manner: Manner) -> Server {
    let large = manner.clone();
    let (store, of_large) = {
        let cut = Mutex::new(manner.cuts);
        listen(move |request, stream| {
            let mut bytes = weights();
            bytes[70_000] ^= u8::from(large.lies);
            let body = request.line.starts_with("GET ");
            let cut = body && std::mem::take(&mut *cut.lock().unwrap());
            send(stream, request, &bytes, &large, cut);
        })
    };
    let (endpoint, asked) = listen(move |request, stream| {
        let plain = |status: u16, text: &str, stream: &mut TcpStream| {
            respond(stream, status, &[("Content-Length", text.len().to_string())], text.as_bytes());
        };
        if let Some(status) = manner.status {
            return plain(status, "no", stream);
        }
        let bearer = manner.token.as_ref().map(|it| format!("Bearer {it}"));
        if bearer.is_some() && request.headers.get("authorization") != bearer.as_ref() {
            return plain(401, "no", stream);
        }
        let path = request.line.split(' ').nth(1).unwrap();
        let commit = manner.commit.as_deref().unwrap_or(COMMIT);
        if path == "/api/models/org/name/revision/main" {
            let info = json!({ "_id": "1", "id": "org/name", "sha": commit });
            plain(200, &info.to_string(), stream);
        } else if path.starts_with(&format!("/api/models/org/name/tree/{COMMIT}")) {
            plain(200, &tree(&manner).to_string(), stream);
        } else if path == format!("/org/name/resolve/{COMMIT}/{TEXT}") {
            send(stream, request, b"{}\n", &manner, false);
        } else if path.starts_with(&format!("/org/name/resolve/{COMMIT}/")) {
            let headers = [
                ("Location", format!("{store}/large")),
                ("X-Linked-Etag", format!("\"{SHA256}\"")),
                ("X-Repo-Commit", COMMIT.to_owned()),
                ("Content-Length", "0".to_owned()),
            ];
            respond(stream, 302, &headers, b"");
        } else {
            plain(404, "no", stream);
        }
    });
    Server { endpoint, asked, of_large }
}

const MODEL: &str = "hf:org/name:model.safetensors";

#[test]
fn files_come_by_way_of_another_server_which_sees_no_token() {
    let place = Place::new();
    let server = serve(Manner { token: Some("secret".to_owned()), ..Manner::default() });
    let token = [("HF_TOKEN", "secret")];
    let done = pull(&place, &server.endpoint, MODEL, &token);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let there = place.path("cache/models--org--name/snapshots").join(COMMIT).join(WEIGHTS);
    assert_eq!(done.stdout, format!("{}\n", there.display()));
    assert_eq!(fs::read(&there).unwrap(), weights());
    assert!(fs::read_link(&there).unwrap().ends_with(format!("blobs/{SHA256}")));
    let seen = server.of_large.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|it| !it.headers.contains_key("authorization")));
    // A small file, which is known by git's hash.
    let done = pull(&place, &server.endpoint, "hf:org/name:config.json", &token);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let small = fs::read_link(there.with_file_name(TEXT)).unwrap();
    assert!(small.ends_with(format!("blobs/{BLOB}")), "{}", small.display());
    // What is there isn't fetched.
    let before = server.of_large.lock().unwrap().len();
    assert_eq!(pull(&place, &server.endpoint, MODEL, &token).code, Some(0));
    assert_eq!(server.of_large.lock().unwrap().len(), before);
}

#[test]
fn without_the_right_token_or_repository_the_hub_says_no() {
    let place = Place::new();
    let closed = serve(Manner { token: Some("secret".to_owned()), ..Manner::default() });
    for variables in [&[][..], &[("HF_TOKEN", "other")]] {
        let done = pull(&place, &closed.endpoint, MODEL, variables);
        assert_eq!(done.code, Some(3), "{}", done.stderr);
        assert!(done.stderr.contains("401") && done.stderr.contains("HF_TOKEN"), "{}", done.stderr);
    }
    for (status, says) in [(403, "licence"), (404, "the hub has no `org/name`")] {
        let server = serve(Manner { status: Some(status), ..Manner::default() });
        let done = pull(&place, &server.endpoint, MODEL, &[]);
        assert_eq!(done.code, Some(3), "{}", done.stderr);
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
    let done = pull(&place, &serve(Manner::default()).endpoint, "hf:org/name:no.safetensors", &[]);
    assert_eq!(done.code, Some(3), "{}", done.stderr);
    assert!(done.stderr.contains("`no.safetensors` in `org/name`"), "{}", done.stderr);
    assert!(is_empty(&place.path("cache")));
}

#[test]
fn other_weights_than_the_hub_lists_are_thrown_away() {
    let place = Place::new();
    let server = serve(Manner { lies: true, ..Manner::default() });
    let done = pull(&place, &server.endpoint, MODEL, &[]);
    assert_eq!(done.code, Some(3), "{}", done.stderr);
    assert!(done.stderr.contains("another file than the hub lists"), "{}", done.stderr);
    assert!(is_empty(&place.path("cache")));
    let blobs = place.path("cache/models--org--name/blobs");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn weights_that_end_early_are_asked_for_from_there() {
    for ignores_ranges in [false, true] {
        let place = Place::new();
        let server = serve(Manner { cuts: true, ignores_ranges, ..Manner::default() });
        let done = pull(&place, &server.endpoint, MODEL, &[]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let there = done.stdout.trim_end();
        assert_eq!(fs::read(there).unwrap(), weights());
        let seen = server.of_large.lock().unwrap().clone();
        let ranges: Vec<_> = seen.iter().filter_map(|it| it.headers.get("range")).collect();
        assert_eq!(ranges.len(), 1, "{seen:?}");
        let from = ranges[0].strip_prefix("bytes=").unwrap().split('-').next().unwrap();
        let from: usize = from.parse().unwrap();
        assert!(0 < from && from <= 150_000, "{from}");
    }
}

#[test]
fn names_that_lead_elsewhere_write_nothing() {
    let place = Place::new();
    let names =
        ["../../../escape.safetensors", "/tmp/escape.safetensors", "a/../../escape.safetensors"];
    let server = serve(Manner { names: names.map(str::to_owned).to_vec(), ..Manner::default() });
    for name in names {
        let done = pull(&place, &server.endpoint, &format!("hf:org/name:{name}"), &[]);
        assert_eq!(done.code, Some(2), "{}", done.stderr);
    }
    assert!(server.asked.lock().unwrap().is_empty(), "it was asked");
    let server = serve(Manner { commit: Some("../../../escape".to_owned()), ..Manner::default() });
    let done = pull(&place, &server.endpoint, MODEL, &[]);
    assert_eq!(done.code, Some(6), "{}", done.stderr);
    assert!(is_empty(&place.path("cache")));
    let done = pull(&place, "http://127.0.0.1:9", MODEL, &[]);
    assert_eq!(done.code, Some(3), "{}", done.stderr);
}
