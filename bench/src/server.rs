//! The servers that are compared, each started as its user would start it, with
//! the same hello component. It knows nothing of load.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The longest a server may take to its first answer: compiling is part of it.
const START: Duration = Duration::from_secs(60);

/// Where the programs of this run are.
pub(crate) struct Subjects {
    root: PathBuf,
    wasmtime: PathBuf,
}

/// A command and the address that it will answer on.
pub(crate) struct Subject {
    command: Command,
    address: String,
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Subjects {
    /// `bench/run` says where `wasmtime` 48 is; the rest is in the target directory.
    pub(crate) fn from_environment(root: &Path) -> Result<Self> {
        let wasmtime = std::env::var_os("BENCH_WASMTIME")
            .context("BENCH_WASMTIME is not set: start with bench/run")?;
        Ok(Self {
            root: root.to_owned(),
            wasmtime: wasmtime.into(),
        })
    }

    pub(crate) fn command(&self, name: &str) -> Result<Subject> {
        let address = free_address()?;
        let built = self.root.join("target/dist");
        let hello = self.root.join("examples/hello/hello.wasm");
        let mut command = match name {
            "wasmtime" => {
                let mut command = Command::new(&self.wasmtime);
                command
                    .arg("serve")
                    .arg("--addr")
                    .arg(&address)
                    .arg("-Scli")
                    .arg(&hello);
                command
            }
            "native" => {
                let mut command = Command::new(built.join("native-hyper"));
                command.arg(&address);
                command
            }
            "lighterman" => {
                let mut command = Command::new(built.join("lighterman"));
                command
                    .arg("run")
                    .arg(self.root.join("bench/hello.yaml"))
                    .arg("--set-image")
                    .arg(format!("hello={}", hello.display()))
                    .arg("--port")
                    .arg(address.rsplit(':').next().unwrap_or_default());
                command
            }
            other => bail!("no such subject: {other}"),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Ok(Subject { command, address })
    }
}

impl Server {
    /// Starts the server and waits until it accepts and answers.
    pub(crate) fn start(subject: Subject) -> Result<Self> {
        let Subject {
            mut command,
            address,
        } = subject;
        let mut child = command
            .spawn()
            .with_context(|| format!("run {command:?}"))?;
        if let Some(output) = child.stdout.take() {
            // Read to the end, or a full pipe would stop the server.
            std::thread::spawn(move || BufReader::new(output).lines().for_each(drop));
        }
        let server = Self { child, address };
        let deadline = Instant::now() + START;
        while TcpStream::connect(&server.address).is_err() {
            if Instant::now() > deadline {
                bail!(
                    "{} does not accept within {START:?}: {command:?}",
                    server.address
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Resident memory of the process, from `/proc` (proc_pid_status(5)).
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
            .context("no VmRSS in /proc/PID/status")?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours and only measured: nothing is lost by killing it.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
