//! What is counted. Labels come from closed enums only: a name chosen by a
//! tenant is never one. Served by `admin` in the Prometheus text format.

use std::time::Duration;

use crds::Reason;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// All metrics; cheap to clone, all clones are one set.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    leader: IntGauge,
    reconciles: Histogram,
    failures: IntCounter,
    undecodable: IntCounter,
    resolutions: IntCounterVec,
    hand_over: IntCounterVec,
    denials: IntCounterVec,
    public_root_fetches: IntCounterVec,
    public_root_stale: IntGauge,
}

/// What one attempt to renew the public root came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicRootFetch {
    /// There was something newer.
    Updated,
    /// There was nothing newer.
    Unchanged,
    /// The repository did not give what it must have.
    Unreachable,
    /// What it gave is not believed.
    Refused,
}

impl Metrics {
    /// A set of metrics, all at zero.
    ///
    /// # Errors
    /// When two have the same name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            leader: IntGauge::new("lighterman_operator_leader", "1 while this replica leads")?,
            reconciles: Histogram::with_opts(HistogramOpts::new(
                "lighterman_operator_reconcile_seconds",
                "Time of one look at one component",
            ))?,
            failures: IntCounter::new(
                "lighterman_operator_reconcile_failures_total",
                "Looks at a component that the API server made fail",
            )?,
            undecodable: IntCounter::new(
                "lighterman_operator_undecodable_objects_total",
                "Objects that could not be decoded; their last good state is kept",
            )?,
            resolutions: IntCounterVec::new(
                Opts::new(
                    "lighterman_operator_resolutions_total",
                    "Images resolved and verified, by reason",
                ),
                &["reason"],
            )?,
            hand_over: IntCounterVec::new(
                Opts::new(
                    "lighterman_operator_hand_over_requests_total",
                    "Answers of the hand-over, by status",
                ),
                &["status"],
            )?,
            denials: IntCounterVec::new(
                Opts::new(
                    "lighterman_operator_denials_total",
                    "Uses of capabilities that were denied, as the agents tell it, by capability",
                ),
                &["capability"],
            )?,
            public_root_fetches: IntCounterVec::new(
                Opts::new(
                    "lighterman_operator_public_root_fetches_total",
                    "Attempts to renew the public root, by outcome",
                ),
                &["outcome"],
            )?,
            public_root_stale: IntGauge::new(
                "lighterman_operator_public_root_stale",
                "1 while the public root should have been renewed and was not",
            )?,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.undecodable.clone()))?;
        registry.register(Box::new(metrics.resolutions.clone()))?;
        registry.register(Box::new(metrics.hand_over.clone()))?;
        registry.register(Box::new(metrics.public_root_fetches.clone()))?;
        registry.register(Box::new(metrics.public_root_stale.clone()))?;
        registry.register(Box::new(metrics.denials.clone()))?;
        Ok(metrics)
    }

    /// This replica leads, or does not.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// One look at a component took so long.
    pub fn reconciled(&self, took: Duration) {
        self.reconciles.observe(took.as_secs_f64());
    }

    /// One look failed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// An object could not be decoded.
    pub fn undecodable(&self) {
        self.undecodable.inc();
    }

    /// An image was resolved, or was not for `reason`.
    pub fn resolved(&self, reason: Option<Reason>) {
        let reason = reason.unwrap_or(Reason::Verified).to_string();
        self.resolutions.with_label_values(&[reason.as_str()]).inc();
    }

    /// The hand-over answered with `status`.
    pub fn handed_over(&self, status: u16) {
        self.hand_over
            .with_label_values(&[status.to_string().as_str()])
            .inc();
    }

    /// Uses of a capability were denied; `capability` is one of a closed list.
    pub fn denied(&self, capability: &'static str, count: u64) {
        self.denials.with_label_values(&[capability]).inc_by(count);
    }

    /// The public root was asked for.
    pub fn public_root_fetched(&self, outcome: PublicRootFetch) {
        let outcome = match outcome {
            PublicRootFetch::Updated => "updated",
            PublicRootFetch::Unchanged => "unchanged",
            PublicRootFetch::Unreachable => "unreachable",
            PublicRootFetch::Refused => "refused",
        };
        self.public_root_fetches.with_label_values(&[outcome]).inc();
    }

    /// The public root should have been renewed, or not.
    pub fn public_root_stale(&self, stale: bool) {
        self.public_root_stale.set(i64::from(stale));
    }

    /// Everything in the Prometheus text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory does not fail; a half text would be seen by the scraper.
        drop(TextEncoder::new().encode(&self.registry.gather(), &mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_once_and_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.leads(true);
        metrics.resolved(Some(Reason::Unsigned));
        metrics.handed_over(403);
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("lighterman_operator_leader 1"), "{text}");
        assert!(
            text.contains("resolutions_total{reason=\"Unsigned\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("hand_over_requests_total{status=\"403\"} 1"),
            "{text}"
        );
    }
}
