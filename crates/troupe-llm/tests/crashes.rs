//! Children that misbehave: each costs one clear error, within its limit, and leaves no process behind.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use troupe_llm::{
    BlockingClient, ChildLog, ChildProgram, CompleteRequest, Death, LlmError, LoadRequest, Prompt,
};

const LOADED: &str = r#"echo '{"loaded":{"context":8,"chat_template":"model"}}'"#;

/// A child that is a shell script; it notes its process id in the folder.
fn script(folder: &TempDir, text: &str) -> ChildProgram {
    let pid = folder.path().join("pid");
    ChildProgram {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), format!("echo $$ > '{}'; {text}", pid.display()).into()],
        log: ChildLog::Quoted,
        stop: None,
    }
}

fn is_running(folder: &TempDir) -> bool {
    let pid = fs::read_to_string(folder.path().join("pid")).expect("the script has started");
    Path::new("/proc").join(pid.trim()).exists()
}

fn start(program: &ChildProgram, limit: Duration) -> Result<BlockingClient, LlmError> {
    let request = LoadRequest { model: PathBuf::from("model.gguf"), context: 8, threads: 1 };
    BlockingClient::start(program, &request, limit)
}

fn request() -> CompleteRequest {
    let prompt = Prompt::Raw("a".to_owned());
    CompleteRequest { prompt, schema: "{}".to_owned(), max_tokens: 1, time_limit: Duration::ZERO }
}

/// The error of a child that runs `text`, with ten seconds to load.
#[track_caller]
fn check(text: &str, expected: &str) -> LlmError {
    let folder = tempfile::tempdir().expect("a folder");
    let started = Instant::now();
    let outcome = start(&script(&folder, text), Duration::from_secs(10))
        .and_then(|mut client| client.complete(&request(), |_| ()));
    assert!(started.elapsed() < Duration::from_secs(9), "it took {:?}", started.elapsed());
    assert!(!is_running(&folder), "it still runs");
    let error = outcome.expect_err("the child is bad");
    assert!(error.to_string().contains(expected), "{error} does not contain {expected}");
    error
}

#[test]
fn the_way_in_which_a_child_dies_is_told() {
    let died = |error| {
        let LlmError::Died { death, .. } = error else { panic!("{error:?}") };
        death
    };
    let assertion =
        "echo 'load: fine' >&2; echo 'ggml.c:7: GGML_ASSERT(n > 0) failed' >&2; kill -ABRT $$";
    let error = check(
        assertion,
        "was killed by SIGABRT: llama.cpp gave up: ggml.c:7: GGML_ASSERT(n > 0) failed",
    );
    assert_eq!(died(error), Death::Signal(6));
    let error = check("kill -SEGV $$", "was killed by SIGSEGV");
    assert_eq!(died(error), Death::Signal(11));
    let error = check("kill -ILL $$", "an instruction that this processor lacks");
    assert_eq!(died(error), Death::Signal(4));
    let error = check("kill -KILL $$", "for lack of memory");
    assert_eq!(died(error), Death::Signal(9));
    let error = check("echo oops >&2; exit 101", "ended with exit code 101: oops");
    assert_eq!(died(error), Death::Exit(101));
    check("exit 0", "ended with exit code 0");
}

#[test]
fn a_child_may_die_while_it_writes() {
    let text = format!(
        "read load; {LOADED}; read complete; echo '{{\"progress\":{{\"prompt_tokens\":1,\"tokens\":2}}}}'; kill -SEGV $$"
    );
    check(&text, "SIGSEGV");
    // Half an answer is none.
    check(
        &format!("read load; {LOADED}; read complete; printf '{{\"comple'; exit 3"),
        "exit code 3",
    );
}

#[test]
fn nonsense_is_refused_however_much_it_is() {
    check("echo hello; exec sleep 60", "answers nonsense");
    check("echo '{\"completed\":{}}'; exec sleep 60", "answers nonsense");
    check(&format!("{LOADED}; {LOADED}; exec sleep 60"), "it should have completed a prompt");
    check("exec cat /dev/zero", "a line is longer than 4194304 bytes");
}

#[test]
fn a_child_that_closes_its_output_and_lives_on_is_stopped() {
    check("exec >&-; exec sleep 60", "fell silent, and was stopped");
}

#[test]
fn a_late_child_is_stopped() {
    for text in [
        "exec sleep 60",
        "exec cat /dev/zero >&2",
        "read load; yes '{\"progress\":{\"prompt_tokens\":1,\"tokens\":2}}'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let error = start(&script(&folder, text), Duration::from_millis(500)).expect_err(text);
        assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
        assert!(error.to_string().contains("was still loading after 0.5 s"), "{error}");
        assert!(!is_running(&folder), "{text} still runs");
    }
}

#[test]
fn a_child_that_never_reads_is_late_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut client =
        start(&script(&folder, &format!("{LOADED}; exec sleep 60")), Duration::from_secs(10))
            .unwrap();
    // More than a pipe holds.
    let request = CompleteRequest { prompt: Prompt::Raw("x".repeat(1 << 20)), ..request() };
    let error = client.complete(&request, |_| ()).unwrap_err();
    assert!(error.to_string().contains("was still writing after 5 s"), "{error}");
    assert!(!is_running(&folder));
    assert!(client.complete(&request, |_| ()).is_err(), "a dead child answers");
}

#[test]
fn closing_and_dropping_a_client_end_the_child() {
    let polite = format!("read load; {LOADED}; read end; exit 0");
    let stubborn = format!("trap '' TERM HUP; {LOADED}; exec sleep 60");
    for text in [&polite, &stubborn] {
        for close in [BlockingClient::close, drop] {
            let folder = tempfile::tempdir().unwrap();
            let client = start(&script(&folder, text), Duration::from_secs(10)).unwrap();
            assert!(is_running(&folder));
            close(client);
            assert!(!is_running(&folder), "{text} still runs");
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let program = ChildProgram {
        program: PathBuf::from("/nowhere/troupe"),
        arguments: Vec::new(),
        log: ChildLog::Quoted,
        stop: None,
    };
    let error = start(&program, Duration::from_secs(1)).unwrap_err();
    assert!(error.to_string().contains("`/nowhere/troupe` can't be started"), "{error}");
}
