//! Conditions of the five kinds: their types, and how a list of them is kept.
//!
//! A condition's time changes with its status only, and two lists that differ in
//! time alone count as the same: so a component at rest causes no write. Used by
//! operator and agent before each status write.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::bound;
use crate::reason::Reason;

/// What a condition speaks of. `Ready`, `Stalled` and `Reconciling` are what
/// kstatus (Flux, Helm 4 `--wait`) reads.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumIter,
    strum::EnumString,
)]
pub enum ConditionType {
    /// The summary; its reason is that of the first step that fails.
    Ready,
    /// Nothing more happens until somebody changes something. Present when true only.
    Stalled,
    /// Something is under way. Present when true only.
    Reconciling,
    /// The image's tag stands for a digest.
    Resolved,
    /// The trust policies admit the image.
    Verified,
    /// The component's grants are within the capability policies, and what its manifest
    /// asks for is granted.
    Admitted,
    /// Every replica has a node.
    Placed,
    /// The component answers.
    Available,
    /// A rollout is under way, or has ended well.
    Progressing,
    /// The object can be applied as it is.
    Accepted,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It could not be judged.
    Unknown,
}

/// `message`, cut at a character if it is longer than `most` bytes.
pub fn bounded(mut message: String, most: u32) -> String {
    let most = most as usize;
    if message.len() > most {
        let end = (0..=most)
            .rev()
            .find(|end| message.is_char_boundary(*end))
            .unwrap_or(0);
        message.truncate(end);
    }
    message
}

/// A condition about `generation`, as of `now`. A longer message than
/// [`bound::MESSAGE`] is cut.
pub fn condition(
    condition: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: condition.to_string(),
        status: status.to_string(),
        reason: reason.to_string(),
        message: bounded(message.into(), bound::MESSAGE),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// Puts a condition into the list in place of that of its type, and keeps the time
/// of a status that stays. Says whether anything but a time changed.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|old| old.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// Takes a condition out of the list. Says whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, condition: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|old| old.type_ != <&str>::from(condition));
    conditions.len() != before
}

/// The condition of a type.
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|found| found.type_ == <&str>::from(condition))
}

/// Whether a condition is there and holds.
pub fn is_true(conditions: &[Condition], condition: ConditionType) -> bool {
    find(conditions, condition).is_some_and(|found| found.status == "True")
}

/// Whether two lists say the same, whenever and in whatever order they said it.
pub fn same(left: &[Condition], right: &[Condition]) -> bool {
    left.len() == right.len()
        && left.iter().all(|one| {
            right.iter().any(|other| {
                Condition {
                    last_transition_time: one.last_transition_time.clone(),
                    ..other.clone()
                } == *one
            })
        })
}

/// The times of `old` for every status in `new` that stays: what a status that was
/// worked out afresh needs before it is compared or written.
pub fn keep_times(old: &[Condition], new: &mut [Condition]) {
    for condition in new {
        let before = old
            .iter()
            .find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(before) = before {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: ConditionStatus, reason: Reason, second: i64) -> Condition {
        condition(
            ConditionType::Ready,
            status,
            reason,
            "because",
            Some(1),
            Timestamp::from_second(second).unwrap(),
        )
    }

    #[test]
    fn a_status_that_stays_keeps_its_time() {
        let mut conditions = vec![ready(ConditionStatus::False, Reason::Preparing, 1)];
        assert!(!set(
            &mut conditions,
            ready(ConditionStatus::False, Reason::Preparing, 2)
        ));
        assert!(set(
            &mut conditions,
            ready(ConditionStatus::False, Reason::Unsigned, 3)
        ));
        assert_eq!(conditions[0].last_transition_time.0.as_second(), 1);
        assert!(set(
            &mut conditions,
            ready(ConditionStatus::True, Reason::Ready, 4)
        ));
        assert_eq!(conditions[0].last_transition_time.0.as_second(), 4);
        assert_eq!(conditions.len(), 1);
        assert!(is_true(&conditions, ConditionType::Ready));
    }

    #[test]
    fn lists_that_differ_in_time_alone_are_the_same() {
        let one = [ready(ConditionStatus::True, Reason::Ready, 1)];
        let other = [ready(ConditionStatus::True, Reason::Ready, 9)];
        assert!(same(&one, &other));
        assert!(!same(
            &one,
            &[ready(ConditionStatus::True, Reason::Complete, 1)]
        ));
        assert!(!same(&one, &[]));
    }

    #[test]
    fn times_are_kept_for_what_was_said_before() {
        let old = [ready(ConditionStatus::True, Reason::Ready, 1)];
        let mut new = [ready(ConditionStatus::True, Reason::Complete, 9)];
        keep_times(&old, &mut new);
        assert_eq!(new[0].last_transition_time.0.as_second(), 1);
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut conditions = vec![ready(ConditionStatus::True, Reason::Ready, 1)];
        assert!(!remove(&mut conditions, ConditionType::Stalled));
        assert!(remove(&mut conditions, ConditionType::Ready));
        assert!(find(&conditions, ConditionType::Ready).is_none());
    }

    #[test]
    fn a_message_too_long_for_the_schema_is_cut_at_a_character() {
        let long = "ä".repeat(bound::MESSAGE as usize);
        let cut = bounded(long, bound::MESSAGE);
        assert!(cut.len() <= bound::MESSAGE as usize);
    }
}
