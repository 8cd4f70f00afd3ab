//! What a rollout says of single revisions: shares, steps that are passed, and pins.

use crate::bound;
use crate::component::{Analysis, Canary, Pin, Promote};
use crate::percent::Percent;
use crate::problem::Problems;

pub(super) fn pin(problems: &mut Problems, pin: Option<&Pin>) {
    let Some(Pin {
        revision,
        for_generation,
    }) = pin
    else {
        return;
    };
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = revision.strip_prefix("wc-");
    if !name.is_some_and(|name| !name.is_empty() && name.chars().all(inner))
        || revision.len() > bound::NAME as usize
    {
        problems.add(
            "spec.rollout.pin.revision",
            format!("is `{revision}`, which is no name of a revision"),
            "write one that kubectl lm rollout history lists, such as wc-orders-0123456789",
        );
    }
    problems.within(
        "spec.rollout.pin.forGeneration",
        for_generation,
        &1,
        &i64::MAX,
    );
}

pub(super) fn canary(problems: &mut Problems, canary: Option<&Canary>, promote: Option<&Promote>) {
    let steps = canary.map(|canary| canary.steps.as_slice());
    if steps.is_some_and(<[_]>::is_empty) {
        problems.add("spec.rollout.canary.steps", "is empty", "add at least 1");
    }
    let steps = steps.unwrap_or_default();
    problems.entries(
        "spec.rollout.canary.steps",
        steps.len(),
        bound::CANARY_STEPS,
    );
    for (index, step) in steps.iter().enumerate() {
        let at = format!("spec.rollout.canary.steps[{index}]");
        problems.within(&format!("{at}.weight"), &step.weight, &1, &99);
        if let Some(duration) = step
            .pause
            .as_ref()
            .and_then(|pause| pause.duration.as_ref())
        {
            let (least, most) = (bound::CANARY_PAUSE_MIN, bound::CANARY_PAUSE_MAX);
            problems.within(&format!("{at}.pause.duration"), duration, &least, &most);
        }
    }
    if !steps.is_sorted_by(|one, next| one.weight < next.weight) {
        problems.add(
            "spec.rollout.canary.steps",
            "has a step that gives no more than the one before",
            "write the weights in rising order",
        );
    }
    if let Some(analysis) = canary.and_then(|canary| canary.analysis.as_ref()) {
        self::analysis(problems, analysis);
    }
    if let Some(Promote { revision, step }) = promote {
        problems.text("spec.rollout.promote.revision", revision, bound::NAME);
        if let Some(step) = step {
            let most = i32::try_from(bound::CANARY_STEPS).unwrap_or(i32::MAX);
            problems.within("spec.rollout.promote.step", step, &1, &most);
        }
    }
}

fn analysis(problems: &mut Problems, analysis: &Analysis) {
    const AT: &str = "spec.rollout.canary.analysis";
    let Analysis {
        min_requests,
        max_error_rate,
        max_latency_p99,
        max_regression,
    } = analysis;
    problems.within(
        &format!("{AT}.minRequests"),
        min_requests,
        &1,
        &bound::ANALYSIS_REQUESTS,
    );
    if let Some(rate) = max_error_rate
        && *rate > Percent::WHOLE
    {
        problems.add(
            format!("{AT}.maxErrorRate"),
            format!("is {rate}"),
            "write a percentage up to 100%",
        );
    }
    if let Some(p99) = max_latency_p99 {
        let (least, most) = (bound::LATENCY_MIN, bound::LATENCY_MAX);
        problems.within(&format!("{AT}.maxLatencyP99"), p99, &least, &most);
    }
    if max_error_rate.is_none() && max_latency_p99.is_none() && max_regression.is_none() {
        problems.add(
            AT,
            "judges nothing",
            "write maxErrorRate, maxLatencyP99 or maxRegression",
        );
    }
}
