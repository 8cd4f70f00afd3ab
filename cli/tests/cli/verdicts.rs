//! The same YAML gives the same verdict everywhere: in the operator, on a node, and under `run`.
//!
//! Each case is a file under `verdicts/` that names its verdict, with the component's manifest
//! beside it. Operator and node are their pure steps, fed as in a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact::component::Facts;
use artifact::{Digest, manifest_section};
use crds::document::{self, Document};
use crds::{CapabilityPolicy, Reason, WasmComponent};
use node_agent::control::validate as node;
use operator::ceilings::{Policies, Usage};
use operator::component::observe::Observed;
use operator::component::{Decision, Validated, admit, revision, validate};
use operator::node::Nodes;
use operator::resolver::{Admitted, Resolution};
use operator::service::Standing;

use super::program::{Home, hello};

/// A case, as everybody is shown it.
struct Case {
    yaml: PathBuf,
    manifest: Option<PathBuf>,
    expected: String,
    component: WasmComponent,
    policies: Vec<CapabilityPolicy>,
    facts: Facts,
}

const ADMITTED: &str = "Admitted";
/// What only the whole namespace tells, which no node sees.
const OF_THE_OPERATOR: [Reason; 2] = [Reason::TotalsExceeded, Reason::ApprovalRequired];

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts");
    let files = std::fs::read_dir(folder).unwrap();
    let yaml = files.map(|entry| entry.unwrap().path()).filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    yaml.map(|path| case(&path)).collect()
}

fn case(yaml: &Path) -> Case {
    let text = std::fs::read_to_string(yaml).unwrap();
    let expected = text.lines().next().unwrap();
    let expected = expected.strip_prefix("# verdict: ").unwrap().to_owned();
    let (mut components, mut policies) = (Vec::new(), Vec::new());
    for document in document::check(&text).unwrap() {
        match document {
            Document::WasmComponent(component) => components.push(*component),
            Document::CapabilityPolicy(policy) => policies.push(*policy),
            other => panic!("{other:?}"),
        }
    }
    let mut component = components.remove(0);
    // As an API server would.
    component.metadata.namespace = Some("default".into());
    component.metadata.uid = Some("1".into());
    let manifest = Some(yaml.with_extension("toml")).filter(|file| file.exists());
    let mut wasm = std::fs::read(hello()).unwrap();
    if let Some(manifest) = &manifest {
        let text = std::fs::read_to_string(manifest).unwrap();
        wasm = manifest_section::embed(&wasm, &text).unwrap();
    }
    Case {
        yaml: yaml.to_owned(),
        manifest,
        expected,
        component,
        policies,
        facts: artifact::component::inspect(&wasm).unwrap(),
    }
}

impl Case {
    fn covering(&self) -> Policies {
        let labels = [(
            "kubernetes.io/metadata.name".to_owned(),
            "default".to_owned(),
        )];
        Policies::covering(&self.policies, Some(&labels.into()))
    }

    fn of_the_operator(&self, validated: &Validated) -> String {
        let observed = Observed {
            component: Arc::new(self.component.clone()),
            resolution: Resolution::Done(Admitted {
                digest: Digest::of(b"hello"),
                signers: Vec::new(),
                facts: self.facts.clone(),
                requests: self.facts.request.iter().cloned().collect(),
                findings: Vec::new(),
            }),
            reviews: Vec::new(),
            policies: self.covering(),
            usage: Usage::default(),
            since_stop: None,
            since_progress: None,
            calls: Default::default(),
            values: Ok(()),
            nodes: Nodes::default(),
            placements: Vec::new(),
            revisions: Vec::new(),
            next_revision: 1,
            service: Standing::Absent,
            slices: Vec::new(),
            since_slices: None,
            network_policy: None,
            previews: Vec::new(),
            ports: Ok(BTreeMap::new()),
        };
        match admit(&observed, validated).decision {
            Decision::Admitted { .. } => ADMITTED.to_owned(),
            Decision::Refused(blocked) => blocked.reason.to_string(),
            Decision::Waiting => panic!("{}", self.yaml.display()),
        }
    }

    fn of_a_node(&self, validated: &Validated) -> String {
        let requests: Vec<_> = self.facts.request.iter().cloned().collect();
        let document = revision(validated, &Digest::of(b"hello"), &requests);
        match node::admit(&document, &requests, &self.covering().ceilings()) {
            Ok(()) => ADMITTED.to_owned(),
            Err(refused) => refused.reason().to_string(),
        }
    }

    fn of_run(&self) -> String {
        let home = Home::new();
        let (yaml, wasm) = (
            self.yaml.display().to_string(),
            format!("hello={}", hello()),
        );
        let manifest = self.manifest.as_ref();
        let manifest = manifest.map(|file| format!("hello={}", file.display()));
        let port = Home::port();
        let mut arguments = vec![
            "run",
            &yaml,
            "--set-image",
            &wasm,
            "--port",
            &port,
            "-o",
            "json",
        ];
        if let Some(manifest) = &manifest {
            arguments.extend(["--manifest", manifest]);
        }
        if self.expected == ADMITTED {
            home.start(&arguments).event("preparing");
            return ADMITTED.to_owned();
        }
        let ended = home.run(&arguments).fails(1, &[]);
        let failure: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
        let what = failure["error"]["what"].as_str().unwrap().to_owned();
        what.split(": ").nth(1).unwrap().to_owned()
    }
}

#[test]
fn every_verdict_is_the_same_in_the_operator_on_a_node_and_here() {
    let cases = cases();
    assert!(cases.len() >= 15, "there are {}", cases.len());
    for case in cases {
        let name = case.yaml.display();
        let validated = validate(&case.component).unwrap();
        assert_eq!(
            case.of_the_operator(&validated),
            case.expected,
            "operator: {name}"
        );
        let reason: Reason = case.expected.parse().unwrap();
        if !OF_THE_OPERATOR.contains(&reason) {
            assert_eq!(case.of_a_node(&validated), case.expected, "node: {name}");
        }
        assert_eq!(case.of_run(), case.expected, "run: {name}");
    }
}
