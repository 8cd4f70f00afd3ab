//! One child process: its log in a file, its signals, its end. It knows nothing
//! of what it runs. Whatever is left when the tests end, the process namespace
//! of `tests/in-namespace` ends with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::{PATIENCE, eventually};

/// How much of a log is printed when a test fails.
const TAIL_LINES: usize = 60;

/// A running child process.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command` with its output appended to `logs/NAME.log`.
    pub fn start(name: &str, logs: &Path, mut command: Command) -> Result<Process> {
        std::fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        Ok(Process {
            name: name.to_owned(),
            log,
            child,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `Ok` while it runs, else how it ended and its last words.
    pub fn running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.tail()),
        }
    }

    /// Waits until `look` succeeds; not a moment longer than the process runs.
    pub async fn answers<T>(&mut self, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let what = format!("{} to answer", self.name);
        let answer = eventually(&what, PATIENCE, async || match self.running() {
            Ok(()) => look().await.map(Ok),
            Err(ended) => Ok(Err(ended)),
        });
        answer.await?
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end, at most `within`.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| anyhow!("{} has no process id", self.name))?;
        if self.child.try_wait()?.is_none() {
            kill_process(pid, Signal::TERM)?;
        }
        let what = format!("{} to end after SIGTERM", self.name);
        let child = &mut self.child;
        eventually(&what, within, async || {
            child.try_wait()?.ok_or_else(|| anyhow!("it still runs"))
        })
        .await
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

/// The last lines of a log file, under its path.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    let last: Vec<&str> = lines.into_iter().skip(skipped).collect();
    format!("--- {}\n{}\n", log.display(), last.join("\n"))
}

/// The processes whose parent is `parent`, with their command lines.
pub fn children(parent: u32) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while it is looked at: it is then nobody's child.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        // The name in parentheses may hold spaces; the parent is the second field after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if fields
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            == Some(parent)
        {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push((pid, command.trim().to_owned()));
        }
    }
    Ok(found)
}

/// Kills one process by its id.
pub fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| anyhow!("{pid} is no process id"))?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Whether a process has ended, and with it every socket that only it had open.
pub fn is_gone(pid: u32) -> bool {
    // One that nobody has waited for yet is still listed, as a zombie, with nothing open.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest.trim_start());
    state.is_empty() || state.starts_with(['Z', 'X'])
}
