//! The charts as real helm renders, installs, upgrades and uninstalls them on a
//! real API server. No kubelet is here: that the Pods start is `make test-node`'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::Cluster;
use e2e::eventually::{PATIENCE, eventually};
use e2e::helm::{Helm, charts};
use e2e::operator::{NAMESPACE, NODE_NAMESPACE, Operator};
use e2e::suite::{repository, shared};
use e2e::tenant::Tenant;
use e2e::tools::ours;
use serde_json::{Value, json};

/// Every value, each different from its default.
const FULL: &str = "full.values.yaml";
/// What agents are told to trust.
const TRUST: &str = "configmap/lighterman-trust";
/// Of the component that the release is tried with.
const POLICY: &str = "networkpolicy/wc-shop.orders";
/// The releases' names are those of the charts.
const CHARTS: [&str; 2] = ["lighterman-crds", "lighterman"];

#[test]
fn the_charts_render_as_committed() -> Result<()> {
    shared("charts-golden", async |tenant| {
        let helm = Helm::new(&tenant.suite.cluster)?;
        let mut differences = Vec::new();
        for (golden, arguments) in [
            ("default.yaml", vec![]),
            ("full.yaml", vec!["--values", FULL]),
        ] {
            let arguments = with_paths(&arguments)?;
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let rendered = helm.template("lighterman", &arguments).await?;
            let path = folder()?.join(golden);
            if std::env::var_os("GOLDEN").is_some() {
                std::fs::write(&path, &rendered)?;
            }
            if std::fs::read_to_string(&path).unwrap_or_default() != rendered {
                differences.push(path);
            }
        }
        ensure!(
            differences.is_empty(),
            "{differences:?} are not what the chart renders: run `GOLDEN=write tests/in-namespace cargo test --offline -p e2e --test cluster the_charts_render_as_committed`, and read the difference"
        );
        Ok(())
    })
}

#[test]
fn helm_finds_nothing_to_say_against_the_charts() -> Result<()> {
    shared("charts-lint", async |tenant| {
        let helm = Helm::new(&tenant.suite.cluster)?;
        for chart in CHARTS {
            helm.lint(chart, &[]).await?;
        }
        let full = with_paths(&["--values", FULL])?;
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        helm.lint("lighterman", &full).await?;
        Ok(())
    })
}

#[test]
fn the_api_server_knows_every_field_that_is_rendered() -> Result<()> {
    shared("charts-strict", async |tenant| {
        let cluster = &tenant.suite.cluster;
        let helm = Helm::new(cluster)?;
        // A Pod alone of all objects is refused when its account is not there.
        let account = ["create", "serviceaccount", "lighterman-test-component"];
        tenant.kubectl(&account).await?;
        for values in [vec![], vec!["--values", FULL]] {
            let values = with_paths(&values)?;
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            // Nothing is made, so what belongs in a namespace has to find it there; and in this
            // one it does not meet what is installed.
            let node_namespace = format!("nodeNamespace={}", tenant.name);
            let here = ["--namespace", &tenant.name, "--set", &node_namespace];
            let rendered = helm
                .template("lighterman", &[&values[..], &here].concat())
                .await?;
            let apply = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--validate=strict",
                "-f",
                "-",
            ];
            let done = cluster.kubectl_ok(&apply, Some(&rendered)).await?;
            let objects = rendered
                .lines()
                .filter(|line| line.starts_with("kind:"))
                .count();
            ensure!(
                done.lines().count() == objects,
                "{objects} objects, but: {done}"
            );
        }
        Ok(())
    })
}

#[test]
fn the_programs_know_every_argument_that_the_chart_gives_them() -> Result<()> {
    let operator = ours("lighterman-operator", "operator")?;
    let agent = ours("lighterman-agent", "node-agent")?;
    let mut asked = 0;
    for golden in ["default.yaml", "full.yaml"] {
        let text = std::fs::read_to_string(folder()?.join(golden))?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        for spec in objects
            .iter()
            .map(|object| &object["spec"]["template"]["spec"])
        {
            let lists = ["initContainers", "containers"].map(|list| spec[list].as_array());
            for container in lists.into_iter().flatten().flatten() {
                let program = match container["name"].as_str() {
                    Some("operator") => &operator,
                    _ => &agent,
                };
                let arguments: Vec<String> = serde_json::from_value(container["args"].clone())?;
                // All before it is read, and nothing is done.
                let output = Command::new(program)
                    .args(&arguments)
                    .arg("--help")
                    .output()?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(
                    output.status.success(),
                    "{} {arguments:?}: {said}",
                    program.display()
                );
                asked += 1;
            }
        }
    }
    ensure!(asked == 10, "{asked} containers");
    Ok(())
}

#[test]
fn wrong_values_are_refused_with_their_place() -> Result<()> {
    shared("charts-values", async |tenant| {
        let helm = Helm::new(&tenant.suite.cluster)?;
        for (value, place) in [
            ("operator.replica=3", "replica"),
            ("operator.replicas=many", "/operator/replicas"),
            ("agent.memory=2G", "/agent/memory"),
            ("agent.memory=512Mi", "agent.memory is 512Mi"),
            ("agent.storage.type=Disk", "/agent/storage/type"),
            ("image.digests.agent=latest", "/image/digests/agent"),
            ("trust.keys[0].name=shop", "/trust/keys/0"),
            (
                "trust.github[0].organization=a.b",
                "/trust/github/0/organization",
            ),
            (
                "metrics.from[0].podSelector.app=x",
                "/metrics/from/0/podSelector",
            ),
            ("unknown=1", "unknown"),
        ] {
            match helm.template("lighterman", &["--set", value]).await {
                Err(error) => {
                    let said = format!("{error:#}");
                    ensure!(
                        said.contains(place),
                        "--set {value} is answered without {place}: {said}"
                    );
                }
                Ok(_) => anyhow::bail!("--set {value} is rendered"),
            }
        }
        Ok(())
    })
}

#[test]
fn editors_of_a_namespace_write_components_and_not_placements() -> Result<()> {
    shared("charts-roles", async |tenant| {
        for (role, user) in [("view", "viewer"), ("edit", "editor")] {
            let binding = ["create", "rolebinding", role, "--clusterrole", role];
            let user = format!("--user={user}");
            tenant.kubectl(&[&binding[..], &[&user]].concat()).await?;
        }
        // The roles are put together by a controller, after they were installed.
        eventually("the rights of both roles", PATIENCE, async || {
            for (user, verb, kind, part, expected) in [
                ("editor", "create", "wasmcomponents", "", true),
                ("editor", "update", "wasmcomponents", "scale", true),
                ("editor", "patch", "wasmcomponents", "status", false),
                ("editor", "get", "componentplacements", "", true),
                ("editor", "create", "componentplacements", "", false),
                ("editor", "delete", "componentplacements", "", false),
                ("viewer", "list", "wasmcomponents", "", true),
                ("viewer", "create", "wasmcomponents", "", false),
            ] {
                let resource = format!("{kind}.lighterman.dev");
                let part = format!("--subresource={part}");
                let ask = [
                    "--namespace",
                    &tenant.name,
                    "--as",
                    user,
                    "auth",
                    "can-i",
                    verb,
                ];
                let ask = [&ask[..], &[&resource, &part]].concat();
                let answer = tenant.suite.cluster.kubectl(&ask, None).await?;
                let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
                ensure!(
                    (answer == "yes") == expected,
                    "may {user} {verb} {resource} {part}? {answer}"
                );
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn a_release_is_upgraded_and_uninstalled_and_leaves_the_kinds_only() -> Result<()> {
    shared("charts-release", async |tenant| {
        let folder = tenant.suite.folder.join("charts");
        let logs = folder.join("logs");
        let cluster = Cluster::start(&folder, &logs).await?;
        let before = charts_of_last_commit(&folder.join("last"))?;
        let old = Helm::with_charts(&cluster, &before)?;
        for chart in CHARTS {
            old.install(chart, &[]).await?;
        }
        let workloads = get(&cluster, "deployment,daemonset", "name").await?;
        ensure!(workloads.lines().count() == 2, "{workloads}");
        let helm = Helm::new(&cluster)?;
        for chart in CHARTS {
            helm.upgrade(chart, &[]).await?;
        }

        let operator = Operator::prepare("charts-operator", &cluster, &folder, &logs).await?;
        operator.start().await?;
        apply(&cluster, "shop", tenant).await?;
        let made = "all that the operator keeps in its namespace";
        let trusted = eventually(made, PATIENCE, async || {
            for object in ["secret/lighterman-ca", "secret/lighterman-seal", POLICY] {
                get(&cluster, object, "name").await?;
            }
            let trusted = get(&cluster, TRUST, "jsonpath={.data}").await?;
            ensure!(trusted.contains("seal.pub"), "no key is published");
            Ok(trusted)
        })
        .await?;

        let changed = ["--set", "operator.replicas=3", "--set", "agent.memory=4Gi"];
        helm.upgrade("lighterman", &changed).await?;
        let replicas = "jsonpath={.spec.replicas}";
        let replicas = get(&cluster, "deployment/lighterman-operator", replicas).await?;
        ensure!(replicas == "3", "{replicas} replicas");
        let now = get(&cluster, TRUST, "jsonpath={.data}").await?;
        ensure!(now == trusted, "an upgrade has taken what agents trust");

        operator.stop().await?;
        for chart in CHARTS.iter().rev() {
            helm.uninstall(chart).await?;
        }
        eventually("nothing of the charts to be left", PATIENCE, async || {
            let left = left(&cluster).await?;
            ensure!(left.is_empty(), "{left:#?}");
            Ok(())
        })
        .await?;
        let kinds = get(&cluster, "customresourcedefinitions", "name").await?;
        ensure!(
            kinds.lines().count() == crds::definitions().len(),
            "{kinds}"
        );

        // What users wrote is still there; it goes with their namespace, although nobody is left
        // who could take a finalizer off.
        let component = ["get", "wasmcomponent/orders", "--namespace", "shop"];
        cluster.kubectl_ok(&component, None).await?;
        let delete = ["delete", "namespace", "shop", "--timeout=60s"];
        cluster.kubectl_ok(&delete, None).await?;
        Ok(())
    })
}

/// `kubectl get` in the namespace of the release.
async fn get(cluster: &Cluster, object: &str, output: &str) -> Result<String> {
    let get = ["--namespace", NAMESPACE, "get", object, "-o", output];
    cluster.kubectl_ok(&get, None).await
}

/// A namespace with a component that gets a port, and who may sign it.
async fn apply(cluster: &Cluster, namespace: &str, tenant: &Tenant) -> Result<()> {
    let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let registry = tenant.suite.registry.address;
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": "TrustPolicy",
            "metadata": {"name": namespace},
            "spec": {
                "images": [{"glob": format!("{registry}/**")}],
                "authorities": [{
                    "name": "e2e",
                    "key": {"data": tenant.suite.signer.public_key()},
                    "ctlog": "Ignore",
                }],
            },
        }),
        json!({
            "apiVersion": crds::API_VERSION,
            "kind": "WasmComponent",
            "metadata": {"namespace": namespace, "name": "orders"},
            "spec": {
                "image": image.tag,
                "placement": {"mode": "EveryNode"},
                "triggers": [{"name": "web", "http": {}}],
            },
        }),
    ];
    for object in objects {
        let apply = ["apply", "--server-side", "-f", "-"];
        cluster
            .kubectl_ok(&apply, Some(&object.to_string()))
            .await?;
    }
    Ok(())
}

/// Every object of the cluster that has our name or is in one of our namespaces, but for the
/// kinds, what users made, and what Kubernetes puts into every namespace.
async fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = ["api-resources", "--verbs=list", "-o", "name"];
    let kinds = cluster.kubectl_ok(&kinds, None).await?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.ends_with("metrics.k8s.io"))
        .collect();
    let columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let all = ["get", &kinds.join(","), "-A", "--no-headers", "-o", columns];
    let all = cluster.kubectl_ok(&all, None).await?;
    let found = all
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = found.filter(|object| match object.as_slice() {
        ["CustomResourceDefinition", ..]
        | ["ConfigMap", _, "kube-root-ca.crt"]
        | ["ServiceAccount", _, "default"] => false,
        // `--create-namespace` made it, and helm leaves it.
        ["Namespace", _, name] => *name == NODE_NAMESPACE,
        [_, namespace, name] => {
            [NAMESPACE, NODE_NAMESPACE].contains(namespace) || name.starts_with("lighterman")
        }
        _ => true,
    });
    Ok(ours.map(|object| object.join(" ")).collect())
}

/// The charts as of the last commit, or, where it has none, those of this checkout.
fn charts_of_last_commit(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let archive = folder.join("charts.tar");
    let git = Command::new("git")
        .current_dir(repository()?)
        .args(["archive", "--format=tar", "--output"])
        .arg(&archive)
        .args(["HEAD", "charts"])
        .status()
        .context("git is needed to upgrade from the last commit's charts; install it")?;
    let unpacked = git.success()
        && Command::new("tar")
            .current_dir(folder)
            .arg("-xf")
            .arg(&archive)
            .status()?
            .success();
    let committed = folder.join("charts");
    let complete = CHARTS
        .iter()
        .all(|chart| committed.join(chart).join("Chart.yaml").is_file());
    if unpacked && complete {
        Ok(committed)
    } else {
        charts()
    }
}

/// Names of values files become their paths.
fn with_paths(arguments: &[&str]) -> Result<Vec<String>> {
    let folder = folder()?;
    let path = |argument: &&str| match argument.ends_with(".yaml") {
        true => folder.join(argument).display().to_string(),
        false => (*argument).to_owned(),
    };
    Ok(arguments.iter().map(path).collect())
}

fn folder() -> Result<PathBuf> {
    Ok(repository()?.join("tests/charts"))
}
