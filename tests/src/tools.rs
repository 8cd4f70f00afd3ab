//! The external programs of the cluster tests: where they are, in which version,
//! and how to get them. It starts none of them but to ask its version. Called by
//! the harness, and by the program `tools`, which builds what is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

/// The Kubernetes version under test unless `LIGHTERMAN_KUBERNETES_VERSION` names another.
pub const KUBERNETES_VERSION: &str = "1.36.3";
/// The version of the CNCF `distribution` registry.
pub const REGISTRY_VERSION: &str = "3.1.2";
/// The version of cosign.
pub const COSIGN_VERSION: &str = "3.1.3";
/// The version of helm.
pub const HELM_VERSION: &str = "4.3.1";

/// An external program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Garbage collection, namespaces, service accounts.
    KubeControllerManager,
    /// The user's command.
    Kubectl,
    /// The OCI registry of the CNCF, `distribution`.
    Registry,
    /// The sigstore command.
    Cosign,
    /// Renders and installs the charts.
    Helm,
}

/// What `tests/tools/build.sh` builds in one go, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its first argument.
    pub name: &'static str,
    /// Its second argument.
    pub version: String,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 7] = [
        Tool::Etcd,
        Tool::KubeApiserver,
        Tool::KubeControllerManager,
        Tool::Kubectl,
        Tool::Registry,
        Tool::Cosign,
        Tool::Helm,
    ];

    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Tool::Etcd => "etcd",
            Tool::KubeApiserver => "kube-apiserver",
            Tool::KubeControllerManager => "kube-controller-manager",
            Tool::Kubectl => "kubectl",
            Tool::Registry => "registry",
            Tool::Cosign => "cosign",
            Tool::Helm => "helm",
        }
    }

    /// The package that holds it.
    pub fn package(self) -> Package {
        match self {
            Tool::Etcd | Tool::KubeApiserver | Tool::KubeControllerManager | Tool::Kubectl => {
                Package {
                    name: "kubernetes",
                    version: kubernetes_version(),
                }
            }
            Tool::Registry => Package {
                name: "registry",
                version: REGISTRY_VERSION.to_owned(),
            },
            Tool::Cosign => Package {
                name: "cosign",
                version: COSIGN_VERSION.to_owned(),
            },
            Tool::Helm => Package {
                name: "helm",
                version: HELM_VERSION.to_owned(),
            },
        }
    }

    /// Where it is: `KUBEBUILDER_ASSETS`, then `PATH` if the version there fits,
    /// then the cache.
    ///
    /// # Errors
    /// One sentence that says how to get it.
    pub fn find(self) -> Result<PathBuf> {
        let named = env::var_os("KUBEBUILDER_ASSETS")
            .map(PathBuf::from)
            .into_iter();
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
        let candidates = named
            .map(|folder| (folder, false))
            .chain(on_path.into_iter().flatten().map(|folder| (folder, true)));
        for (folder, version_matters) in candidates {
            let file = folder.join(self.file_name());
            if file.is_file() && (!version_matters || self.version_fits(&file)) {
                return Ok(file);
            }
        }
        let Package { name, version } = self.package();
        let cached = cache()?
            .join(format!("{name}-{version}"))
            .join(self.file_name());
        if cached.is_file() {
            return Ok(cached);
        }
        bail!(
            "{} {version} is not here: run `cargo run -p e2e --bin tools` once, which builds it with Go >= 1.26, or set KUBEBUILDER_ASSETS to a folder that holds it",
            self.file_name()
        )
    }

    fn version_fits(self, file: &Path) -> bool {
        let arguments: &[&str] = match self {
            // The API server accepts any etcd of its time, and etcd has versions of its own.
            Tool::Etcd => return true,
            Tool::KubeApiserver | Tool::KubeControllerManager | Tool::Registry => &["--version"],
            Tool::Kubectl => &["version", "--client"],
            Tool::Cosign | Tool::Helm => &["version"],
        };
        let Ok(output) = Command::new(file).args(arguments).output() else {
            return false;
        };
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains(&format!("v{}", self.package().version))
    }
}

impl Package {
    /// Builds it into the cache with `tests/tools/build.sh`; minutes, the first time.
    ///
    /// # Errors
    /// The script says what it lacks.
    pub fn build(&self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/build.sh");
        let status = Command::new(&script)
            .args([self.name, &self.version])
            .stdout(std::process::Stdio::null())
            .status()
            .with_context(|| format!("cannot run {}", script.display()))?;
        if !status.success() {
            bail!("{} {} could not be built", self.name, self.version);
        }
        Ok(())
    }
}

/// The binary `name` of this workspace, beside the running test.
///
/// # Errors
/// One sentence that says how to build it.
pub fn ours(name: &str, package: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    // Tests are in `deps`, programs beside what they need.
    let folder = test
        .parent()
        .and_then(|folder| match folder.ends_with("deps") {
            true => folder.parent(),
            false => Some(folder),
        })
        .ok_or_else(|| anyhow!("{} is not in a target folder", test.display()))?;
    let file = folder.join(name);
    if !file.is_file() {
        bail!(
            "{} is not built: run `cargo build -p {package}`",
            file.display()
        );
    }
    Ok(file)
}

fn kubernetes_version() -> String {
    env::var("LIGHTERMAN_KUBERNETES_VERSION").unwrap_or_else(|_| KUBERNETES_VERSION.to_owned())
}

fn cache() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("LIGHTERMAN_TOOLS") {
        return Ok(PathBuf::from(cache));
    }
    if let Some(cache) = env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(cache).join("lighterman/tools"));
    }
    let home = env::var_os("HOME").context("HOME is not set, so there is no cache for tools")?;
    Ok(PathBuf::from(home).join(".cache/lighterman/tools"))
}
