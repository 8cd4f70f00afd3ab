//! The audit log on disk: JSON lines in a file of bounded size, and a bounded number of earlier
//! ones beside it. Records wait in memory while the disk is slow; what is too much is lost and
//! counted, but never the first of a kind. Knows nothing of what a record means.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Record;
use crate::control::cache::make_directory;

/// The file that is being written.
pub const FILE: &str = "audit.jsonl";
/// Bytes of a file before the next begins.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Earlier files that are kept: with the current one 80 MiB, some 200,000 records.
const EARLIER: u32 = 4;
/// Records that may wait for the disk.
const WAITING: usize = 8_192;
/// Records of one write.
const AT_ONCE: usize = 1_024;

/// How a record is to be treated while too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Never lost: there are few of them.
    First,
    /// Lost, and counted.
    Ordinary,
}

/// Where records go. Clones share it.
#[derive(Clone, Debug)]
pub struct Log(Arc<Queue>);

/// Takes the records to the disk.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    directory: PathBuf,
    file_bytes: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Record>>,
    arrived: Notify,
    lost: AtomicU64,
}

/// A log in `directory`. Nothing is written there before there is a record.
pub fn log(directory: PathBuf) -> (Log, Writer) {
    let queue = Arc::new(Queue::default());
    let writer = Writer {
        queue: Arc::clone(&queue),
        directory,
        file_bytes: FILE_BYTES,
    };
    (Log(queue), writer)
}

impl Log {
    /// Hands a record over, without waiting.
    pub fn write(&self, record: Record, weight: Weight) {
        let waiting = &self.0.waiting;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if weight == Weight::First || waiting.len() < WAITING {
            waiting.push_back(record);
        } else {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        // A permit is kept when nobody waits, so that no arrival is missed.
        self.0.arrived.notify_one();
    }

    /// Records that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Writes until `stop`, and then what still waits.
    pub async fn run(self, stop: CancellationToken) {
        let writer = Arc::new(self);
        loop {
            let arrived = writer.queue.arrived.notified();
            let stopped = stop.run_until_cancelled(arrived).await.is_none();
            loop {
                let writer = Arc::clone(&writer);
                let written = tokio::task::spawn_blocking(move || writer.write_some());
                if !matches!(written.await, Ok(true)) {
                    break;
                }
            }
            if stopped {
                return;
            }
        }
    }

    /// Says whether there may be more.
    fn write_some(&self) -> bool {
        let records: Vec<Record> = {
            let waiting = &self.queue.waiting;
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(AT_ONCE);
            waiting.drain(..count).collect()
        };
        if records.is_empty() {
            return false;
        }
        if let Err(error) = self.append(&records) {
            let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
            self.queue.lost.fetch_add(count, Ordering::Relaxed);
            tracing::error!(%error, count, "audit records cannot be written and are lost");
        }
        true
    }

    fn append(&self, records: &[Record]) -> io::Result<()> {
        make_directory(&self.directory)?;
        let path = self.directory.join(FILE);
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let mut file = open(&path)?;
        if file.metadata()?.len() >= self.file_bytes {
            rotate(&path)?;
            file = open(&path)?;
        }
        file.write_all(&lines)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// The current file becomes the youngest of the earlier ones; the oldest is replaced.
fn rotate(path: &Path) -> io::Result<()> {
    let earlier = |number: u32| path.with_extension(format!("{number}.jsonl"));
    for number in (1..EARLIER).rev() {
        match std::fs::rename(earlier(number), earlier(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, earlier(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Caller;

    fn record(object: &str) -> Record {
        Record {
            time: "2026-11-21T12:00:00Z".parse().unwrap(),
            component: "orders".into(),
            namespace: "shop".into(),
            revision: "wc-orders-0123456789".into(),
            digest: "sha256:00".into(),
            signer: "key 00".into(),
            node: "node-1".into(),
            capability: "network".into(),
            object: object.into(),
            allowed: false,
            rule: "NotGranted".into(),
            caller: Some(Caller {
                trigger: "web".into(),
                address: Some([192, 0, 2, 7].into()),
            }),
        }
    }

    async fn flush(writer: Writer) {
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
    }

    fn lines(directory: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(directory.join(FILE)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_record_is_one_line_of_json_whatever_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let (log, writer) = log(directory.path().join("audit"));
        log.write(record("a\nb\""), Weight::Ordinary);
        flush(writer).await;
        let lines = lines(&directory.path().join("audit"));
        assert_eq!(
            lines,
            [
                r#"{"time":"2026-11-21T12:00:00Z","component":"orders","namespace":"shop","revision":"wc-orders-0123456789","digest":"sha256:00","signer":"key 00","node":"node-1","capability":"network","object":"a\nb\"","allowed":false,"rule":"NotGranted","caller":{"trigger":"web","address":"192.0.2.7"}}"#
            ]
        );
    }

    #[tokio::test]
    async fn what_is_too_much_is_lost_and_counted_but_never_the_first_of_a_kind() {
        let directory = tempfile::tempdir().unwrap();
        let (log, writer) = log(directory.path().to_owned());
        for _ in 0..WAITING + 7 {
            log.write(record("flood"), Weight::Ordinary);
        }
        log.write(record("first"), Weight::First);
        assert_eq!(log.lost(), 7);
        flush(writer).await;
        let lines = lines(directory.path());
        assert_eq!(lines.len(), WAITING + 1);
        assert!(lines.last().unwrap().contains("first"));
    }

    #[test]
    fn files_are_bounded_in_size_and_in_number() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut writer) = log(directory.path().to_owned());
        writer.file_bytes = 1;
        for number in 0..20 {
            log.write(record(&number.to_string()), Weight::Ordinary);
            assert!(writer.write_some());
        }
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, usize::try_from(EARLIER).unwrap() + 1);
        assert!(lines(directory.path())[0].contains("\"object\":\"19\""));
    }
}
