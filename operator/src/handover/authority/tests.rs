//! Who gets which revision and which bytes, with forged objects in the caches.

use artifact::Parcel;
use bytes::Bytes;
use crds::WasmComponent;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::json;

use super::*;
use crate::component::{revision as document, validate};
use crate::seal::SealKey;

/// A component `orders` of uid `uid-orders`, placed on n1.
struct World {
    caches: Caches,
    key: SealKey,
    revision: ControllerRevision,
}

fn component(uid: &str) -> WasmComponent {
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "WasmComponent",
        "metadata": {"namespace": "shop", "name": "orders", "uid": uid, "generation": 1, "resourceVersion": "1"},
        "spec": {"image": "registry.example/shop/orders:1"},
    }))
    .unwrap()
}

fn placement(node: &str, owner: &str, revision: &str) -> ComponentPlacement {
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "ComponentPlacement",
        "metadata": {
            "namespace": "shop", "name": format!("orders-{node}"), "uid": format!("p-{node}"), "resourceVersion": "1",
            "ownerReferences": [{
                "apiVersion": crds::API_VERSION, "kind": "WasmComponent", "name": "orders", "uid": owner, "controller": true,
            }],
        },
        "spec": {
            "componentRef": {"name": "orders", "uid": owner}, "nodeName": node, "replicas": 1,
            "revisions": [{"name": revision, "digest": digest().to_string(), "weight": 100}],
        },
    }))
    .unwrap()
}

fn parcel() -> Parcel {
    Parcel {
        manifest: Bytes::from_static(b"manifest"),
        config: Bytes::from_static(b"config"),
        layer: Bytes::from_static(b"layer"),
        bundles: Vec::new(),
    }
}

fn image() -> ImageReference {
    "registry.example/shop/orders".parse().unwrap()
}

fn digest() -> Digest {
    Digest::of(b"manifest")
}

fn world() -> World {
    let (caches, key) = (
        Caches::default(),
        SealKey::from_pkcs8(&SealKey::generate().unwrap()).unwrap(),
    );
    let component = component("uid-orders");
    let document = document(&validate(&component).unwrap(), &digest(), &[]);
    let mut revision = revision::object(&document, 1, 1, "cluster", &key);
    revision.metadata.resource_version = Some("1".to_owned());
    caches.components.written(component);
    caches.revisions.written(revision.clone());
    caches
        .placements
        .written(placement("n1", "uid-orders", &revision.name_any()));
    World {
        caches,
        key,
        revision,
    }
}

impl World {
    fn authority(&self) -> Authority {
        Authority::new(self.caches.clone(), self.key.public())
    }

    fn name(&self) -> String {
        self.revision.name_any()
    }

    fn replace_revision(&self, change: impl FnOnce(&mut ControllerRevision)) {
        let mut changed = self.revision.clone();
        changed.metadata.resource_version = Some("2".to_owned());
        change(&mut changed);
        self.caches.revisions.written(changed);
    }
}

#[test]
fn a_node_speaks_of_the_revisions_that_it_holds_and_of_no_other() {
    let world = world();
    let (authority, name) = (world.authority(), world.name());
    let of = |uid: &str| ComponentIdentity {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        uid: uid.to_owned(),
    };
    let holds =
        |node, uid, revisions: &[&str]| authority.holds(node, &of(uid), revisions.iter().copied());
    assert!(holds("n1", "uid-orders", &[&name]));
    assert!(!holds("n1", "uid-orders", &[&name, "wc-orders-other"]));
    assert!(!holds("n1", "uid-earlier", &[&name]));
    assert!(!holds("n2", "uid-orders", &[&name]));
}

#[test]
fn a_node_gets_the_revision_that_is_placed_on_it_and_another_does_not() {
    let world = world();
    assert_eq!(
        world
            .authority()
            .revision("n1", "shop", &world.name())
            .unwrap()
            .number,
        1
    );
    assert_eq!(
        world
            .authority()
            .revision("n2", "shop", &world.name())
            .unwrap_err()
            .status(),
        403
    );
}

#[test]
fn a_revision_that_is_not_there_is_unknown() {
    let world = world();
    assert_eq!(
        world
            .authority()
            .revision("n1", "shop", "wc-orders-0000000000")
            .unwrap_err()
            .status(),
        404
    );
    assert_eq!(
        world
            .authority()
            .revision("n1", "bank", &world.name())
            .unwrap_err()
            .status(),
        404
    );
}

#[test]
fn a_placement_whose_component_is_gone_or_another_counts_for_nothing() {
    let world = world();
    let mut anew = component("uid-of-a-later-one");
    anew.metadata.resource_version = Some("2".to_owned());
    world.caches.components.written(anew);
    assert_eq!(
        world
            .authority()
            .revision("n1", "shop", &world.name())
            .unwrap_err()
            .status(),
        403
    );
}

#[test]
fn a_node_speaks_of_the_components_that_are_placed_on_it_and_of_no_others() {
    let world = world();
    let identity = |namespace: &str, name: &str, uid: &str| ComponentIdentity {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    };
    let authority = world.authority();
    let own = identity("shop", "orders", "uid-orders");
    assert!(authority.is_placed("n1", &own));
    assert!(!authority.is_placed("n2", &own));
    for other in [
        identity("bank", "orders", "uid-orders"),
        identity("shop", "billing", "uid-orders"),
        identity("shop", "orders", "uid-of-a-later-one"),
    ] {
        assert!(!authority.is_placed("n1", &other), "{other:?}");
    }
}

#[test]
fn a_placement_without_the_component_as_its_controller_counts_for_nothing() {
    let world = world();
    let mut forged = placement("n3", "uid-orders", &world.name());
    forged.metadata.owner_references = None;
    world.caches.placements.written(forged);
    assert_eq!(
        world
            .authority()
            .revision("n3", "shop", &world.name())
            .unwrap_err()
            .status(),
        403
    );
}

#[test]
fn a_revision_that_was_changed_after_it_was_sealed_is_not_handed_out() {
    let world = world();
    world.replace_revision(|revision| {
        revision.data.as_mut().unwrap().0["digest"] = json!(Digest::of(b"another").to_string());
    });
    let problem = world
        .authority()
        .revision("n1", "shop", &world.name())
        .unwrap_err();
    assert_eq!(problem.reason, Reason::SealInvalid);
}

#[test]
fn a_seal_of_another_key_does_not_hold() {
    let world = world();
    let other = SealKey::from_pkcs8(&SealKey::generate().unwrap()).unwrap();
    let authority = Authority::new(world.caches.clone(), other.public());
    assert_eq!(
        authority
            .revision("n1", "shop", &world.name())
            .unwrap_err()
            .reason,
        Reason::SealInvalid
    );
}

#[tokio::test]
async fn bytes_are_handed_out_to_the_node_they_are_placed_on() {
    let (world, folder) = (world(), tempfile::tempdir().unwrap());
    let content = ContentStore::open(folder.path()).await.unwrap();
    let authority = world.authority();
    let layer = Digest::of(b"layer");
    let missing = MissingContent {
        namespace: "shop".to_owned(),
        component: "orders".to_owned(),
        image: image(),
        digest: digest(),
    };
    assert_eq!(
        authority.blob("n1", &layer, &content),
        Err(Withheld::Missing(vec![missing.clone()]))
    );
    let elsewhere = ParcelName::new(&"registry.example/copy".parse().unwrap(), &digest());
    content.put(&elsewhere, &parcel()).await.unwrap();
    assert_eq!(
        authority.blob("n1", &layer, &content),
        Err(Withheld::Missing(vec![missing])),
        "another repository's parcel is not this one"
    );
    let ours = ParcelName::new(&image(), &digest());
    content.put(&ours, &parcel()).await.unwrap();
    assert_eq!(authority.blob("n1", &layer, &content), Ok(()));
    assert_eq!(
        authority.blob("n1", &digest(), &content),
        Ok(()),
        "the manifest is a part too"
    );
    assert_eq!(
        authority.blob("n1", &Digest::of(b"secret"), &content),
        Err(Withheld::NotYours)
    );
    assert_eq!(
        authority.blob("n2", &layer, &content),
        Err(Withheld::NotYours)
    );
}
