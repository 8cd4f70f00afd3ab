//! A real control plane on loopback: etcd, kube-apiserver with `Node,RBAC` and
//! NodeRestriction, and kube-controller-manager without the controllers that
//! would judge nodes no kubelet reports for. It knows nothing of Lighterman.
//! Called by the suite, once per run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::Mutex;

use crate::certificates::{Certificates, Identity};
use crate::namespace::{control_plane_address, free_port};
use crate::process::Process;
use crate::tools::Tool;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than any run.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// The running control plane.
pub struct Cluster {
    /// As `system:masters`.
    pub client: Client,
    folder: PathBuf,
    logs: PathBuf,
    certificates: Certificates,
    etcd_port: u16,
    port: u16,
    kubectl: PathBuf,
    /// Held so that they live as long as the cluster.
    parts: Mutex<Parts>,
}

struct Parts {
    etcd: Process,
    api_server: Option<Process>,
    controller_manager: Option<Process>,
}

/// How a caller of the API server proves itself.
pub enum Credential<'a> {
    /// A client certificate.
    Certificate(&'a Identity),
    /// A bearer token.
    Token(&'a str),
}

impl Cluster {
    /// Starts all parts below `folder` and waits until the API server is ready.
    pub async fn start(folder: &Path, logs: &Path) -> Result<Cluster> {
        let port = free_port(LOOPBACK)?;
        let etcd_port = free_port(LOOPBACK)?;
        let names = [
            "127.0.0.1".to_owned(),
            control_plane_address().to_string(),
            "kubernetes.default.svc".to_owned(),
        ];
        let certificates = Certificates::make(&folder.join("pki"), &names)?;
        let etcd = start_etcd(folder, logs, etcd_port)?;
        let kubectl = Tool::Kubectl.find()?;
        let kubeconfig = kubeconfig(
            port,
            &certificates,
            &Credential::Certificate(&certificates.administrator),
        );
        let config = kube::Config::from_custom_kubeconfig(
            serde_json::from_value::<Kubeconfig>(kubeconfig.clone())?,
            &KubeConfigOptions::default(),
        )
        .await?;
        std::fs::write(
            folder.join("kubeconfig"),
            serde_json::to_vec_pretty(&kubeconfig)?,
        )?;
        let cluster = Cluster {
            client: Client::try_from(config)?,
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            certificates,
            etcd_port,
            port,
            kubectl,
            parts: Mutex::new(Parts {
                etcd,
                api_server: None,
                controller_manager: None,
            }),
        };
        cluster.start_api_server().await?;
        Ok(cluster)
    }

    /// Starts the API server and the controller manager; also after
    /// [`Cluster::kill_api_server`], on the same port and store.
    pub async fn start_api_server(&self) -> Result<()> {
        let mut parts = self.parts.lock().await;
        let mut api_server = self.spawn_api_server()?;
        let started = api_server.answers(async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let answer = self.client.request_text(request).await?;
            ensure!(answer == "ok", "/readyz says {answer}");
            Ok(())
        });
        if let Err(error) = started.await {
            bail!("{error:#}\n{}{}", api_server.tail(), parts.etcd.tail());
        }
        parts.api_server = Some(api_server);
        parts.controller_manager = Some(self.spawn_controller_manager()?);
        Ok(())
    }

    /// Kills the API server and the controller manager, as a lost machine would.
    pub async fn kill_api_server(&self) -> Result<()> {
        let mut parts = self.parts.lock().await;
        for part in [parts.controller_manager.take(), parts.api_server.take()] {
            part.map_or(Ok(()), |mut process| process.kill())?;
        }
        Ok(())
    }

    /// Starts the API server if a test has left it stopped.
    pub async fn ensure_running(&self) -> Result<()> {
        let stopped = self.parts.lock().await.api_server.is_none();
        if stopped {
            self.start_api_server().await
        } else {
            Ok(())
        }
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Writes a kubeconfig file for a token, and returns its path.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        let config = kubeconfig(self.port, &self.certificates, &Credential::Token(token));
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }

    /// A client that proves itself with a token.
    pub async fn client_for(&self, token: &str) -> Result<Client> {
        let config = kubeconfig(self.port, &self.certificates, &Credential::Token(token));
        let config = kube::Config::from_custom_kubeconfig(
            serde_json::from_value::<Kubeconfig>(config)?,
            &KubeConfigOptions::default(),
        )
        .await?;
        Ok(Client::try_from(config)?)
    }

    /// A service account's token, as the kubelet would project it: for `audience`
    /// (or the API server) and bound to `pod`, from which the node's name comes.
    pub async fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
        pod: Option<&Pod>,
    ) -> Result<String> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                bound_object_ref: pod.map(|pod| BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name_any()),
                    uid: pod.uid(),
                }),
                expiration_seconds: Some(TOKEN_SECONDS),
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("a token of {namespace}/{account}"))?;
        Ok(answer
            .status
            .context("a TokenRequest without status")?
            .token)
    }

    /// Runs kubectl as the administrator, with `input` on its standard input.
    pub async fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = tokio::process::Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"))
            .args(arguments)
            .env("HOME", &self.folder)
            .kill_on_drop(true)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl")?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
            tokio::io::AsyncWriteExt::write_all(&mut pipe, text.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// It failed: what it wrote to standard error.
    pub async fn kubectl_ok(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let output = self.kubectl(arguments, input).await?;
        if !output.status.success() {
            return Err(anyhow!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn spawn_api_server(&self) -> Result<Process> {
        let certificates = &self.certificates;
        let mut command = Command::new(Tool::KubeApiserver.find()?);
        command
            .arg(format!(
                "--etcd-servers=http://127.0.0.1:{}",
                self.etcd_port
            ))
            .arg(format!("--secure-port={}", self.port))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--advertise-address={}", control_plane_address()))
            .arg("--endpoint-reconciler-type=none")
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg("--authorization-mode=Node,RBAC")
            .arg("--enable-admission-plugins=NodeRestriction")
            // As on every distribution: what a Pod may be is for admission to say.
            .arg("--allow-privileged=true")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag(
                "--service-account-signing-key-file",
                &certificates.service_accounts.key,
            ))
            .arg(flag(
                "--service-account-key-file",
                &certificates.service_accounts.certificate,
            ))
            .arg(flag("--client-ca-file", &certificates.authority))
            .arg(flag("--tls-cert-file", &certificates.server.certificate))
            .arg(flag("--tls-private-key-file", &certificates.server.key))
            .arg(flag("--cert-dir", &self.folder.join("pki")))
            .arg("--shutdown-delay-duration=0s");
        Process::start("kube-apiserver", &self.logs, command)
    }

    fn spawn_controller_manager(&self) -> Result<Process> {
        let mut command = Command::new(Tool::KubeControllerManager.find()?);
        command
            .arg(flag("--kubeconfig", &self.folder.join("kubeconfig")))
            .arg(flag("--service-account-private-key-file", &self.certificates.service_accounts.key))
            .arg(flag("--root-ca-file", &self.certificates.authority))
            .arg("--use-service-account-credentials=true")
            .arg("--leader-elect=false")
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", free_port(LOOPBACK)?))
            .arg(flag("--cert-dir", &self.folder.join("pki")))
            // No kubelet reports for the nodes: these would taint them and evict
            // the pods of the agents.
            .arg("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller,-node-ipam-controller");
        Process::start("kube-controller-manager", &self.logs, command)
    }
}

fn start_etcd(folder: &Path, logs: &Path, port: u16) -> Result<Process> {
    let peers = free_port(LOOPBACK)?;
    let mut command = Command::new(Tool::Etcd.find()?);
    command
        .arg(flag("--data-dir", &folder.join("etcd")))
        .arg(format!("--listen-client-urls=http://127.0.0.1:{port}"))
        .arg(format!("--advertise-client-urls=http://127.0.0.1:{port}"))
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{peers}"))
        // The store dies with the run: it need not reach the disk.
        .arg("--unsafe-no-fsync")
        .arg("--log-level=warn");
    Process::start("etcd", logs, command)
}

fn kubeconfig(
    port: u16,
    certificates: &Certificates,
    credential: &Credential<'_>,
) -> serde_json::Value {
    let user = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate": identity.certificate,
            "client-key": identity.key,
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "e2e",
        "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": "e2e" } }],
        "clusters": [{ "name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": certificates.authority,
        }}],
        "users": [{ "name": "e2e", "user": user }],
    })
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
