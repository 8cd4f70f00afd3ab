//! Starts the program with a home of its own, so that no test sees the developer's keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory with everything of one test.
pub(crate) struct Home(TempDir);

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that keeps running; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it says on standard error: progress, and what guests print.
    said: Receiver<String>,
}

/// Compiling in a debug build beside other tests takes its time.
const PATIENCE: Duration = Duration::from_secs(90);

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A first port to try that no other test of this run is given. Runs at the same time
    /// start at different places, for between the look at a port and its use anybody may take it.
    pub(crate) fn port() -> String {
        static GIVEN: AtomicU16 = AtomicU16::new(0);
        let start = 10_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
        let port = start + GIVEN.fetch_add(10, Ordering::Relaxed);
        port.to_string()
    }

    /// Writes a file and returns its path as text.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lighterman"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.path(".config"))
            .env("DOCKER_CONFIG", self.path(".docker"))
            .env("TMPDIR", self.0.path())
            .env("COSIGN_PASSWORD", "")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a command that keeps running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap(), |_| {});
        let said = lines_of(child.stderr.take().unwrap(), |line| eprintln!("{line}"));
        Running { child, lines, said }
    }

    /// Starts the development registry; `host:port`.
    pub(crate) fn registry(&self, faults: &[&str]) -> (Running, String) {
        let mut arguments = vec!["registry", "--listen", "127.0.0.1:0", "-o", "json"];
        for fault in faults {
            arguments.extend(["--fault", fault]);
        }
        let running = self.start(&arguments);
        let line = running.wait_for("where it listens", |line| line.contains("address"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        (running, line["address"].as_str().unwrap().to_owned())
    }

    /// Makes `cosign.key` and writes the policy for these images; the policy's path.
    pub(crate) fn keygen(&self, images: &str) -> String {
        let made = self.run(&["keygen", "--images", images]).success();
        self.write("trust.yaml", made.stdout)
    }
}

impl Ended {
    pub(crate) fn success(self) -> Ended {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Ended with this code, and says each of these.
    pub(crate) fn fails(self, code: i32, says: &[&str]) -> Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in says {
            assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        }
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Running {
    /// The next line that fits.
    pub(crate) fn wait_for(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        next(&self.lines, what, fits)
    }

    /// The next line on standard error that fits.
    pub(crate) fn hears(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        next(&self.said, what, fits)
    }

    /// The next event of this kind, from a command under `-o json`.
    pub(crate) fn event(&self, kind: &str) -> serde_json::Value {
        let line = self.wait_for(kind, |line| {
            serde_json::from_str::<serde_json::Value>(line)
                .is_ok_and(|event| event["event"] == kind)
        });
        serde_json::from_str(&line).unwrap()
    }

    /// Ctrl-C; the exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end after Ctrl-C");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end, and shows each line.
fn lines_of(
    stream: impl Read + Send + 'static,
    show: impl Fn(&str) + Send + 'static,
) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            show(&line);
            let _ = sender.send(line);
        }
    });
    lines
}

fn next(lines: &Receiver<String>, what: &str, fits: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if fits(&line) {
            return line;
        }
        seen.push(line);
    }
    panic!("{what} did not come; there were {seen:#?}");
}

/// The body of a GET; panics when nobody listens.
pub(crate) fn get(url: &str) -> String {
    let address = url.trim_start_matches("http://");
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(path)
}

/// The hello component of the examples; its version is 1.
pub(crate) fn hello() -> String {
    repository("examples/hello/hello.wasm")
        .display()
        .to_string()
}

/// The second version.
pub(crate) fn hello_v2() -> String {
    repository("examples/hello/hello-v2.wasm")
        .display()
        .to_string()
}

/// The YAML that runs an image.
pub(crate) fn component(image: &str) -> String {
    format!(
        "apiVersion: lighterman.dev/v1alpha1\nkind: WasmComponent\nmetadata: {{name: hello}}\nspec:\n  image: {image}\n  triggers:\n  - name: web\n    http: {{}}\n"
    )
}
