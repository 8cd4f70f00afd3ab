//! The steps of a canary: every node gives the new revision the same small share of its
//! requests, for a time or until somebody says so, before it gives it all.
//!
//! Plain functions; `rollout` calls them while there is an old revision to share with. Nodes are
//! prepared in waves, as ever; from then on a step changes nothing but weights.

use std::time::Duration;

use super::{
    Cause, Clock, NodeSight, Progress, Rules, Sight, State, Turn, Verdict, WHOLE, falls, weights,
};

/// A share of the requests, and how long it stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The share, in percent.
    pub weight: u32,
    /// How long all nodes give it this share before the next step.
    pub pause: Pause,
}

/// How long a step lasts once all nodes have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// So long.
    For(Duration),
    /// Until somebody says to go on.
    Endless,
}

/// What a revision is given while it is not given all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The step, from 1.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// The share, in percent.
    pub weight: u32,
    /// What ends it.
    pub until: Until,
}

/// What ends a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nodes that get so far, and its pause.
    Time,
    /// So many requests, to judge it by.
    Requests(u64),
    /// Somebody who says to go on.
    Somebody,
}

/// One turn in a step.
pub(super) fn advance(
    before: Progress,
    step: Step,
    elapsed: Option<Duration>,
    sight: &Sight,
    rules: &Rules,
) -> Turn {
    let wanted = &sight.wanted;
    let has_it = |node: &NodeSight| node.shares(wanted, step.weight);
    let having = sight.nodes.values().filter(|node| has_it(node)).count();
    let reached = before
        .reached
        .max(u32::try_from(having).unwrap_or(u32::MAX));
    let progress = Progress { reached, ..before };
    if having == sight.nodes.len() && having > 0 {
        return wait(before, progress, step, elapsed, sight, rules);
    }
    let is_under_way = |node: &NodeSight| node.holds_first(wanted) && !has_it(node);
    let under_way = sight.nodes.values().filter(|node| is_under_way(node));
    let under_way = under_way.count();
    let can_begin = |node: &NodeSight| node.is_ready && !has_it(node);
    let can_move = under_way > 0 || sight.nodes.values().any(can_begin);
    let clock = Clock::read(before, progress, elapsed, can_move, sight, rules);
    let failure = sight.failure_of(wanted);
    if clock.is_over {
        return falls(sight, rules, Cause::Deadline(failure));
    }
    let mut held = weights::shared(sight, step.weight);
    if sight.may_start && !rules.is_paused && failure.is_none() {
        held.extend(weights::wave(sight, rules, under_way, step.weight));
    }
    // Whoever comes new begins with what is proven, and follows.
    let other = sight.proven.as_ref().unwrap_or(wanted);
    held.extend(weights::fresh(sight, other));
    Turn {
        again: clock.left,
        is_paused: rules.is_paused,
        held,
        share: Some(share(before.step, step, rules, Until::Time)),
        ..Turn::of(clock.state(progress), sight, wanted)
    }
}

/// All nodes give it the share: it stays so until the step is over.
fn wait(
    before: Progress,
    progress: Progress,
    step: Step,
    elapsed: Option<Duration>,
    sight: &Sight,
    rules: &Rules,
) -> Turn {
    let waited = match elapsed {
        Some(elapsed) if progress == before => elapsed,
        _ => Duration::ZERO,
    };
    let is_promoted = before.step < rules.promoted;
    let left = match step.pause {
        _ if is_promoted => Some(Duration::ZERO),
        Pause::For(pause) => Some(pause.saturating_sub(waited)),
        Pause::Endless => None,
    };
    // Whoever promotes it has judged it.
    let needs_more = !is_promoted && rules.judge(sight) == Verdict::Open;
    let is_over = left.is_some_and(|left| left.is_zero());
    let goes_on = is_over && !needs_more;
    if let (Pause::For(pause), Some(analysis), true) = (step.pause, &rules.analysis, needs_more)
        && waited >= pause.saturating_add(rules.deadline)
        && !rules.is_paused
        && sight.may_start
    {
        return falls(sight, rules, Cause::TooFewRequests(analysis.min_requests));
    }
    let again = rules.looks_again(sight);
    let until = match (&rules.analysis, left) {
        (_, None) => Until::Somebody,
        (Some(analysis), Some(_)) if is_over && needs_more => {
            Until::Requests(analysis.min_requests)
        }
        _ => Until::Time,
    };
    let turn = |state| Turn {
        share: Some(share(before.step, step, rules, until)),
        ..Turn::of(state, sight, &sight.wanted)
    };
    match left {
        _ if rules.is_paused || !sight.may_start => Turn {
            is_paused: rules.is_paused,
            ..turn(State::Waiting(progress))
        },
        Some(_) if goes_on => {
            let next = Progress {
                step: before.step.saturating_add(1),
                reached: 0,
            };
            let following = rules.steps.get(next.step);
            let weight = following.map_or(WHOLE, |following| following.weight);
            Turn {
                again: Some(Duration::ZERO),
                held: weights::shared(sight, weight),
                share: following.map(|following| share(next.step, *following, rules, Until::Time)),
                ..turn(State::Advancing(next))
            }
        }
        Some(left) => Turn {
            again: match again {
                Some(again) if is_over => Some(again),
                again => again.into_iter().chain([left]).min(),
            },
            ..turn(State::Advancing(progress))
        },
        None => Turn {
            again,
            ..turn(State::Waiting(progress))
        },
    }
}

fn share(index: usize, step: Step, rules: &Rules, until: Until) -> Share {
    Share {
        step: index.saturating_add(1),
        steps: rules.steps.len(),
        weight: step.weight,
        until,
    }
}
