//! Plans and statuses as files: each folder of `tests/golden` is a case.
//!
//! `given.yaml` says what is observed, in short; `objects.yaml` is the plan and
//! `status.yaml` the status that follow. `make golden` (or `GOLDEN=write`)
//! writes the last two anew; read the difference before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

#[path = "golden_cases/given.rs"]
mod given;
#[path = "golden_cases/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use operator::component::report;
use operator::component::{Applied, Plan, admit, plan, plan_unusable, validate};
use serde_json::{Value, json};

use given::Given;
use world::observed;

/// When the statuses are written.
const NOW: i64 = 1_800_000_000;

macro_rules! golden {
    ($($case:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];
        $(#[test] fn $case() { check(stringify!($case)); })*
    };
}

golden! {
    a_preview_is_made_beside_the_component,
    a_preview_follows_the_component_and_keeps_its_approval,
    a_preview_that_is_not_named_any_more_goes,
    a_component_under_the_name_of_a_preview_is_never_adopted,
    a_fresh_component_is_placed_and_gets_a_service,
    functions_that_are_called_get_a_port_and_an_address,
    an_interface_that_is_not_exported_is_refused,
    a_paused_rollout_leaves_what_serves_and_still_scales,
    a_component_that_begins_paused_starts_nowhere,
    a_component_that_serves_everywhere_is_ready_and_changes_nothing,
    a_component_that_is_scaled_up_keeps_the_nodes_it_has,
    a_component_scaled_to_zero_gives_everything_up,
    an_image_that_moves_mid_wave_takes_over_node_by_node,
    a_wave_waits_for_min_ready_seconds,
    a_node_that_was_long_enough_on_the_new_revision_lets_the_next_one_follow,
    a_revision_that_fails_on_a_node_has_failed_for_all,
    what_has_failed_is_put_back_on_every_node,
    a_failed_revision_is_undone_even_while_paused,
    with_on_failure_pause_each_node_keeps_what_it_has,
    a_failed_revision_is_not_tried_again,
    a_failed_revision_is_tried_again_for_another_spec,
    a_failed_revision_stays_undone_while_the_registry_is_away,
    a_revision_that_reaches_no_further_node_in_time_is_undone,
    a_first_revision_that_fails_has_nothing_to_go_back_to,
    a_first_revision_whose_time_is_over_says_so,
    an_undo_goes_back_to_a_kept_revision_without_a_registry,
    an_undo_holds_while_somebody_scales,
    an_undo_is_void_once_the_rest_of_the_spec_changes,
    an_undo_to_a_revision_that_is_not_kept_is_said,
    a_canary_begins_with_its_first_share_in_waves,
    a_step_of_a_canary_lasts_as_long_as_it_says,
    a_canary_goes_to_its_next_share_on_all_nodes_at_once,
    a_canary_without_an_end_waits_for_somebody,
    a_canary_that_is_promoted_takes_over,
    a_canary_that_has_failed_is_taken_back_on_all_nodes,
    a_canary_whose_requests_fail_is_undone,
    a_canary_that_nobody_asks_is_undone,
    a_step_of_a_canary_waits_for_its_requests,
    a_step_of_a_canary_that_went_well_is_followed_by_the_next,
    the_old_revision_is_dropped_once_the_new_one_serves_everywhere,
    an_unsigned_image_is_refused_as_unsigned,
    a_registry_that_is_down_leaves_what_runs_and_still_scales,
    a_service_of_somebody_else_is_never_adopted,
    a_component_that_fits_no_node_says_why_for_each,
    a_missing_secret_stops_the_new_revision_and_not_what_runs,
    exhausted_ports_are_said_and_nothing_new_starts,
    every_node_that_matches_runs_one,
    a_taint_keeps_a_component_off_unless_it_tolerates_it,
    a_drained_node_keeps_its_replica_until_the_next_one_serves,
    a_lost_node_loses_its_replica_at_once,
    a_lost_node_keeps_its_replica_when_no_other_can_take_it,
    an_agent_that_stops_is_withdrawn_before_anything_moves,
    replicas_are_spread_over_zones_and_the_rest_waits,
    an_affinity_that_few_nodes_meet_is_explained,
    a_component_of_wasi_0_3_goes_to_agents_that_know_it,
    a_drained_node_is_not_left_before_the_next_one_is_published,
    endpoints_that_come_are_gathered_for_a_second,
    an_endpoint_that_goes_waits_for_nothing,
    a_spec_that_cannot_be_used_leaves_what_runs,
    callers_that_are_named_get_a_network_policy,
    a_policy_that_no_longer_admits_what_runs_stops_nothing,
    a_policy_that_stops_what_runs_does_so_in_waves,
    the_next_wave_of_a_stop_waits,
    a_denied_revision_gives_way_to_the_one_that_takes_over,
    a_stopped_component_is_not_started_again_by_a_new_leader,
    what_policies_in_audit_would_refuse_is_said,
    a_capability_that_is_not_granted_is_refused_with_the_yaml_that_grants_it,
    a_grant_above_the_ceiling_is_refused_and_what_runs_goes_on,
    without_any_capability_policy_nothing_can_be_granted,
    without_any_capability_policy_a_component_without_capabilities_runs,
    a_policy_that_is_tightened_stops_nothing_and_nothing_new_starts,
    a_version_that_asks_for_more_is_held_and_the_old_one_goes_on,
    a_version_that_is_approved_goes_on,
    an_approval_of_another_version_approves_nothing,
    a_version_that_was_admitted_once_is_not_asked_about_again,
    a_component_without_the_required_manifest_is_refused,
    what_is_optional_may_be_missing,
    a_limit_above_the_ceiling_is_refused,
    a_namespace_that_is_full_takes_no_more,
    what_is_above_the_totals_does_not_grow,
    a_held_version_leaves_the_one_that_serves_within_the_totals,
    a_capability_policy_in_audit_says_what_it_would_refuse,
    a_component_that_runs_by_itself_gets_no_port_and_no_service,
    a_component_that_listens_gets_a_node_port_for_each_of_its_ports,
    a_version_that_does_not_listen_is_undone_and_says_which_port,
    agents_that_let_nothing_listen_get_no_component_with_ports,
    replicas_that_run_make_a_component_ready,
    a_job_that_has_completed_is_ready,
    a_job_that_is_done_is_not_done_again_when_its_node_is_lost,
    a_job_that_has_failed_for_good_is_stalled,
    a_replica_that_waits_to_be_started_again_says_how_it_ended,
    a_new_revision_whose_replica_crashes_is_undone,
}

#[test]
fn every_folder_is_a_case() {
    let folders: BTreeSet<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        folders,
        CASES.iter().map(|case| (*case).to_owned()).collect()
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn check(case: &str) {
    let folder = root().join(case);
    let text = std::fs::read_to_string(folder.join("given.yaml")).unwrap();
    let given: Given =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{case}/given.yaml: {error}"));
    let validated = validate(&given.component);
    let mut observed = observed(given, validated.as_ref().ok());

    let (planned, problems) = match &validated {
        Ok(validated) => {
            let admission = admit(&observed, validated);
            // As the driver does: what was never admitted gets no port.
            let never = observed.revisions.is_empty() && observed.placements.is_empty();
            if admission.is_refused() && never && observed.ports.is_ok() {
                observed.ports = Ok(BTreeMap::new());
            }
            (plan(&observed, validated, admission), Vec::new())
        }
        Err(problems) => (plan_unusable(&observed), problems.clone()),
    };
    let objects = objects(&planned);
    let applied = Applied::new(planned, None);
    let now = Timestamp::from_second(NOW).unwrap();
    let status = report::status(&observed, &problems, &applied, now);

    compare(&folder.join("objects.yaml"), &objects);
    compare(
        &folder.join("status.yaml"),
        &serde_json::to_value(status).unwrap(),
    );
}

fn compare(path: &Path, value: &Value) {
    let text = serde_saphyr::to_string(value).unwrap();
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs; it would now be:\n{text}",
        path.display()
    );
}

fn objects(plan: &Plan) -> Value {
    fn changes<K: serde::Serialize>(changes: &operator::component::Changes<K>) -> Value {
        let mut listed = serde_json::Map::new();
        for (verb, objects) in [
            ("create", &changes.create),
            ("update", &changes.update),
            ("delete", &changes.delete),
        ] {
            if !objects.is_empty() {
                listed.insert(verb.to_owned(), serde_json::to_value(objects).unwrap());
            }
        }
        Value::Object(listed)
    }
    let revision = plan.revision.as_ref().map(|new| {
        json!({"name": new.document.revision_name(), "number": new.number, "data": new.document.canonical()})
    });
    let all = [
        ("revision", json!(revision)),
        ("service", json!(plan.service)),
        ("slices", changes(&plan.slices)),
        ("networkPolicies", changes(&plan.network_policies)),
        ("placements", changes(&plan.placements)),
        ("previews", changes(&plan.previews)),
        ("expiredRevisions", json!(plan.expired_revisions)),
        ("againAfterSeconds", json!(plan.again.map(seconds))),
    ];
    let empty = |value: &Value| {
        value.is_null()
            || value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    Value::Object(
        all.into_iter()
            .filter(|(_, value)| !empty(value))
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

/// Whole seconds as whole numbers.
fn seconds(time: Duration) -> Value {
    if time.subsec_nanos() == 0 {
        json!(time.as_secs())
    } else {
        json!(time.as_secs_f64())
    }
}
