//! Who asks: a node's agent, proven by its projected, pod-bound token.
//!
//! The node comes from the API server's answer, never from the request. A token
//! bound to a Node alone is refused: it would carry a node name without a pod.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use crds::Reason;
use crds::handover::{HANDOVER_AUDIENCE, Problem};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::problem;

/// How long an answer of the API server is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// Answers that are remembered: more agents than one replica serves.
const REMEMBERED: usize = 4_096;
/// Questions to the API server at once: strangers must not make a storm of them.
const REVIEWS: usize = 16;
/// Longest token that is looked at; real ones have about a kilobyte.
const TOKEN: usize = 16 << 10;
/// Longest wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(5);

const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The agent of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The node its Pod runs on.
    pub node: String,
    /// Its Pod.
    pub pod: String,
    /// UID of its Pod.
    pub pod_uid: String,
}

/// The service account of the agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// `--agent-service-account` is not `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no service account: write NAMESPACE/NAME, for example lighterman-system/lighterman-agent"
)]
pub struct InvalidServiceAccount(String);

/// Reviews tokens; cheap to clone.
#[derive(Clone)]
pub struct Reviewer {
    client: Client,
    account: ServiceAccount,
    believed: Arc<Mutex<Believed>>,
    reviews: Arc<Semaphore>,
}

/// Agents by the hash of their token, and since when.
type Believed = BTreeMap<[u8; 32], (AgentIdentity, Instant)>;

impl std::str::FromStr for ServiceAccount {
    type Err = InvalidServiceAccount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(InvalidServiceAccount(text.to_owned())),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Reviewer {
    /// Accepts tokens of `account` only.
    pub fn new(client: Client, account: ServiceAccount) -> Self {
        Self {
            client,
            account,
            believed: Arc::new(Mutex::new(BTreeMap::new())),
            reviews: Arc::new(Semaphore::new(REVIEWS)),
        }
    }

    /// The agent whose token this is.
    ///
    /// # Errors
    /// 401 for a token that is not an agent's, 503 when the API server could not say.
    pub async fn identify(&self, authorization: Option<&str>) -> Result<AgentIdentity, Problem> {
        let token = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim);
        let Some(token) = token.filter(|token| !token.is_empty() && token.len() <= TOKEN) else {
            return Err(unauthenticated(
                "send the agent's projected token as Authorization: Bearer",
            ));
        };
        let key = fingerprint(token);
        let now = Instant::now();
        if let Some(agent) = self.believe(|believed| {
            let entry = believed
                .get(&key)
                .filter(|(_, since)| now.duration_since(*since) < BELIEVED);
            entry.map(|(agent, _)| agent.clone())
        }) {
            return Ok(agent);
        }
        // Never closed; were it, asking would be right.
        let _slot = self.reviews.acquire().await.ok();
        let agent = agent(&self.review(token).await?, &self.account)?;
        self.believe(|believed| {
            believed.retain(|_, (_, since)| now.duration_since(*since) < BELIEVED);
            if believed.len() < REMEMBERED {
                believed.insert(key, (agent.clone(), now));
            }
        });
        Ok(agent)
    }

    fn believe<T>(&self, access: impl FnOnce(&mut Believed) -> T) -> T {
        access(&mut self.believed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, Problem> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![HANDOVER_AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        match tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &review)).await {
            Ok(Ok(review)) => Ok(review.status.unwrap_or_default()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a token could not be reviewed");
                Err(problem(
                    Reason::HandOverUnreachable,
                    "the API server could not review the token; try again",
                ))
            }
            Err(_) => Err(problem(
                Reason::HandOverUnreachable,
                "the API server did not review the token in time; try again",
            )),
        }
    }
}

/// The agent that a reviewed token belongs to.
///
/// # Errors
/// 401 unless the token is for this audience, of the agents' service account,
/// and bound to a Pod on a node.
pub fn agent(
    status: &TokenReviewStatus,
    account: &ServiceAccount,
) -> Result<AgentIdentity, Problem> {
    let for_us = status
        .audiences
        .iter()
        .flatten()
        .any(|audience| audience == HANDOVER_AUDIENCE);
    if status.authenticated != Some(true) || !for_us {
        return Err(unauthenticated(
            "the token is not valid for the audience lighterman.dev/hand-over",
        ));
    }
    let user = status.user.clone().unwrap_or_default();
    let expected = format!(
        "system:serviceaccount:{}:{}",
        account.namespace, account.name
    );
    if user.username.as_deref() != Some(&expected) {
        return Err(unauthenticated(
            "the token is not of the agents' service account",
        ));
    }
    let extra = user.extra.unwrap_or_default();
    let single = |key: &str| match extra.get(key).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    match (single(NODE_NAME), single(POD_NAME), single(POD_UID)) {
        (Some(node), Some(pod), Some(pod_uid)) => Ok(AgentIdentity { node, pod, pod_uid }),
        _ => Err(unauthenticated(
            "the token is not bound to a Pod on a node; project it into the agent's Pod",
        )),
    }
}

fn unauthenticated(message: &str) -> Problem {
    problem(Reason::HandOverUnauthenticated, message)
}

/// Tokens are not kept, not even in memory.
fn fingerprint(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn account() -> ServiceAccount {
        "lighterman-system/lighterman-agent".parse().unwrap()
    }

    fn review(extra: &[(&str, &str)]) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![HANDOVER_AUDIENCE.to_owned()]),
            user: Some(UserInfo {
                username: Some(
                    "system:serviceaccount:lighterman-system:lighterman-agent".to_owned(),
                ),
                extra: Some(
                    extra
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
                        .collect(),
                ),
                ..UserInfo::default()
            }),
            ..TokenReviewStatus::default()
        }
    }

    const POD: [(&str, &str); 3] = [(NODE_NAME, "n1"), (POD_NAME, "agent-x"), (POD_UID, "u1")];

    #[test]
    fn a_pod_bound_token_of_the_agents_names_its_node() {
        let agent = agent(&review(&POD), &account()).unwrap();
        assert_eq!(
            (
                agent.node.as_str(),
                agent.pod.as_str(),
                agent.pod_uid.as_str()
            ),
            ("n1", "agent-x", "u1")
        );
    }

    #[test]
    fn a_token_that_is_bound_to_a_node_alone_is_refused() {
        assert_eq!(
            agent(&review(&[(NODE_NAME, "n1")]), &account())
                .unwrap_err()
                .status(),
            401
        );
    }

    #[test]
    fn tokens_of_others_for_other_audiences_or_invalid_are_refused() {
        let mut other = review(&POD);
        other.user.as_mut().unwrap().username =
            Some("system:serviceaccount:shop:default".to_owned());
        let mut audience = review(&POD);
        audience.audiences = Some(vec!["https://kubernetes.default.svc".to_owned()]);
        let mut invalid = review(&POD);
        invalid.authenticated = Some(false);
        let unsaid = TokenReviewStatus {
            authenticated: None,
            ..review(&POD)
        };
        for status in [other, audience, invalid, unsaid] {
            assert_eq!(
                agent(&status, &account()).unwrap_err().reason,
                Reason::HandOverUnauthenticated
            );
        }
    }

    #[test]
    fn two_node_names_are_none() {
        let mut status = review(&POD);
        let extra = status.user.as_mut().unwrap().extra.as_mut().unwrap();
        extra.insert(NODE_NAME.to_owned(), vec!["n1".to_owned(), "n2".to_owned()]);
        assert!(agent(&status, &account()).is_err());
    }

    #[test]
    fn a_service_account_needs_both_parts() {
        for text in ["agent", "/agent", "ns/", "a/b/c"] {
            assert!(text.parse::<ServiceAccount>().is_err(), "{text}");
        }
    }
}
