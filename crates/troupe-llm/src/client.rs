//! The parent's side: starts the child, asks it, and outlives whatever happens to it.
//!
//! llama.cpp may abort, run out of memory, or compute for ever; in a process of its own each of these is one
//! [`LlmError`]. Every wait has an end, the child never outlives its [`Client`], and once the client is closed or
//! dropped, the model's memory is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::{Builder, Runtime},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    death::{Death, Tail},
    error::LlmError,
    protocol::{
        CompleteRequest, Completion, Failure, FailureKind, LONGEST_LINE, LoadRequest, Loaded,
        Progress, Reply, Request,
    },
};

/// How the child is started: a program that calls [`serve`](crate::serve()) when it gets these arguments.
#[derive(Clone, Debug)]
pub struct ChildProgram {
    /// As a rule the program that is running.
    pub program: PathBuf,
    /// What makes it serve.
    pub arguments: Vec<OsString>,
    /// Where llama.cpp's log goes.
    pub log: ChildLog,
    /// Once this is true, whatever the child is doing ends with [`LlmError::Stopped`].
    pub stop: Option<Arc<AtomicBool>>,
}

/// Where llama.cpp's log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildLog {
    /// Nowhere, except that an error quotes its last line.
    Quoted,
    /// To the standard error of this process.
    Inherited,
}

/// How much longer than its time limit a completion may take before the child is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often the flag that stops everything is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a child has to end after its input has, or after it closed its output.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the log is read on after a failure: all that belongs to it was written before.
const SILENCE: Duration = Duration::from_millis(50);

/// A child with a loaded model.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    loaded: Loaded,
}

impl Client {
    /// Starts the child, and has it load a model within `limit`.
    ///
    /// # Errors
    ///
    /// If the program can't be started, dies, or is late, or the model can't be loaded.
    pub async fn start(
        program: &ChildProgram,
        request: &LoadRequest,
        limit: Duration,
    ) -> Result<Self, LlmError> {
        let mut connection = Connection::open(program, request.model.clone())?;
        let request = Request::Load(request.clone());
        match connection.ask(&request, limit, "loading", &mut |_| ()).await? {
            Reply::Loaded(loaded) => Ok(Self { connection, loaded }),
            Reply::Progress(_) | Reply::Completed(_) | Reply::Failed(_) => {
                Err(connection.nonsense("it should have loaded a model"))
            }
        }
    }

    /// What there is to know about the loaded model.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Completes a prompt; `on_progress` is called about twenty times a second.
    ///
    /// # Errors
    ///
    /// If the model can't do it, or the child dies or is late. After the latter two every call fails.
    pub async fn complete(
        &mut self,
        request: &CompleteRequest,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Completion, LlmError> {
        let limit = request.time_limit.saturating_add(GRACE);
        let request = Request::Complete(request.clone());
        match self.connection.ask(&request, limit, "writing", &mut on_progress).await? {
            Reply::Completed(completion) => Ok(completion),
            Reply::Progress(_) | Reply::Loaded(_) | Reply::Failed(_) => {
                Err(self.connection.nonsense("it should have completed a prompt"))
            }
        }
    }

    /// Ends the child and waits for its end. (Dropping the client does too, without letting it finish.)
    pub async fn close(mut self) {
        self.connection.stdin = None;
        if timeout(FAREWELL, self.connection.child.wait()).await.is_err() {
            self.connection.kill();
        }
    }
}

/// A [`Client`] for code that isn't asynchronous.
///
/// Not for use inside of a `tokio` runtime.
#[derive(Debug)]
pub struct BlockingClient {
    // Dropped before the runtime that it lives in.
    client: Client,
    runtime: Runtime,
}

impl BlockingClient {
    /// As [`Client::start`].
    ///
    /// # Errors
    ///
    /// As [`Client::start`].
    pub fn start(
        program: &ChildProgram,
        request: &LoadRequest,
        limit: Duration,
    ) -> Result<Self, LlmError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| LlmError::Start { program: program.program.clone(), source })?;
        let client = runtime.block_on(Client::start(program, request, limit))?;
        Ok(Self { client, runtime })
    }

    /// As [`Client::loaded`].
    pub fn loaded(&self) -> &Loaded {
        self.client.loaded()
    }

    /// As [`Client::complete`].
    ///
    /// # Errors
    ///
    /// As [`Client::complete`].
    pub fn complete(
        &mut self,
        request: &CompleteRequest,
        on_progress: impl FnMut(Progress),
    ) -> Result<Completion, LlmError> {
        self.runtime.block_on(self.client.complete(request, on_progress))
    }

    /// As [`Client::close`].
    pub fn close(self) {
        self.runtime.block_on(self.client.close());
    }
}

/// Waits until somebody raises the flag; for ever, if there is none.
async fn raised(stop: Option<Arc<AtomicBool>>) {
    let Some(stop) = stop else { return std::future::pending().await };
    while !stop.load(Ordering::Relaxed) {
        sleep(GLANCE).await;
    }
}

/// The child and the pipes to it.
#[derive(Debug)]
struct Connection {
    stop: Option<Arc<AtomicBool>>,
    child: Child,
    /// `None` once the child shall end.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// `None` when it has ended or isn't ours.
    stderr: Option<ChildStderr>,
    /// What the child has said beyond the last whole line.
    received: Vec<u8>,
    /// The end of the child's log.
    log: Tail,
    model: PathBuf,
}

impl Connection {
    fn open(program: &ChildProgram, model: PathBuf) -> Result<Self, LlmError> {
        let failed = |source| LlmError::Start { program: program.program.clone(), source };
        let stderr = match program.log {
            ChildLog::Quoted => Stdio::piped(),
            ChildLog::Inherited => Stdio::inherit(),
        };
        let mut child = Command::new(&program.program)
            .args(&program.arguments)
            // Else ggml starts a debugger on itself when it aborts, and the last line of a panic isn't its message.
            .env("GGML_NO_BACKTRACE", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // Ctrl-C is for the parent; it ends the child by dropping the client.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let Some(stdout) = child.stdout.take() else {
            return Err(failed(io::Error::other("it has no standard output")));
        };
        Ok(Self {
            child,
            stdin,
            stdout,
            stderr,
            received: Vec::new(),
            log: Tail::default(),
            model,
            stop: program.stop.clone(),
        })
    }

    /// Sends a request, and waits for its answer; a [`Reply::Failed`] comes back as an error.
    async fn ask(
        &mut self,
        request: &Request,
        limit: Duration,
        doing: &'static str,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Reply, LlmError> {
        // A deadline that can't be represented is none: a century.
        let now = Instant::now();
        let deadline = now.checked_add(limit).unwrap_or(now + Duration::from_hours(876_000));
        let stop = self.stop.clone();
        let answer = tokio::select! {
            answer = timeout_at(deadline, self.exchange(request, on_progress)) => Some(answer),
            () = raised(stop) => None,
        };
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => {
                self.kill();
                Err(LlmError::TimedOut { doing, limit })
            }
            None => {
                self.kill();
                Err(LlmError::Stopped)
            }
        }
    }

    async fn exchange(
        &mut self,
        request: &Request,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Reply, LlmError> {
        let too_long = |reason| LlmError::Request { reason };
        let mut line = serde_json::to_vec(request).map_err(|error| too_long(error.to_string()))?;
        line.push(b'\n');
        if LONGEST_LINE < line.len() {
            return Err(too_long(format!(
                "the request has {} bytes, at most {LONGEST_LINE} can be sent",
                line.len()
            )));
        }
        // If this fails, the child is dying, and the end of its output says how.
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(&line).await.is_ok()
        {
            stdin.flush().await.ok();
        }
        loop {
            match self.reply().await? {
                Reply::Progress(progress) => on_progress(progress),
                Reply::Failed(failure) => return Err(self.failure(failure).await),
                reply @ (Reply::Loaded(_) | Reply::Completed(_)) => return Ok(reply),
            }
        }
    }

    async fn reply(&mut self) -> Result<Reply, LlmError> {
        let (mut chunk, mut searched) = ([0; 8192], 0);
        loop {
            let end = self.received.iter().skip(searched).position(|&byte| byte == b'\n');
            if let Some(end) = end.map(|end| searched + end) {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| self.nonsense(&error.to_string()));
            }
            searched = self.received.len();
            if LONGEST_LINE < searched {
                return Err(self.nonsense(&format!("a line is longer than {LONGEST_LINE} bytes")));
            }
            tokio::select! {
                read = self.stdout.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => return Err(self.died().await),
                    Ok(count) => self.received.extend(chunk.iter().take(count)),
                },
                open = read_log(&mut self.stderr, &mut self.log) => if !open { self.stderr = None },
            }
        }
    }

    /// The child has closed its output: how it ended, once it has.
    async fn died(&mut self) -> LlmError {
        self.stdin = None;
        let deadline = Instant::now() + FAREWELL;
        // The rest of its log, as long as nobody else holds the pipe open.
        while self.stderr.is_some() {
            tokio::select! {
                open = read_log(&mut self.stderr, &mut self.log) => if !open { self.stderr = None },
                () = sleep_until(deadline) => break,
            }
        }
        let death = match timeout_at(deadline, self.child.wait()).await {
            Ok(Ok(status)) => Death::from(status),
            Ok(Err(_)) => Death::Unknown,
            Err(_) => {
                self.kill();
                Death::Mute
            }
        };
        let last_words = self.log.last_line().map_or_else(String::new, |line| format!(": {line}"));
        LlmError::Died { death, last_words }
    }

    async fn failure(&mut self, failure: Failure) -> LlmError {
        match failure.kind {
            FailureKind::Request => LlmError::Request { reason: failure.message },
            FailureKind::Model => {
                let mut reason = failure.message;
                // llama.cpp returns no reason, but has logged one.
                while self.stderr.is_some() {
                    match timeout(SILENCE, read_log(&mut self.stderr, &mut self.log)).await {
                        Ok(true) => {}
                        Ok(false) => self.stderr = None,
                        Err(_) => break,
                    }
                }
                if let Some(line) = self.log.last_line_with("error") {
                    reason = format!("{reason}: {line}");
                }
                LlmError::Model { model: self.model.clone(), reason }
            }
        }
    }

    fn nonsense(&mut self, reason: &str) -> LlmError {
        self.kill();
        LlmError::Protocol { reason: reason.to_owned() }
    }

    /// Kills the child and waits until it is gone; SIGKILL takes milliseconds.
    fn kill(&mut self) {
        self.stdin = None;
        self.child.start_kill().ok();
        for _ in 0..400 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for more of the log; whether there can be more. Never ready if there is none.
async fn read_log(stderr: &mut Option<ChildStderr>, log: &mut Tail) -> bool {
    let Some(stderr) = stderr else {
        return std::future::pending().await;
    };
    let mut chunk = [0; 4096];
    match stderr.read(&mut chunk).await {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            log.push(chunk.get(..count).unwrap_or_default());
            true
        }
    }
}
