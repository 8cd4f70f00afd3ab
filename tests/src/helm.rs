//! Real helm against the cluster under test, with the charts of this checkout or
//! of another commit. It knows nothing of what they install. Called by the suite,
//! and by the tests of the charts.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::operator::NAMESPACE;
use crate::suite::repository;
use crate::tools::Tool;

/// Helm, as the administrator of one cluster; every release is in [`NAMESPACE`].
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where it keeps what it remembers between calls.
    home: PathBuf,
    /// The folder of the charts.
    charts: PathBuf,
}

impl Helm {
    /// With the charts of this checkout.
    pub fn new(cluster: &Cluster) -> Result<Helm> {
        Helm::with_charts(cluster, &charts()?)
    }

    /// With the charts in another folder.
    pub fn with_charts(cluster: &Cluster, charts: &Path) -> Result<Helm> {
        let kubeconfig = cluster.kubeconfig();
        let folder = kubeconfig.parent().context("the cluster has no folder")?;
        Ok(Helm {
            program: Tool::Helm.find()?,
            home: folder.join("helm"),
            kubeconfig,
            charts: charts.to_owned(),
        })
    }

    /// Installs a chart as the release of its name.
    pub async fn install(&self, chart: &str, arguments: &[&str]) -> Result<String> {
        let chart_path = self.chart(chart)?;
        let install = ["install", chart, &chart_path, "--create-namespace"];
        self.run(&[&install, arguments].concat()).await
    }

    /// Upgrades the release of a chart to it.
    pub async fn upgrade(&self, chart: &str, arguments: &[&str]) -> Result<String> {
        let chart_path = self.chart(chart)?;
        self.run(&[&["upgrade", chart, &chart_path], arguments].concat())
            .await
    }

    /// Uninstalls the release of a chart.
    pub async fn uninstall(&self, chart: &str) -> Result<String> {
        self.run(&["uninstall", chart]).await
    }

    /// The manifests that an installation would apply.
    pub async fn template(&self, chart: &str, arguments: &[&str]) -> Result<String> {
        let chart_path = self.chart(chart)?;
        self.run(&[&["template", chart, &chart_path], arguments].concat())
            .await
    }

    /// What helm has to say against a chart; an error if it is wrong.
    pub async fn lint(&self, chart: &str, arguments: &[&str]) -> Result<String> {
        let chart_path = self.chart(chart)?;
        self.run(&[&["lint", "--strict", &chart_path], arguments].concat())
            .await
    }

    /// Runs helm and returns what it printed.
    ///
    /// # Errors
    /// It failed: what it wrote.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let Output {
            status,
            stdout,
            stderr,
        } = tokio::process::Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", NAMESPACE])
            .args(arguments)
            .env("HOME", &self.home)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .output()
            .await
            .context("helm")?;
        let printed = String::from_utf8_lossy(&stdout).into_owned();
        if !status.success() {
            let error = String::from_utf8_lossy(&stderr);
            bail!("helm {}: {}{printed}", arguments.join(" "), error.trim());
        }
        Ok(printed)
    }

    fn chart(&self, name: &str) -> Result<String> {
        let path = self.charts.join(name);
        let path = path.to_str().context("the path of a chart is not UTF-8")?;
        Ok(path.to_owned())
    }
}

/// The charts of this checkout.
pub fn charts() -> Result<PathBuf> {
    Ok(repository()?.join("charts"))
}
