//! What the charts promise and no helm is needed to see: rights with their reasons,
//! values with their schema, and containers that can do no more than they must.
//! That the committed renders are current is a cluster test, which has helm.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CHARTS: [&str; 2] = ["lighterman-crds", "lighterman"];
/// What `helm template` makes of the chart: with its own values, and with all of them changed.
const RENDERED: [&str; 2] = ["default.yaml", "full.yaml"];
/// The only container that is root, and the only capability that one has.
const CLAIM: (&str, &str) = ("claim", "CHOWN");

#[test]
fn both_charts_have_the_version_of_the_programs() {
    for chart in CHARTS {
        let text = read(&format!("charts/{chart}/Chart.yaml"));
        let chart: Value = serde_saphyr::from_str(&text).unwrap();
        for field in ["version", "appVersion"] {
            assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{chart}");
        }
    }
}

#[test]
fn every_right_has_its_reason() {
    let mut unsaid = Vec::new();
    for file in templates(&root().join("charts/lighterman/templates")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (index, _) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("- apiGroups:"))
        {
            let above = lines[..index].iter().rev();
            let above = above.copied().find(|line| !line.starts_with("{{"));
            // Rules of admission and flow control are explained at the top of their files.
            let is_right =
                text.contains("\nkind: ClusterRole\n") || text.contains("\nkind: Role\n");
            if is_right && !above.is_some_and(|line| line.starts_with('#')) {
                unsaid.push(format!("{}:{}", file.display(), index + 1));
            }
        }
    }
    assert!(
        unsaid.is_empty(),
        "write above each rule why it is needed: {unsaid:#?}"
    );
}

#[test]
fn every_value_is_in_the_schema_and_tried() {
    let values = yaml(&read("charts/lighterman/values.yaml")).remove(0);
    let schema: Value =
        serde_json::from_str(&read("charts/lighterman/values.schema.json")).unwrap();
    let full = yaml(&read("tests/charts/full.values.yaml")).remove(0);
    let mut wrong = Vec::new();
    compare("", &values, &schema, &full, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether the members of `values` are those of `schema`, and each has another value in `full`.
fn compare(path: &str, values: &Value, schema: &Value, full: &Value, wrong: &mut Vec<String>) {
    let Some(members) = values.as_object().filter(|members| !members.is_empty()) else {
        if values == full || full.is_null() {
            wrong.push(format!(
                "{path} is not changed in tests/charts/full.values.yaml"
            ));
        }
        return;
    };
    let Some(known) = schema["properties"].as_object() else {
        // A map with free keys, or one that is described elsewhere in the schema.
        return;
    };
    let given: BTreeSet<&String> = members.keys().collect();
    let known: BTreeSet<&String> = known.keys().filter(|name| *name != "global").collect();
    for name in given.symmetric_difference(&known) {
        wrong.push(format!(
            "{path}/{name} is in only one of values.yaml and values.schema.json"
        ));
    }
    if schema["additionalProperties"] != false {
        wrong.push(format!("{path} takes values that nobody reads"));
    }
    for (name, value) in members {
        let schema = &schema["properties"][name];
        compare(&format!("{path}/{name}"), value, schema, &full[name], wrong);
    }
}

#[test]
fn every_container_is_confined() {
    for (file, pod) in pods() {
        let spec = &pod["spec"];
        let seccomp = &spec["securityContext"]["seccompProfile"]["type"];
        assert_eq!(*seccomp, "RuntimeDefault", "{file}");
        for container in containers(spec) {
            let name = container["name"].as_str().unwrap();
            let security = &container["securityContext"];
            let place = format!("{file}: {name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{place}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{place}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{place}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{place}"
            );
            let user = [security, &spec["securityContext"]]
                .into_iter()
                .find_map(|context| context["runAsUser"].as_u64());
            let adds = &security["capabilities"]["add"];
            if name == CLAIM.0 {
                assert_eq!(
                    (user, &adds[0], &adds[1]),
                    (Some(0), &CLAIM.1.into(), &Value::Null)
                );
            } else {
                assert!(user.is_some_and(|user| user > 0), "{place}");
                assert!(adds.is_null(), "{place}");
            }
        }
    }
}

#[test]
fn only_control_the_operator_and_one_test_hold_tokens() {
    let mut holders = BTreeSet::new();
    for (_, pod) in pods() {
        let spec = &pod["spec"];
        let automatic = spec["automountServiceAccountToken"] == true;
        let tokens: BTreeSet<&str> = list(&spec["volumes"])
            .filter(|volume| {
                list(&volume["projected"]["sources"])
                    .any(|source| !source["serviceAccountToken"].is_null())
            })
            .map(|volume| volume["name"].as_str().unwrap())
            .collect();
        for container in containers(spec) {
            let mounts = list(&container["volumeMounts"]);
            let mut mounts = mounts.map(|mount| mount["name"].as_str().unwrap());
            if automatic || mounts.any(|volume| tokens.contains(volume)) {
                holders.insert(container["name"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(
        holders,
        BTreeSet::from(["component".into(), "control".into(), "operator".into()])
    );
}

#[test]
fn a_worker_sees_no_directory_but_its_socket() {
    for (file, pod) in pods() {
        for container in containers(&pod["spec"]) {
            let name = container["name"].as_str().unwrap();
            let mounts: Vec<&str> = list(&container["volumeMounts"])
                .map(|mount| mount["name"].as_str().unwrap())
                .collect();
            match name {
                "worker" => assert_eq!(mounts, ["worker-socket"], "{file}"),
                "compiler" => assert_eq!(mounts, ["compiler-socket"], "{file}"),
                "spawner" => assert_eq!(mounts, ["spawner-socket", "spawner-tools"], "{file}"),
                _ => {}
            }
        }
    }
}

#[test]
fn nothing_starts_executables_unless_the_values_say_so() {
    let spawners = |wanted: &str| {
        let pods = pods().into_iter().filter(|(file, _)| *file == wanted);
        let containers = pods.flat_map(|(_, pod)| {
            let all: Vec<Value> = containers(&pod["spec"]).cloned().collect();
            all
        });
        let flags = containers.flat_map(|container| {
            let args: Vec<Value> = list(&container["args"]).cloned().collect();
            args
        });
        flags
            .filter(|flag| flag.as_str().is_some_and(|flag| flag.contains("spawner")))
            .count()
    };
    assert_eq!(spawners("default.yaml"), 0);
    assert!(spawners("full.yaml") > 0);
}

/// Every Pod, or template of one, in the committed renders.
fn pods() -> Vec<(&'static str, Value)> {
    let mut pods = Vec::new();
    for file in RENDERED {
        for object in yaml(&read(&format!("tests/charts/{file}"))) {
            match object["kind"].as_str() {
                Some("Pod") => pods.push((file, object)),
                Some("Deployment" | "DaemonSet") => {
                    pods.push((file, object["spec"]["template"].clone()))
                }
                _ => {}
            }
        }
    }
    assert!(pods.len() >= 3 * RENDERED.len(), "{}", pods.len());
    pods
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(&spec["initContainers"]).chain(list(&spec["containers"]))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn yaml(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
}

fn templates(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                templates(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
