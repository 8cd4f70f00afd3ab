//! What `helm test` runs through the operator: one signed component, as its user sees it.
//! Applied, Ready, called at its Service, removed, and nothing of it left.
//!
//! `main` calls it for `lighterman-operator trial`, in a Pod of its own whose account may do
//! just that. It knows nothing of the operator that does the work.

use std::time::Duration;

use crds::condition::ConditionType;
use crds::{WasmComponent, WasmComponentSpec};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Config, ResourceExt};
use tokio::time::Instant;

use crate::args::TrialArgs;

/// The argument that starts it.
pub const ROLE: &str = "trial";

/// The component's name, which the Pod's role names, too.
const NAME: &str = "lighterman-test";
/// How long it may take to become Ready: resolved, verified, placed, compiled.
const READY: Duration = Duration::from_secs(120);
/// How long a Service takes at most until every node sends its callers somewhere.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to be gone: the longest drain is shorter.
const GONE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What did not work.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It runs in no Pod.
    #[error("this is no Pod with a service account")]
    InCluster(#[from] kube::config::InClusterError),
    /// The API server refuses something.
    #[error("the API server did not let it {doing}")]
    Api {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: kube::Error,
    },
    /// The spec cannot be written.
    #[error("the component cannot be written")]
    Spec(#[source] serde_json::Error),
    /// It did not become Ready.
    #[error("the component did not become Ready: {0}")]
    NotReady(String),
    /// Its Service did not answer.
    #[error("{url} did not answer: {problem}")]
    NoAnswer {
        /// The URL.
        url: String,
        /// What came instead.
        problem: String,
    },
    /// It is still there.
    #[error("the component was deleted and is still there")]
    NotGone,
}

/// Makes the component, waits, calls it, and removes it again, however that ended.
///
/// # Errors
/// What did not work, as its user would see it.
pub async fn run(args: TrialArgs) -> Result<(), TrialError> {
    let TrialArgs { namespace, image } = args;
    let client = Client::try_from(Config::incluster()?).map_err(api("be asked"))?;
    let components: Api<WasmComponent> = Api::namespaced(client, &namespace);
    // An earlier run may have been killed.
    remove(&components).await?;
    let outcome = call(&components, &image).await;
    let removed = remove(&components).await;
    outcome.and(removed)
}

async fn call(components: &Api<WasmComponent>, image: &str) -> Result<(), TrialError> {
    let spec: WasmComponentSpec = serde_json::from_value(serde_json::json!({
        "image": image,
        "triggers": [{"name": "web", "http": {"port": 80}}],
    }))
    .map_err(TrialError::Spec)?;
    let component = WasmComponent::new(NAME, spec);
    components
        .create(&PostParams::default(), &component)
        .await
        .map_err(api("create the component"))?;
    tracing::info!(image, "created; waiting until it is Ready");
    let url = ready(components).await?;
    let answer = answer(&url).await?;
    tracing::info!(url, answer, "it is Ready and answers");
    Ok(())
}

/// Waits until it is Ready; its URL.
async fn ready(components: &Api<WasmComponent>) -> Result<String, TrialError> {
    let deadline = Instant::now() + READY;
    loop {
        let component = components
            .get(NAME)
            .await
            .map_err(api("read the component"))?;
        let ready = ConditionType::Ready.to_string();
        let status = component.status.clone().unwrap_or_default();
        let condition = status.conditions.iter().find(|of| of.type_ == ready);
        let is_current =
            condition.and_then(|of| of.observed_generation) == component.metadata.generation;
        match condition {
            Some(condition) if condition.status == "True" && is_current => {
                let namespace = component.namespace().unwrap_or_default();
                let url = status.url.clone();
                return Ok(url.unwrap_or_else(|| format!("http://{NAME}.{namespace}.svc")));
            }
            _ if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            condition => {
                let said = condition.map(|of| format!("{}: {}", of.reason, of.message));
                let silent = || "nobody has written its status; does an operator lead?".to_owned();
                return Err(TrialError::NotReady(said.unwrap_or_else(silent)));
            }
        }
    }
}

/// The first line of what its Service answers.
async fn answer(url: &str) -> Result<String, TrialError> {
    let no_answer = |problem: String| TrialError::NoAnswer {
        url: url.to_owned(),
        problem,
    };
    let client = reqwest::Client::builder().no_proxy().timeout(PAUSE * 10);
    let client = client
        .build()
        .map_err(|error| no_answer(error.to_string()))?;
    let deadline = Instant::now() + ANSWER;
    loop {
        let problem = match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => {
                let text = answer.text().await.unwrap_or_default();
                return Ok(text.lines().next().unwrap_or_default().to_owned());
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(no_answer(problem));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Deletes the component and waits until it is gone.
async fn remove(components: &Api<WasmComponent>) -> Result<(), TrialError> {
    match components.delete(NAME, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(source) => return Err(api("delete the component")(source)),
    }
    let deadline = Instant::now() + GONE;
    while Instant::now() < deadline {
        let left = components.get_opt(NAME).await;
        if left.map_err(api("read the component"))?.is_none() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(TrialError::NotGone)
}

fn api(doing: &'static str) -> impl Fn(kube::Error) -> TrialError {
    move |source| TrialError::Api { doing, source }
}
