//! Files are reached by what is granted, path by path, and nothing else of the host is.
//!
//! The guest `files` does what a request's body says. Every test speaks to both builds of it:
//! rights do not depend on the version of WASI.

mod limits;
mod links;
mod moves;
mod races;
mod rights;

use crate::support::{code, post, small_config, workload};
use ::capability::grant::{MountGrant, MountPoint, VolumeSource};
use ::capability::{Allow, Ceiling, Effective, Grant, GuestPath, PathGlob, VolumeKind};
use runtime::{
    AuditLevel, AuditRecord, AuditRecords, AuditSink, Component, Config, EngineClass, Mount,
    Output, Runtime, Workload,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const FILES: &[u8] = include_bytes!("../../../../tests/guests/files/files.wasm");
const ASYNC_FILES: &[u8] = include_bytes!("../../../../tests/guests/files/async-files.wasm");
const BOTH: [EngineClass; 2] = [EngineClass::SMALL, EngineClass::P3];

/// A directory of the host that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("runtime-files-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// With these files in it, each holding its own path.
    pub(crate) fn with(files: &[&str]) -> Directory {
        let directory = Directory::new();
        for file in files {
            let path = directory.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    pub(crate) fn mount(&self) -> Mount {
        mount(&self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A directory at `/data`.
fn mount(directory: &Path) -> Mount {
    Mount {
        volume: "data".into(),
        path: path("/data"),
        root: Arc::new(fs::File::open(directory).unwrap().into()),
        size_limit: None,
        read_only: false,
    }
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

/// What the object grants of `/data`, under a policy that admits it.
pub(crate) fn granted(read: &[&str], write: &[&str]) -> Effective {
    let globs = |globs: &[&str]| -> Vec<PathGlob> {
        globs.iter().map(|glob| glob.parse().unwrap()).collect()
    };
    Effective {
        requests: Vec::new(),
        grant: Grant::Listed {
            filesystem: vec![MountGrant {
                mount: MountPoint {
                    volume: "data".into(),
                    source: VolumeSource::EmptyDir,
                    path: path("/data"),
                },
                read: globs(read),
                write: globs(write),
            }],
            outbound: Vec::new(),
            process: Default::default(),
        },
        ceilings: vec![Ceiling {
            policy: "baseline".into(),
            allow: Allow {
                volumes: [VolumeKind::EmptyDir].into(),
                ..Allow::default()
            },
            ..Ceiling::default()
        }],
    }
}

/// The burglar, and what is written down about it.
pub(crate) struct Burglar {
    component: Arc<Component>,
    records: AuditRecords,
    /// Another component may be loaded beside it.
    runtime: Arc<Runtime>,
}

impl Burglar {
    pub(crate) fn new(class: EngineClass, effective: Effective, mount: Mount) -> Burglar {
        let (sink, records) = AuditSink::channel(1000);
        let config = Config {
            p3: true,
            ..small_config()
        };
        let runtime = Runtime::new(config, Output::discard(), sink).unwrap();
        Burglar {
            component: load(&runtime, class, effective, mount),
            records,
            runtime,
        }
    }

    /// What came of each order.
    async fn told<const N: usize>(&self, orders: [&str; N]) -> [String; N] {
        told(&self.component, orders).await
    }

    /// What came of each of any number of orders.
    pub(crate) async fn say(&self, orders: &[&str]) -> Vec<String> {
        say(&self.component, orders).await
    }

    /// The records since the last look.
    pub(crate) fn records(&self) -> Vec<AuditRecord> {
        self.records.take(usize::MAX)
    }

    /// The records so far: object and rule.
    fn noted(&self) -> Vec<(String, String)> {
        let records = self.records.take(usize::MAX).into_iter();
        records
            .map(|record| (record.object, record.rule.label().to_owned()))
            .collect()
    }

    /// Objects that were denied for a rule since the last look.
    fn denied(&self, rule: &str) -> Vec<String> {
        let noted = self.noted().into_iter();
        let denied = noted.filter(|(_, why)| why == rule);
        denied.map(|(object, _)| object).collect()
    }
}

fn load(
    runtime: &Arc<Runtime>,
    class: EngineClass,
    effective: Effective,
    mount: Mount,
) -> Arc<Component> {
    let wasm = match class {
        EngineClass::P3 => ASYNC_FILES,
        _ => FILES,
    };
    let workload = Workload {
        effective: Arc::new(effective),
        mounts: vec![mount],
        audit: AuditLevel::All,
        ..workload("files")
    };
    runtime.load(&code(class, wasm), workload).unwrap()
}

async fn told<const N: usize>(component: &Component, orders: [&str; N]) -> [String; N] {
    say(component, &orders).await.try_into().unwrap()
}

async fn say(component: &Component, orders: &[&str]) -> Vec<String> {
    let answer = post(component, "/", orders.join("\n")).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.text.lines().map(str::to_owned).collect()
}
