//! What guests print: bounded, rate limited, escaped, and never in the way of a request.
//!
//! A guest's text is one JSON string in a line of ours. It can not add fields, start a new
//! line, or reorder what a terminal shows. When the reader is slow or a guest floods, lines
//! are dropped and counted. Made by the embedder, written to by `guest`.

use crate::error::Error;
use crate::workload::Identity;
use bytes::Bytes;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes of a line; what is longer is cut.
const LINE_MAX: usize = 8 * 1024;
/// Bytes a component may print per second, and at once after it was silent.
const RATE: u64 = 64 * 1024;
const BURST: u64 = 256 * 1024;
/// Lines that wait for the writer: at most 256 times 48 KiB, if every byte is escaped.
const QUEUE: usize = 256;
/// What a guest may write in one call.
const WRITE_MAX: usize = 64 * 1024;
/// Characters of a note about a call.
const NOTE_MAX: usize = 256;

/// Where the lines of all guests go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Output(Option<SyncSender<String>>);

/// The output of one component.
#[derive(Debug)]
pub(crate) struct Lines {
    output: Output,
    /// The end of every line: who printed it.
    identity: String,
    allowance: Mutex<Allowance>,
    dropped: AtomicU64,
}

/// Which output of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One output of one store.
#[derive(Debug, Clone)]
pub(crate) struct Pipe(Arc<Mutex<Partial>>);

/// Text since the last line end.
#[derive(Debug)]
struct Partial {
    lines: Arc<Lines>,
    stream: Stream,
    trigger: Option<Arc<str>>,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Allowance {
    bytes: u64,
    at: Instant,
}

impl Output {
    /// Throws everything away.
    #[must_use]
    pub fn discard() -> Output {
        Output(None)
    }

    /// Writes JSON lines to `writer` from a thread of its own, through a bounded queue.
    ///
    /// # Errors
    /// When the thread can not be started.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Result<Output, Error> {
        let (output, lines) = Output::channel(QUEUE);
        std::thread::Builder::new()
            .name("guest-output".to_owned())
            .spawn(move || write_lines(&lines, writer))
            .map_err(Error::Output)?;
        Ok(output)
    }

    /// Hands JSON lines to the receiver; lines are dropped while `capacity` of them wait.
    #[must_use]
    pub fn channel(capacity: usize) -> (Output, Receiver<String>) {
        let (sender, receiver) = sync_channel(capacity);
        (Output(Some(sender)), receiver)
    }

    fn send(&self, line: String) -> bool {
        self.0
            .as_ref()
            .is_none_or(|sender| sender.try_send(line).is_ok())
    }
}

/// Ends when all senders are gone, or the writer is broken: then lines are dropped.
fn write_lines(lines: &Receiver<String>, mut writer: impl Write) {
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            if writer
                .write_all(line.as_bytes())
                .and_then(|()| writer.write_all(b"\n"))
                .is_err()
            {
                return;
            }
            next = lines.try_recv().ok();
        }
        if writer.flush().is_err() {
            return;
        }
    }
}

impl Lines {
    pub(crate) fn new(output: Output, identity: &Identity) -> Arc<Lines> {
        let Identity {
            namespace,
            component,
            revision,
            node,
        } = identity;
        let fields = [
            ("namespace", namespace),
            ("component", component),
            ("revision", revision),
            ("node", node),
        ];
        let mut end = String::new();
        for (name, value) in fields {
            let _ = write!(end, ",\"{name}\":");
            quote(&mut end, value);
        }
        end.push('}');
        Arc::new(Lines {
            output,
            identity: end,
            allowance: Mutex::new(Allowance {
                bytes: BURST,
                at: Instant::now(),
            }),
            dropped: AtomicU64::new(0),
        })
    }

    /// An output of a store that was made for a request to `trigger`.
    pub(crate) fn stream(self: &Arc<Lines>, stream: Stream, trigger: Option<&Arc<str>>) -> Pipe {
        let partial = Partial {
            lines: Arc::clone(self),
            stream,
            trigger: trigger.cloned(),
            text: Vec::new(),
        };
        Pipe(Arc::new(Mutex::new(partial)))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A word of the runtime about a call, among the guest's own lines.
    pub(crate) fn note(&self, text: &str, trigger: Option<&str>) {
        let text: String = text.chars().take(NOTE_MAX).collect();
        self.send("runtime", &text, false, trigger);
    }

    fn line(&self, stream: Stream, text: &[u8], cut: bool, trigger: Option<&str>) {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.send(stream, &String::from_utf8_lossy(text), cut, trigger);
    }

    fn send(&self, stream: &str, text: &str, cut: bool, trigger: Option<&str>) {
        if self.output.0.is_none() {
            return;
        }
        let sent = self.allow(text.len() as u64) && {
            let mut line = String::with_capacity(text.len() + self.identity.len() + 64);
            line.push_str("{\"level\":\"guest\",\"message\":");
            quote(&mut line, text);
            let _ = write!(line, ",\"stream\":\"{stream}\"");
            if cut {
                line.push_str(",\"cut\":true");
            }
            if let Some(trigger) = trigger {
                line.push_str(",\"trigger\":");
                quote(&mut line, trigger);
            }
            line.push_str(&self.identity);
            self.output.send(line)
        };
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn allow(&self, bytes: u64) -> bool {
        let mut allowance = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        allowance.refill(Instant::now());
        // An empty line costs something, too.
        match allowance.bytes.checked_sub(bytes.max(16)) {
            Some(left) => {
                allowance.bytes = left;
                true
            }
            None => false,
        }
    }
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        let earned = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .saturating_mul(RATE)
            / 1_000;
        if earned > 0 {
            self.bytes = self.bytes.saturating_add(earned).min(BURST);
            self.at = now;
        }
    }
}

impl Partial {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = (LINE_MAX + 1).saturating_sub(self.text.len());
            self.text.extend(text.iter().take(room));
            if ends {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let cut = self.text.len() > LINE_MAX;
        self.text.truncate(LINE_MAX);
        let text = self.text.strip_suffix(b"\r").unwrap_or(&self.text);
        let trigger = self.trigger.as_deref();
        self.lines.line(self.stream, text, cut, trigger);
        self.text.clear();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.end();
        }
    }
}

impl Pipe {
    fn print(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes);
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = bytes.get(..WRITE_MAX).unwrap_or(bytes);
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Appends a JSON string in which nothing can move a cursor or turn the reading direction.
fn quote(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            _ if is_unprintable(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            _ => line.push(character),
        }
    }
    line.push('"');
}

/// Whether a character could move a cursor or turn the reading direction.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control() || is_bidi(character)
}

/// Unicode's directional marks, embeddings, overrides and isolates, and line separators.
fn is_bidi(character: char) -> bool {
    matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lines(capacity: usize) -> (Arc<Lines>, Receiver<String>) {
        let (output, receiver) = Output::channel(capacity);
        let identity = Identity {
            namespace: "shop".into(),
            component: "orders".into(),
            revision: "orders-1".into(),
            node: "n1".into(),
        };
        (Lines::new(output, &identity), receiver)
    }

    #[test]
    fn a_line_is_one_json_object_that_says_who_printed_it() {
        let (lines, receiver) = lines(8);
        lines
            .stream(Stream::Stderr, Some(&"web".into()))
            .print(b"a \"quoted\" word\n");
        assert_eq!(
            receiver.recv().unwrap(),
            r#"{"level":"guest","message":"a \"quoted\" word","stream":"stderr","trigger":"web","namespace":"shop","component":"orders","revision":"orders-1","node":"n1"}"#
        );
    }

    #[test]
    fn text_can_not_leave_its_field_or_turn_the_reading_direction() {
        let (lines, receiver) = lines(8);
        lines
            .stream(Stream::Stdout, None)
            .print("x\"}\u{1b}[2J\u{202e}\u{2028}\u{0}y\n".as_bytes());
        let line = receiver.recv().unwrap();
        assert!(
            line.contains(r#""message":"x\"}\u001b[2J\u202e\u2028\u0000y","#),
            "{line}"
        );
        assert!(!line.chars().any(is_unprintable));
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let (lines, receiver) = lines(8);
        let pipe = lines.stream(Stream::Stdout, None);
        pipe.print(&vec![b'x'; LINE_MAX * 3]);
        pipe.print(b"\nnext\n");
        let line = receiver.recv().unwrap();
        assert!(line.contains(r#""cut":true"#) && line.len() < LINE_MAX + 256);
        assert!(receiver.recv().unwrap().contains(r#""message":"next""#));
    }

    #[test]
    fn a_flood_is_dropped_and_counted_and_the_allowance_comes_back() {
        let (lines, receiver) = lines(1_000);
        let pipe = lines.stream(Stream::Stdout, None);
        let line = [vec![b'x'; 4_095], vec![b'\n']].concat();
        for _ in 0..200 {
            pipe.print(&line);
        }
        let arrived = receiver.try_iter().count() as u64;
        assert_eq!(arrived + lines.dropped(), 200);
        assert!(
            (64..=80).contains(&arrived),
            "{arrived} lines of 4 KiB in a burst of 256 KiB"
        );
        lines.allowance.lock().unwrap().at -= Duration::from_secs(1);
        pipe.print(&line);
        assert_eq!(receiver.try_iter().count(), 1);
    }

    #[test]
    fn a_reader_that_stands_still_stops_nobody() {
        let (lines, receiver) = lines(2);
        for _ in 0..5 {
            lines.stream(Stream::Stdout, None).print(b"line\n");
        }
        assert_eq!(lines.dropped(), 3);
        assert_eq!(receiver.try_iter().count(), 2);
    }
}
