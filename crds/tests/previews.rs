//! A preview is given what its component is given, and nothing that speaks of another image.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use capability::Bytes;
use crds::component::{PlacementMode, Preview, Rollout, ServiceSpec, problems};
use crds::{WasmComponent, WasmComponentSpec};

/// The first component of a file in which every field is used.
fn full() -> WasmComponent {
    let text = include_str!("full.yaml");
    let first = text.split("\n---\n").next().unwrap();
    serde_saphyr::from_str(first).unwrap()
}

#[test]
fn a_preview_differs_from_its_component_only_in_what_is_named_here() {
    let component = full();
    let spec = &component.spec;
    let preview = spec.previewed(&spec.previews[0]);
    assert_eq!(preview.image, spec.previews[0].image);
    assert_eq!(preview.replicas, 1);
    assert_eq!(preview.placement.mode, PlacementMode::Spread);
    assert_eq!(preview.service, ServiceSpec::default());
    assert_eq!(preview.resources.requests.memory, Bytes(0));
    let Rollout {
        canary,
        paused,
        pin,
        promote,
        approve,
        ..
    } = &preview.rollout;
    assert!(canary.is_none() && pin.is_none() && promote.is_none() && approve.is_none());
    assert!(!paused && preview.previews.is_empty());

    let mut rollout = spec.rollout.clone();
    (rollout.canary, rollout.paused, rollout.pin) = (None, false, None);
    (rollout.promote, rollout.approve) = (None, None);
    let mut resources = spec.resources.clone();
    resources.requests.memory = Bytes(0);
    let mut placement = spec.placement.clone();
    (placement.mode, placement.spread) = (PlacementMode::Spread, Vec::new());
    let rest = WasmComponentSpec {
        image: preview.image.clone(),
        replicas: 1,
        placement,
        service: ServiceSpec::default(),
        resources,
        rollout,
        previews: Vec::new(),
        ..spec.clone()
    };
    assert_eq!(preview, rest);
}

#[test]
fn a_preview_of_a_component_that_can_be_used_can_be_used() {
    let mut component = full();
    assert_eq!(problems(&component), []);
    component.spec = component.spec.previewed(&component.spec.previews[0]);
    assert_eq!(problems(&component), []);
}

#[test]
fn a_component_is_a_preview_only_of_one_that_names_it() {
    let mut spec = full().spec;
    let named = |name: &str| Preview {
        name: name.to_owned(),
        image: format!("registry.example/shop/orders:{name}"),
    };
    spec.previews = vec![named("next"), named("next-but-one")];
    let image = |name: &str| spec.preview("orders", name).map(|preview| preview.image);
    assert_eq!(image("orders-next"), Some(named("next").image));
    assert_eq!(
        image("orders-next-but-one"),
        Some(named("next-but-one").image)
    );
    for other in ["orders", "orders-", "orders-nex", "next", "borders-next"] {
        assert_eq!(image(other), None, "{other}");
    }
}
