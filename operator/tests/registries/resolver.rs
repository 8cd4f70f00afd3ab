//! The resolver against a registry and pull secrets: what is served from the
//! content cache, to whom, and what is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use artifact::signature::{self, SigningKey};
use artifact::{Digest, ImageReference};
use crds::{Reason, WasmComponent};
use operator::caches::Caches;
use operator::component::validate;
use operator::content::ContentStore;
use operator::inspector::Inspector;
use operator::metrics::Metrics;
use operator::queue::Queue;
use operator::reader::Reader;
use operator::resolver::{Failure, Keyring, Request, Resolution, Resolver, Review};
use operator::trust::TrustBook;
use registry::development::{Access, Account, DevelopmentRegistry, Fault, Faults, Options, Rule};
use registry::{Client, Config, Credentials};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{Api, PASSWORD, USER, component, policy};

/// A first pause of two seconds is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry, an API server that has Secrets only, and a resolver.
struct World {
    registry: DevelopmentRegistry,
    key: SigningKey,
    credentials: Credentials,
    client: Client,
    caches: Caches,
    trust: TrustBook,
    queue: Arc<Queue>,
    resolver: Resolver,
    _folder: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        Self::start(Access::Open, Credentials::anonymous()).await
    }

    async fn private() -> Self {
        let access = Access::Basic(vec![Account::new(USER, PASSWORD)]);
        Self::start(access, Credentials::basic(USER, PASSWORD)).await
    }

    async fn start(access: Access, credentials: Credentials) -> Self {
        let program = env!("CARGO_BIN_EXE_lighterman-operator").into();
        let role = vec![operator::inspector::ROLE.to_owned()];
        Self::start_with(access, credentials, Inspector::new(program, role)).await
    }

    async fn start_with(access: Access, credentials: Credentials, inspector: Inspector) -> Self {
        let options = Options {
            access,
            ..Options::default()
        };
        let registry = DevelopmentRegistry::start("127.0.0.1:0".parse().unwrap(), options)
            .await
            .unwrap();
        let client = || Client::new(Config::default()).unwrap();
        let key = SigningKey::generate().unwrap();
        let caches = Caches::default();
        caches
            .policies
            .written(policy(&key.public_key().to_pem(), registry.addr(), "1"));
        let (folder, queue) = (tempfile::tempdir().unwrap(), Arc::new(Queue::default()));
        let api = Api::default();
        let login = json!({"username": USER, "password": PASSWORD});
        let auths = json!({"auths": {registry.addr().to_string(): login}});
        api.secret("shop", "pull", ".dockerconfigjson", &auths);
        let resolver = Resolver::new(
            client(),
            Keyring::new(Reader::new(api.serve().await), None),
            ContentStore::open(folder.path()).await.unwrap(),
            Arc::clone(&queue),
            Metrics::new().unwrap(),
            inspector,
        );
        Self {
            registry,
            key,
            credentials,
            client: client(),
            caches,
            trust: TrustBook::default(),
            queue,
            resolver,
            _folder: folder,
        }
    }

    fn image(&self, name: &str) -> ImageReference {
        format!("{}/{name}", self.registry.addr()).parse().unwrap()
    }

    async fn push(&self, name: &str) -> Digest {
        let wasm = wat::parse_str("(component (core module (memory 1)))").unwrap();
        let (image, annotations) = (self.image(name), BTreeMap::new());
        self.client
            .push(&image, wasm.into(), &annotations, &self.credentials)
            .await
            .unwrap()
    }

    async fn sign(&self, name: &str, digest: &Digest) {
        let bundle = signature::sign(&self.key, digest).unwrap();
        self.client
            .attach_bundle(&self.image(name), digest, bundle.into(), &self.credentials)
            .await
            .unwrap();
    }

    async fn publish(&self, name: &str) -> Digest {
        let digest = self.push(name).await;
        self.sign(name, &digest).await;
        digest
    }

    /// What the resolver knows of the component now.
    fn look(&self, component: &WasmComponent) -> (Resolution, Option<Duration>) {
        let validated = validate(component).unwrap();
        let request = Request::new(&self.caches, &self.trust, validated);
        let looked = self.resolver.look(request);
        (looked.resolution, looked.again)
    }

    /// What the resolver comes to, once it has come to something.
    async fn resolution(&self, component: &WasmComponent) -> Resolution {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look(component).0 {
                Resolution::Pending => {}
                resolution => return resolution,
            }
            tokio::time::timeout_at(deadline, self.queue.next())
                .await
                .expect("the component is queued when its job ends");
        }
    }

    /// Says this in the policy beside what it says from the start.
    fn change_policy(&self, more: Value) {
        let policy = policy(&self.key.public_key().to_pem(), self.registry.addr(), "1");
        let mut changed = serde_json::to_value(policy).unwrap();
        changed["metadata"]["generation"] = json!(2);
        changed["metadata"]["resourceVersion"] = json!("2");
        let spec = changed["spec"].as_object_mut().unwrap();
        spec.extend(more.as_object().unwrap().clone());
        let changed = serde_json::from_value(changed).unwrap();
        self.caches.policies.written(changed);
    }

    async fn admitted(&self, component: &WasmComponent) -> Digest {
        match self.resolution(component).await {
            Resolution::Done(admitted) => admitted.digest,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self, component: &WasmComponent) -> Failure {
        match self.resolution(component).await {
            Resolution::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// A component for which nothing is due of itself.
fn unpolled(
    namespace: &str,
    name: &str,
    image: &ImageReference,
    secrets: &[&str],
) -> WasmComponent {
    let mut component = component(namespace, name, image, secrets);
    component.spec.image_poll_interval = None;
    component
}

#[tokio::test]
async fn a_private_image_opens_to_those_with_its_credentials_and_to_nobody_by_its_digest() {
    let world = World::private().await;
    let digest = world.publish("private/orders:1").await;
    let image = world.image("private/orders").with_digest(digest);
    let ours = unpolled("shop", "orders", &image, &["pull"]);
    assert_eq!(world.admitted(&ours).await, digest);

    let nothing = unpolled("bank", "orders", &image, &[]);
    let failure = world.refused(&nothing).await;
    assert_eq!(failure.reason, Reason::RegistryUnauthorized);
    assert!(!failure.verdict, "it could not be looked at");
    let named = unpolled("bank", "named", &image, &["pull"]);
    let failure = world.refused(&named).await;
    assert_eq!(failure.reason, Reason::ImagePullSecretMissing);
}

#[tokio::test]
async fn one_pull_serves_all_who_have_the_same_credentials() {
    let world = World::private().await;
    let digest = world.publish("private/orders:1").await;
    let image = world.image("private/orders").with_digest(digest);
    world
        .admitted(&unpolled("shop", "orders", &image, &["pull"]))
        .await;
    world.registry.clear_requests();
    for name in ["second", "third"] {
        world
            .admitted(&unpolled("shop", name, &image, &["pull"]))
            .await;
    }
    assert_eq!(world.registry.requests(), []);
}

#[tokio::test]
async fn a_signature_in_another_repository_does_not_vouch_for_the_same_bytes() {
    let world = World::open().await;
    let digest = world.publish("shop/orders:1").await;
    let original = world.image("shop/orders").with_digest(digest);
    world
        .admitted(&unpolled("shop", "orders", &original, &[]))
        .await;
    assert_eq!(world.push("shop/copy:1").await, digest, "the same bytes");
    let copy = world.image("shop/copy").with_digest(digest);
    let failure = world.refused(&unpolled("shop", "copy", &copy, &[])).await;
    assert_eq!(failure.reason, Reason::Unsigned);
    assert!(failure.verdict);
}

#[tokio::test]
async fn an_image_that_is_signed_after_it_was_refused_is_admitted_without_a_change() {
    let world = World::open().await;
    let digest = world.push("shop/orders:1").await;
    let late = unpolled("shop", "late", &world.image("shop/orders:1"), &[]);
    assert_eq!(world.refused(&late).await.reason, Reason::Unsigned);
    let (_, again) = world.look(&late);
    let again = again.expect("it is tried again");
    assert!(again < Duration::from_secs(3), "and soon: {again:?}");

    world.sign("shop/orders:1", &digest).await;
    tokio::time::sleep(again).await;
    let (resolution, again) = world.look(&late);
    assert!(
        matches!(resolution, Resolution::Failed(_)) && again.is_none(),
        "a job is under way, and the verdict stands until it ends"
    );
    tokio::time::timeout(PATIENCE, world.queue.next())
        .await
        .unwrap();
    assert_eq!(world.admitted(&late).await, digest);
}

#[tokio::test]
async fn a_registry_that_is_away_keeps_what_runs_and_lets_what_is_new_wait() {
    let world = World::open().await;
    let digest = world.publish("shop/orders:1").await;
    let other = world.publish("shop/other:1").await;
    let image = world.image("shop/orders").with_digest(digest);
    let running = unpolled("shop", "orders", &image, &[]);
    world.admitted(&running).await;
    let away: Faults = Rule::on("*", Fault::Status(503)).into();
    world.registry.set_faults(away);

    // A policy that changes has everything judged again.
    world.change_policy(json!({"minimumMatches": 1}));
    world.look(&running);
    tokio::time::timeout(PATIENCE, world.queue.next())
        .await
        .unwrap();
    assert_eq!(world.admitted(&running).await, digest);

    let image = world.image("shop/other").with_digest(other);
    let failure = world.refused(&unpolled("shop", "new", &image, &[])).await;
    assert_eq!(failure.reason, Reason::RegistryUnavailable);
    assert!(!failure.verdict);
}

#[tokio::test]
async fn a_tightened_policy_has_what_runs_judged_again_and_asks_no_registry() {
    let world = World::open().await;
    let digest = world.publish("shop/orders:1").await;
    let image = world.image("shop/orders").with_digest(digest);
    let running = unpolled("shop", "orders", &image, &[]);
    world.admitted(&running).await;
    world.registry.clear_requests();

    let denied = [digest.to_string()];
    world.change_policy(json!({"deny": {"digests": denied}, "whenRunning": "Stop"}));
    world.look(&running);
    tokio::time::timeout(PATIENCE, world.queue.next())
        .await
        .unwrap();
    let failure = world.refused(&running).await;
    assert_eq!(failure.reason, Reason::DigestDenied);
    assert!(failure.verdict && failure.stops);
    assert_eq!(world.registry.requests(), []);
}

#[tokio::test]
async fn what_runs_beside_the_image_of_the_spec_is_reviewed_too() {
    let world = World::open().await;
    let old = world.publish("shop/orders:1").await;
    let image = world.image("shop/orders").with_digest(old);
    world
        .admitted(&unpolled("shop", "orders", &image, &[]))
        .await;
    let next = unpolled("shop", "orders", &world.image("shop/next:2"), &[]);
    let looked = || {
        let validated = validate(&next).unwrap();
        let request = Request::new(&world.caches, &world.trust, validated);
        let running = vec![(image.clone(), old)];
        world.resolver.look(request.running(running)).reviews
    };
    let refusals = |reviews: &[Review]| -> Vec<Option<Reason>> {
        let refusal = |review: &Review| review.refusal.as_ref().map(|failure| failure.reason);
        reviews.iter().map(refusal).collect()
    };
    assert_eq!(refusals(&looked()), [None], "its verdict is still known");

    world.change_policy(json!({"deny": {"digests": [old.to_string()]}}));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reviews = looked();
        if !reviews.is_empty() {
            assert_eq!(refusals(&reviews), [Some(Reason::DigestDenied)]);
            break;
        }
        tokio::time::timeout_at(deadline, world.queue.next())
            .await
            .expect("the component is queued when its review ends");
    }
}

#[tokio::test]
async fn a_policy_that_does_not_cover_an_image_changes_nothing_for_it() {
    let world = World::open().await;
    let digest = world.publish("shop/orders:1").await;
    let image = world.image("shop/orders").with_digest(digest);
    let running = unpolled("shop", "orders", &image, &[]);
    world.admitted(&running).await;
    let mut foreign = policy(&world.key.public_key().to_pem(), world.registry.addr(), "1");
    foreign.metadata.name = Some("foreign".to_owned());
    foreign.spec.images[0].glob = "elsewhere.example/**".to_owned();
    world.caches.policies.written(foreign);

    let (resolution, again) = world.look(&running);
    assert!(matches!(resolution, Resolution::Done(_)));
    assert_eq!(again, None, "nothing is due");
    let tallies = world.resolver.tally().unwrap();
    assert_eq!(tallies["tests"].components, 1);
    assert!(!tallies.contains_key("foreign"));
}

/// Stands for a parser that some bytes kill: whatever says so ends the process that reads it.
const FRAGILE: &str = "grep -aq 'kills parsers' && kill -SEGV $$; exit 0";

#[tokio::test]
async fn an_image_that_ends_its_reader_is_invalid_and_others_are_not() {
    let shell = Inspector::new("/bin/sh".into(), vec!["-c".into(), FRAGILE.into()]);
    let world = World::start_with(Access::Open, Credentials::anonymous(), shell).await;
    let wasm = wat::parse_str("(component (@custom \"note\" \"kills parsers\"))").unwrap();
    let (hostile, annotations) = (world.image("hostile:1"), BTreeMap::new());
    let pushed = world
        .client
        .push(&hostile, wasm.into(), &annotations, &world.credentials)
        .await
        .unwrap();
    world.sign("hostile:1", &pushed).await;
    let digest = world.publish("orders:1").await;

    let failure = world
        .refused(&unpolled("bank", "hostile", &hostile, &[]))
        .await;
    assert_eq!(failure.reason, Reason::InvalidComponent);
    assert!(failure.verdict && failure.digest == Some(pushed));
    let orders = unpolled("shop", "orders", &world.image("orders:1"), &[]);
    assert_eq!(world.admitted(&orders).await, digest);
}
