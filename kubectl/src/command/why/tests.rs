//! Pages of `kubectl lm why`; the golden files are in `snapshots/`.

use insta::assert_snapshot;

use super::*;
use crate::sight::fixture::{self, HELD, UNSIGNED, UPDATING};

#[test]
fn a_revision_that_fails_is_told_with_its_node() {
    assert_snapshot!(page(&fixture::sight(UPDATING)));
}

#[test]
fn an_unsigned_image_is_told_with_what_signs_it() {
    assert_snapshot!(page(&fixture::sight(UNSIGNED)));
}

#[test]
fn a_version_that_is_held_is_told_with_who_lets_it() {
    let page = page(&fixture::sight(HELD)).to_string();
    assert!(page.contains("kubectl lm approve orders -n shop"), "{page}");
}

#[test]
fn a_change_that_nobody_has_seen_yet_is_no_verdict() {
    let mut sight = fixture::sight(UNSIGNED);
    sight.component.metadata.generation = Some(9);
    let page = page(&sight);
    assert!(!page.ready && page.reason == "Unobserved", "{page}");
}

#[test]
fn a_message_cannot_steer_the_terminal() {
    let mut sight = fixture::sight(UNSIGNED);
    let status = sight.component.status.as_mut().unwrap();
    status.conditions[0].message = "\u{1b}[2J".to_owned();
    assert!(!page(&sight).to_string().contains('\u{1b}'));
}
