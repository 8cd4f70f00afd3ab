//! The registry the components come from: CNCF `distribution` as a process, and
//! publishing into it or into the in-memory development registry. Called by the
//! suite, and by tests that stop it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ::registry::{Client, Config, Credentials};
use anyhow::{Context, Result, ensure};
use artifact::{Digest, ImageReference};
use serde_json::json;
use tokio::sync::Mutex;

use crate::namespace::free_port;
use crate::process::Process;
use crate::tools::Tool;

const STOP: Duration = Duration::from_secs(20);

/// A registry process on loopback; running or not.
pub struct Registry {
    /// Where it listens, also while it is stopped.
    pub address: SocketAddr,
    name: String,
    config: PathBuf,
    logs: PathBuf,
    process: Mutex<Option<Process>>,
}

/// A pushed component.
#[derive(Clone, Debug)]
pub struct Image {
    /// `host:port/repository:tag`.
    pub tag: String,
    /// Of its manifest.
    pub digest: Digest,
}

impl Image {
    /// `host:port/repository@sha256:…`.
    pub fn by_digest(&self) -> Result<String> {
        let reference: ImageReference = self.tag.parse()?;
        Ok(reference.with_digest(self.digest).to_string())
    }
}

impl Registry {
    /// Writes its configuration; [`Registry::start`] starts it.
    pub fn prepare(name: &str, folder: &Path, logs: &Path) -> Result<Registry> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(loopback, free_port(loopback)?);
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("config.yml");
        let text = json!({
            "version": "0.1",
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": folder.join("storage") } },
            "http": { "addr": address.to_string() },
        });
        std::fs::write(&config, serde_json::to_vec_pretty(&text)?)?;
        Ok(Registry {
            address,
            name: name.to_owned(),
            config,
            logs: logs.to_owned(),
            process: Mutex::new(None),
        })
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) -> Result<()> {
        let mut command = Command::new(Tool::Registry.find()?);
        command.arg("serve").arg(&self.config);
        let mut process = Process::start(&self.name, &self.logs, command)?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/v2/", self.address);
        let answers = process.answers(async || {
            let status = client.get(&url).send().await?.status();
            ensure!(status.is_success(), "{url} answered {status}");
            Ok(())
        });
        answers.await?;
        *self.process.lock().await = Some(process);
        Ok(())
    }

    /// Starts it if a test has left it stopped.
    pub async fn ensure_running(&self) -> Result<()> {
        let stopped = self.process.lock().await.is_none();
        if stopped { self.start().await } else { Ok(()) }
    }

    /// Stops it; what was pushed stays.
    pub async fn stop(&self) -> Result<()> {
        match self.process.lock().await.take() {
            Some(mut process) => process.terminate(STOP).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Pushes a component, unsigned, as `host/repository:tag`.
pub async fn push(
    host: SocketAddr,
    repository: &str,
    tag: &str,
    wasm: Vec<u8>,
    credentials: &Credentials,
) -> Result<Image> {
    let tag = format!("{host}/{repository}:{tag}");
    let reference: ImageReference = tag.parse()?;
    let digest = client()?
        .push(&reference, wasm.into(), &BTreeMap::new(), credentials)
        .await
        .with_context(|| format!("pushing {tag}"))?;
    Ok(Image { tag, digest })
}

/// Attaches a signature bundle to `image`, as cosign would.
pub async fn attach(image: &Image, bundle: Vec<u8>, credentials: &Credentials) -> Result<()> {
    let reference: ImageReference = image.tag.parse()?;
    client()?
        .attach_bundle(&reference, &image.digest, bundle.into(), credentials)
        .await?;
    Ok(())
}

fn client() -> Result<Client> {
    Ok(Client::new(Config::default())?)
}
