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
