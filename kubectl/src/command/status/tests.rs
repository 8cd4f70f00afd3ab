//! Pages of `kubectl lm status`; the golden files are in `snapshots/`.

use insta::assert_snapshot;

use super::*;
use crate::sight::Seen;
use crate::sight::fixture::{self, UNSIGNED, UPDATING};

#[test]
fn a_component_under_way_shows_both_versions_and_every_node() {
    assert_snapshot!(page(&fixture::sight(UPDATING)));
}

#[test]
fn a_component_that_was_refused_shows_at_which_step() {
    assert_snapshot!(page(&fixture::sight(UNSIGNED)));
}

#[test]
fn what_the_user_may_not_see_is_said() {
    let mut sight = fixture::sight(UPDATING);
    sight.placements = Seen::Hidden("componentplacements is forbidden".to_owned());
    let page = page(&sight).to_string();
    assert!(
        page.contains("not shown: componentplacements is forbidden"),
        "{page}"
    );
}

#[test]
fn a_pin_that_holds_no_longer_is_said_to_be_void() {
    let mut sight = fixture::sight(UPDATING);
    sight.component.spec.rollout.pin = Some(crds::component::Pin {
        revision: "wc-orders-aaaaaaaaaa".to_owned(),
        for_generation: 2,
    });
    let page = page(&sight).to_string();
    assert!(page.contains("wc-orders-aaaaaaaaaa: void"), "{page}");
}

#[test]
fn a_version_that_failed_is_said_to_have() {
    let mut sight = fixture::sight(UPDATING);
    let status = sight.component.status.as_mut().unwrap();
    status.updating = None;
    status.failed_digest = Some("sha256:0bbb".to_owned());
    let page = page(&sight).to_string();
    assert!(page.contains("failed     sha256:0bbb"), "{page}");
}

#[test]
fn previews_are_listed_with_their_addresses() {
    let mut sight = fixture::sight(UPDATING);
    let status = sight.component.status.as_mut().unwrap();
    let preview = |name: &str, url: Option<&str>, reason| PreviewStatus {
        name: name.to_owned(),
        url: url.map(str::to_owned),
        ready: reason == crds::Reason::Ready,
        reason,
        message: String::new(),
    };
    status.previews = vec![
        preview(
            "next",
            Some("http://orders-next.shop.svc"),
            crds::Reason::Ready,
        ),
        preview("odd", None, crds::Reason::Unsigned),
    ];
    let page = page(&sight).to_string();
    let listed = "PREVIEW   READY   REASON     URL
next      yes     Ready      http://orders-next.shop.svc
odd       no      Unsigned   -";
    assert!(page.contains(listed), "{page}");
}
