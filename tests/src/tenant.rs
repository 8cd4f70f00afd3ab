//! One test as a tenant: a namespace of its own and a TrustPolicy that covers
//! only it. It applies what a user would apply, with kubectl, and looks at what
//! a user would see. When the test fails it prints what is there.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use crds::{ComponentPlacement, TrustPolicy, WasmComponent};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use registry::Credentials;
use serde_json::{Value, json};

use crate::eventually::{PATIENCE, eventually};
use crate::guest;
use crate::operator::NAMESPACE;
use crate::registry::{Image, push};
use crate::suite::Suite;

/// A test's namespace, and the parts it shares with the others.
pub struct Tenant {
    /// The namespace.
    pub name: String,
    /// All that runs.
    pub suite: &'static Suite,
}

/// One address a Service publishes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The node it is on.
    pub node: String,
    /// Where it answers.
    pub address: SocketAddr,
    /// Whether a kube-proxy would send requests to it.
    pub ready: bool,
}

impl Endpoint {
    /// The URL of `path` there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Tenant {
    /// Makes the tenant, runs the test, and removes the tenant again.
    pub(crate) async fn run(
        suite: &'static Suite,
        name: &str,
        test: impl AsyncFnOnce(&Tenant) -> Result<()>,
    ) -> Result<()> {
        let tenant = Tenant::create(suite, name).await?;
        let outcome = test(&tenant).await;
        if let Err(error) = &outcome {
            eprintln!(
                "=== {name} failed: {error:#}\n{}\n{}",
                tenant.dump().await,
                suite.tails()
            );
        }
        // A failed test may have left the API server stopped: its own error matters more.
        let removed = tenant.remove().await;
        outcome?;
        removed
    }

    /// A second tenant in the same test, removed with [`Tenant::remove`].
    pub async fn create(suite: &'static Suite, name: &str) -> Result<Tenant> {
        let tenant = Tenant {
            name: name.to_owned(),
            suite,
        };
        let namespaces = Api::<Namespace>::all(tenant.client());
        let namespace = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        }))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        tenant
            .trust(&suite.signer.public_key(), &[suite.registry.address])
            .await?;
        Ok(tenant)
    }

    /// Removes the namespace and the policy, without waiting for the end of it.
    pub async fn remove(&self) -> Result<()> {
        let parameters = DeleteParams::default();
        Api::<TrustPolicy>::all(self.client())
            .delete(&self.name, &parameters)
            .await?;
        Api::<Namespace>::all(self.client())
            .delete(&self.name, &parameters)
            .await?;
        Ok(())
    }

    /// Trusts `public_key` for every image of these registries, in this namespace only.
    pub async fn trust(&self, public_key: &str, registries: &[SocketAddr]) -> Result<()> {
        let images: Vec<Value> = registries
            .iter()
            .map(|registry| json!({ "glob": format!("{registry}/**") }))
            .collect();
        let authority = json!({ "name": "e2e", "key": { "data": public_key }, "ctlog": "Ignore" });
        let spec = json!({ "images": images, "authorities": [authority] });
        self.policy(&self.name, spec).await
    }

    /// Says this in the tenant's policy beside what it says from the start, or in place of it.
    pub async fn trust_with(&self, more: Value) -> Result<()> {
        self.policy(&self.name, more).await
    }

    /// A policy for this namespace only; what `spec` leaves out is the key of the suite for
    /// every image of the suite's registry.
    pub async fn policy(&self, name: &str, spec: Value) -> Result<()> {
        let registry = self.suite.registry.address;
        let key = self.suite.signer.public_key();
        let mut whole = json!({
            "images": [{ "glob": format!("{registry}/**") }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.name } },
            "authorities": [{ "name": "e2e", "key": { "data": key }, "ctlog": "Ignore" }],
        });
        if let (Some(whole), Value::Object(given)) = (whole.as_object_mut(), spec) {
            whole.extend(given);
        }
        self.apply(json!({
            "apiVersion": "lighterman.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": { "name": name },
            "spec": whole,
        }))
        .await
    }

    /// Changes what the capability policy that holds everywhere allows. Of the whole cluster,
    /// so only for a test that is alone, and to be undone with `null`.
    pub async fn allow_everywhere(&self, allow: Value) -> Result<()> {
        let patch = json!({ "spec": { "allow": allow } }).to_string();
        let arguments = [
            "patch",
            "capabilitypolicy",
            "baseline",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.kubectl(&arguments).await.map(drop)
    }

    /// Pushes `guests/version.wat` in this `version` as `component:tag`, unsigned.
    pub async fn push(&self, component: &str, tag: &str, version: &str) -> Result<Image> {
        self.push_bytes(component, tag, guest::version(version, &self.name)?)
            .await
    }

    /// Pushes it and signs it with the key this tenant trusts.
    pub async fn publish(&self, component: &str, tag: &str, version: &str) -> Result<Image> {
        let image = self.push(component, tag, version).await?;
        self.suite.signer.sign(&image).await?;
        Ok(image)
    }

    /// Publishes a component that calls itself `orders` in this `version`, and answers with it.
    pub async fn named_version(&self, version: &str) -> Result<Image> {
        let wasm = guest::named(guest::version(version, &self.name)?, "orders")?;
        let image = self.push_bytes("orders", version, wasm).await?;
        self.suite.signer.sign(&image).await?;
        Ok(image)
    }

    /// Pushes any bytes as `component:tag`, unsigned.
    pub async fn push_bytes(&self, component: &str, tag: &str, wasm: Vec<u8>) -> Result<Image> {
        let repository = format!("{}/{component}", self.name);
        let anonymous = Credentials::anonymous();
        push(
            self.suite.registry.address,
            &repository,
            tag,
            wasm,
            &anonymous,
        )
        .await
    }

    /// `kubectl apply` of one object, in this namespace if it belongs to one.
    pub async fn apply(&self, object: Value) -> Result<()> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], &object.to_string())
            .await?;
        Ok(())
    }

    /// `kubectl apply` of a WasmComponent; what `spec` leaves out is one http
    /// trigger named `web` on every node.
    pub async fn component(&self, name: &str, spec: Value) -> Result<()> {
        let mut whole = json!({
            "placement": { "mode": "EveryNode" },
            "triggers": [{ "name": "web", "http": { "port": 80 } }],
            "rollout": { "terminationGracePeriodSeconds": 5 },
        });
        if let (Some(whole), Value::Object(given)) = (whole.as_object_mut(), spec) {
            whole.extend(given);
        }
        self.apply(json!({
            "apiVersion": "lighterman.dev/v1alpha1",
            "kind": "WasmComponent",
            "metadata": { "name": name },
            "spec": whole,
        }))
        .await
    }

    /// kubectl in this namespace; its standard output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let all = [&["--namespace", &self.name], arguments].concat();
        self.suite.cluster.kubectl_ok(&all, None).await
    }

    /// kubectl in this namespace with a document on its standard input.
    pub async fn kubectl_with(&self, arguments: &[&str], document: &str) -> Result<String> {
        let all = [&["--namespace", &self.name], arguments].concat();
        self.suite.cluster.kubectl_ok(&all, Some(document)).await
    }

    /// The component as it is now.
    pub async fn get(&self, name: &str) -> Result<WasmComponent> {
        Ok(Api::<WasmComponent>::namespaced(self.client(), &self.name)
            .get(name)
            .await?)
    }

    /// Its placements as they are now.
    pub async fn placements(&self) -> Result<Vec<ComponentPlacement>> {
        let placements = Api::<ComponentPlacement>::namespaced(self.client(), &self.name);
        Ok(placements.list(&ListParams::default()).await?.items)
    }

    /// Waits until the component as last applied is Ready.
    pub async fn ready(&self, name: &str) -> Result<WasmComponent> {
        eventually(&format!("{name} to be Ready"), PATIENCE, async || {
            let component = self.get(name).await?;
            let ready = condition(&component, "Ready")?;
            ensure!(
                ready.status == "True"
                    && ready.observed_generation == component.metadata.generation,
                "Ready is {} ({}): {}",
                ready.status,
                ready.reason,
                ready.message
            );
            Ok(component)
        })
        .await
    }

    /// Waits until the component is not Ready for `reason`; the condition's message.
    pub async fn refused(&self, name: &str, reason: &str) -> Result<String> {
        eventually(
            &format!("{name} to be refused as {reason}"),
            PATIENCE,
            async || {
                let component = self.get(name).await?;
                let ready = condition(&component, "Ready")?;
                ensure!(
                    ready.status == "False" && ready.reason == reason,
                    "Ready is {} ({}): {}",
                    ready.status,
                    ready.reason,
                    ready.message
                );
                Ok(ready.message)
            },
        )
        .await
    }

    /// Waits until every placement is to hold this image and no other.
    pub async fn alone_everywhere(&self, image: &Image) -> Result<()> {
        eventually("every node to hold it alone", PATIENCE, async || {
            for placement in self.placements().await? {
                let held = &placement.spec.revisions;
                let is_alone =
                    matches!(held.as_slice(), [only] if only.digest == image.digest.to_string());
                ensure!(is_alone, "{}: {held:?}", placement.spec.node_name);
            }
            Ok(())
        })
        .await
    }

    /// A client of the hand-over that trusts what agents trust: the bundle the operator
    /// publishes.
    pub async fn hand_over_client(&self) -> Result<reqwest::Client> {
        let maps = Api::<ConfigMap>::namespaced(self.client(), NAMESPACE);
        let trust = maps.get("lighterman-trust").await?.data;
        let trust = trust.context("lighterman-trust is empty")?;
        let bundle = trust.get("ca.crt").context("there is no ca.crt")?;
        let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes())?;
        let client = reqwest::Client::builder().no_proxy();
        Ok(client.tls_certs_only(certificates).build()?)
    }

    /// Waits until the component answers `body` on `nodes` ready endpoints, on all of them.
    pub async fn answers(&self, service: &str, nodes: usize, body: &str) -> Result<Vec<Endpoint>> {
        eventually(
            &format!("{service} to answer {body} on {nodes} nodes"),
            PATIENCE,
            async || {
                let ready = self.endpoints(service).await?;
                ensure!(ready.len() == nodes, "ready endpoints are {ready:?}");
                for endpoint in &ready {
                    let answer = fetch(&endpoint.url("/")).await?;
                    ensure!(
                        answer == (200, body.to_owned()),
                        "{} answered {answer:?}",
                        endpoint.node
                    );
                }
                Ok(ready)
            },
        )
        .await
    }

    /// The ready endpoints that `service` publishes, by node.
    pub async fn endpoints(&self, service: &str) -> Result<Vec<Endpoint>> {
        let mut found = endpoints(&self.client(), &self.name, service).await?;
        found.retain(|endpoint| endpoint.ready);
        Ok(found)
    }

    /// An administrator's client.
    pub fn client(&self) -> Client {
        self.suite.cluster.client.clone()
    }

    /// What is in the namespace, for a test that failed.
    async fn dump(&self) -> String {
        let mut text = String::new();
        for kinds in [
            "wasmcomponents,componentplacements,services,endpointslices",
            "events",
            "controllerrevisions",
        ] {
            let seen = match self.kubectl(&["get", kinds, "-o", "yaml"]).await {
                Ok(seen) => seen,
                Err(error) => format!("{error:#}\n"),
            };
            text.push_str(&format!("--- {kinds} in {}\n{seen}", self.name));
        }
        text
    }
}

/// A component's condition by its type.
pub fn condition(component: &WasmComponent, kind: &str) -> Result<Condition> {
    let conditions = component
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let found = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == kind);
    found
        .cloned()
        .with_context(|| format!("{} has no condition {kind}", component.name_any()))
}

/// Everything that `service` publishes in its EndpointSlices, sorted by node.
pub async fn endpoints(client: &Client, namespace: &str, service: &str) -> Result<Vec<Endpoint>> {
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let mut found = Vec::new();
    for slice in slices.list(&selector).await? {
        for port in slice.ports.iter().flatten() {
            let port = port
                .port
                .and_then(|port| u16::try_from(port).ok())
                .context("an endpoint port")?;
            for endpoint in &slice.endpoints {
                let [address] = endpoint.addresses.as_slice() else {
                    bail!("an endpoint with the addresses {:?}", endpoint.addresses)
                };
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                found.push(Endpoint {
                    node: endpoint
                        .node_name
                        .clone()
                        .context("an endpoint without nodeName")?,
                    address: SocketAddr::new(address.parse()?, port),
                    ready: conditions.ready == Some(true),
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// GET on a connection of its own: status and body.
pub async fn fetch(url: &str) -> Result<(u16, String)> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let answer = client.get(url).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
