//! Talk on stderr, data on stdout: a bar on a terminal, plain lines elsewhere.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use troupe_pipeline::{Progress, Talk};

/// Says something to a person. What can't be said is lost, as there is nobody to tell.
pub(crate) fn say(text: &str) {
    let text = plain(text);
    let _said = writeln!(std::io::stderr().lock(), "{text}");
}

/// A text without what a terminal takes for commands; models and files of strangers wrote parts of it.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|it| if it.is_control() && it != '\n' { ' ' } else { it }).collect()
}

/// Prints data. A reader that has gone away has read enough.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Shows a stage to a person, and knows whether they pressed Ctrl-C.
pub(crate) struct Terminal {
    bar: ProgressBar,
    quiet: bool,
    lines: bool,
    said: Option<String>,
    stop: Arc<AtomicBool>,
}

/// The signal that asked this program to stop; 0 if none did.
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Whether this program was asked to stop.
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What a signal raises.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    Arc::clone(&STOP)
}

/// The exit code of a program that a signal stopped.
pub(crate) fn stopped_by() -> u8 {
    u8::try_from(128 + SIGNAL.load(Ordering::Relaxed)).unwrap_or(130)
}

impl Terminal {
    pub(crate) fn new(quiet: bool) -> Self {
        let stop = stop_flag();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second one ends the program at once; without a handler the first does, too.
            let _second = signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&stop),
            );
            let _first = signal_hook::flag::register(signal, Arc::clone(&stop));
            let number = usize::try_from(signal).unwrap_or_default();
            let _which = signal_hook::flag::register_usize(signal, Arc::clone(&SIGNAL), number);
        }
        let lines = !std::io::stderr().is_terminal();
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}") {
            bar.set_style(style);
        }
        if !lines && !quiet {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self { bar, quiet, lines, said: None, stop }
    }

    /// A line, unless it is that of the last call.
    fn line(&mut self, text: String) {
        if self.lines && !self.quiet && self.said.as_ref() != Some(&text) {
            say(&text);
            self.said = Some(text);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Talk for Terminal {
    fn note(&mut self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| say(&format!("note: {text}")));
        }
    }

    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Planning { prompt, of, tokens } => {
                self.bar.set_length(u64::from(tokens).max(1));
                self.bar.set_position(u64::from(tokens));
                self.bar.set_message(format!("reading prompt {prompt} of {of}, tokens"));
                self.line(format!("reading prompt {prompt} of {of}"));
            }
            Progress::Fetching { file, of, bytes, total } => {
                self.bar.set_length(total.max(1));
                self.bar.set_position(bytes);
                self.bar.set_message(format!("fetching {file} of {of}, bytes"));
                self.line(format!("fetching {file} of {of}, {total} bytes"));
            }
            Progress::Painting { picture, of, step, steps } => {
                self.bar.set_length(steps as u64);
                self.bar.set_position(step as u64);
                self.bar.set_message(format!("painting {picture} of {of}, steps"));
                self.line(format!("painting {picture} of {of}, {steps} steps"));
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
