//! Whether a revision gives its code no more than the component does, as this node reads it:
//! every value, reference, port and limit whole, not by name only. Plain functions; called by
//! `validate::revision`, so that a seal alone grants nothing.

use crds::component::Trigger;
use crds::revision::{RevisionDocument, RevisionRunPort, RevisionTrigger};
use crds::{WasmComponentSpec, component};

/// Whether the component names this very revision in `rollout.pin`: then it gives all that is
/// in it, since its name is the hash of its content.
pub(super) fn is_pinned(revision: &str, spec: &WasmComponentSpec) -> bool {
    let pin = spec.rollout.pin.as_ref();
    pin.is_some_and(|pin| pin.revision == revision)
}

/// The first part of a revision that its component does not give.
///
/// Values have to be the very same and not merely among those of the component: leaving one
/// out lets another through, since `env` wins over `envFrom` and arguments go by their order.
pub(super) fn excess(
    document: &RevisionDocument,
    spec: &WasmComponentSpec,
) -> Option<&'static str> {
    // Without `..`: a part that nobody judges must not compile.
    let RevisionDocument {
        version: _,
        component: _,
        image: _,
        digest: _,
        args,
        env,
        env_from,
        config,
        volumes,
        capabilities,
        audit,
        // What the manifests ask for is read from the bytes, not from here.
        requests: _,
        triggers,
        limits,
        health,
        termination_grace_period_seconds,
    } = document;
    let component::Rollout {
        termination_grace_period_seconds: grace,
        ..
    } = &spec.rollout;
    let parts = [
        ("args", *args == spec.args),
        ("env", *env == spec.env),
        ("envFrom", *env_from == spec.env_from),
        ("config", *config == spec.config),
        ("volumes", *volumes == spec.volumes),
        ("capabilities", *capabilities == spec.capabilities),
        ("audit", *audit == spec.audit),
        ("health", *health == spec.health),
        ("triggers", triggers.iter().all(|one| is_given(one, spec))),
        ("resources", is_within(limits, &spec.limits())),
        (
            "rollout.terminationGracePeriodSeconds",
            termination_grace_period_seconds <= grace,
        ),
    ];
    parts
        .into_iter()
        .find(|(_, given)| !given)
        .map(|(part, _)| part)
}

fn is_given(trigger: &RevisionTrigger, spec: &WasmComponentSpec) -> bool {
    let of_name = |given: &&Trigger| given.name == trigger.name;
    let Some(given) = spec.triggers.iter().find(of_name) else {
        return false;
    };
    let RevisionTrigger {
        name: _,
        http,
        run,
        invoke,
    } = trigger;
    let is_http_given = match (http, &given.http) {
        (None, None) => true,
        (Some(http), Some(given)) => {
            http.port == given.port && http.max_request_body <= given.max_request_body
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    let is_run_given = match (run, &given.run) {
        (None, None) => true,
        (Some(run), Some(given)) => {
            let listened = |port: &RevisionRunPort| {
                let mut ports = given.ports.iter();
                ports.any(|one| one.name == port.name && one.port == port.port)
            };
            run.restart_policy == given.restart_policy && run.ports.iter().all(listened)
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    let is_invoke_given = match (invoke, &given.invoke) {
        (None, None) => true,
        (Some(invoke), Some(given)) => {
            // In a way that this version knows: what it does not know keeps nobody out.
            let auth = invoke.auth == given.auth && invoke.auth.none.is_some();
            auth && invoke.port == given.port
                && invoke.interfaces == given.interfaces
                && invoke.max_request_body <= given.max_request_body
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    is_http_given && is_run_given && is_invoke_given
}

fn is_within(limits: &capability::Limits, given: &capability::Limits) -> bool {
    let capability::Limits {
        requests,
        per_replica,
        per_call,
        instances,
    } = limits;
    instances.max_requests <= given.instances.max_requests
        && instances.idle_timeout <= given.instances.idle_timeout
        && requests.memory <= given.requests.memory
        && per_replica.concurrency <= given.per_replica.concurrency
        && per_replica.memory <= given.per_replica.memory
        && per_call.memory <= given.per_call.memory
        && per_call.cpu_time <= given.per_call.cpu_time
        && per_call.timeout <= given.per_call.timeout
        && is_at_most(per_call.fuel, given.per_call.fuel)
        && is_at_most(per_call.io, given.per_call.io)
}

/// Where nothing is written, nothing limits it.
fn is_at_most<T: Ord>(found: Option<T>, given: Option<T>) -> bool {
    given.is_none_or(|given| found.is_some_and(|found| found <= given))
}

#[cfg(test)]
mod tests {
    use capability::{Bytes, Span};
    use crds::component::{
        EnvVar, Health, HttpGet, HttpTrigger, InvokeAuth, InvokeTrigger, NoAuth, Resources,
    };
    use crds::revision::{
        ComponentIdentity, RevisionHttpTrigger, RevisionInvokeTrigger, RevisionRunTrigger,
    };

    use super::*;

    fn variable(name: &str, value: &str) -> EnvVar {
        EnvVar {
            name: name.into(),
            value: Some(value.into()),
            value_from: None,
        }
    }

    fn health() -> Health {
        Health {
            http_get: Some(HttpGet {
                path: "/healthz".into(),
            }),
            start_timeout: Health::default_start_timeout(),
        }
    }

    fn spec() -> WasmComponentSpec {
        let mut resources = Resources::default();
        resources.per_call.fuel = Some(1_000_000);
        WasmComponentSpec {
            resources,
            image: "registry.example/shop/orders:1.4".into(),
            args: vec!["serve".into()],
            env: vec![variable("MODE", "safe")],
            triggers: vec![Trigger {
                name: "web".into(),
                http: Some(HttpTrigger::default()),
                ..Trigger::default()
            }],
            ..WasmComponentSpec::default()
        }
    }

    /// All that `spec` gives.
    fn whole(spec: &WasmComponentSpec) -> RevisionDocument {
        RevisionDocument {
            version: RevisionDocument::VERSION,
            component: ComponentIdentity::default(),
            image: "registry.example/shop/orders".into(),
            digest: String::new(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            env_from: spec.env_from.clone(),
            config: spec.config.clone(),
            volumes: spec.volumes.clone(),
            capabilities: spec.capabilities.clone(),
            audit: spec.audit,
            requests: Vec::new(),
            triggers: vec![RevisionTrigger {
                name: "web".into(),
                http: Some(RevisionHttpTrigger::default()),
                ..RevisionTrigger::default()
            }],
            limits: spec.limits(),
            health: spec.health.clone(),
            termination_grace_period_seconds: spec.rollout.termination_grace_period_seconds,
        }
    }

    fn excess_of(change: impl FnOnce(&mut RevisionDocument)) -> Option<&'static str> {
        let spec = spec();
        let mut document = whole(&spec);
        change(&mut document);
        excess(&document, &spec)
    }

    #[test]
    fn what_the_component_gives_may_be_taken_whole_or_in_part() {
        assert_eq!(excess_of(|_| {}), None);
        assert_eq!(
            excess_of(|document| document.limits.per_call.memory = Bytes::mib(1)),
            None
        );
        assert_eq!(excess_of(|document| document.triggers.clear()), None);
    }

    #[test]
    fn a_revision_that_the_component_pins_is_given_whole() {
        let mut spec = spec();
        spec.rollout.pin = Some(crds::component::Pin {
            revision: "wc-orders-0123456789".to_owned(),
            for_generation: 2,
        });
        assert!(is_pinned("wc-orders-0123456789", &spec));
        assert!(!is_pinned("wc-orders-9876543210", &spec));
    }

    #[test]
    fn a_value_under_the_name_of_another_is_an_excess() {
        let exchanged = |document: &mut RevisionDocument| {
            document.env = vec![variable("MODE", "unsafe")];
        };
        assert_eq!(excess_of(exchanged), Some("env"));
    }

    #[test]
    fn a_value_that_was_left_out_is_an_excess_too() {
        assert_eq!(excess_of(|document| document.env.clear()), Some("env"));
        assert_eq!(excess_of(|document| document.args.clear()), Some("args"));
    }

    #[test]
    fn every_part_is_compared() {
        let more = [
            excess_of(|document| document.args.push("--debug".into())),
            excess_of(|document| document.config.push(variable("mode", "debug"))),
            excess_of(|document| document.env_from.push(Default::default())),
            excess_of(|document| document.health = Some(health())),
            excess_of(|document| document.termination_grace_period_seconds += 1),
        ];
        let parts = [
            "args",
            "config",
            "envFrom",
            "health",
            "rollout.terminationGracePeriodSeconds",
        ];
        assert_eq!(more, parts.map(Some));
    }

    #[test]
    fn another_port_or_a_larger_body_is_an_excess() {
        let http = |change: fn(&mut RevisionHttpTrigger)| {
            excess_of(|document| {
                change(document.triggers[0].http.as_mut().unwrap());
            })
        };
        assert_eq!(http(|http| http.port = 81), Some("triggers"));
        assert_eq!(
            http(|http| http.max_request_body = Bytes::mib(11)),
            Some("triggers")
        );
        let run = |run: RevisionRunTrigger| {
            excess_of(|document| document.triggers[0].run = Some(run.clone()))
        };
        assert_eq!(run(RevisionRunTrigger::default()), Some("triggers"));
        let invoke = excess_of(|document| {
            document.triggers[0].invoke = Some(RevisionInvokeTrigger::default());
        });
        assert_eq!(invoke, Some("triggers"));
        let renamed = excess_of(|document| document.triggers[0].name = "admin".into());
        assert_eq!(renamed, Some("triggers"));
    }

    #[test]
    fn functions_are_open_as_the_component_says_and_to_callers_that_are_understood() {
        let excess_of = |auth: InvokeAuth, change: fn(&mut RevisionInvokeTrigger)| {
            let trigger = InvokeTrigger {
                interfaces: vec!["acme:math/tools@1".into()],
                auth,
                ..InvokeTrigger::default()
            };
            let mut spec = spec();
            let mut document = whole(&spec);
            let mut invoke = RevisionInvokeTrigger::from(&trigger);
            change(&mut invoke);
            document.triggers[0].http = None;
            document.triggers[0].invoke = Some(invoke);
            spec.triggers[0].http = None;
            spec.triggers[0].invoke = Some(trigger);
            excess(&document, &spec)
        };
        let none = InvokeAuth {
            none: Some(NoAuth {}),
        };
        assert_eq!(excess_of(none.clone(), |_| {}), None);
        let more: [fn(&mut RevisionInvokeTrigger); 4] = [
            |invoke| invoke.interfaces.push("acme:math/more@1".into()),
            |invoke| invoke.port = 81,
            |invoke| invoke.max_request_body = Bytes::mib(2),
            |invoke| invoke.auth = InvokeAuth::default(),
        ];
        for change in more {
            assert_eq!(excess_of(none.clone(), change), Some("triggers"));
        }
        // What a later version wrote, this one reads as nothing.
        let later = InvokeAuth::default();
        assert_eq!(excess_of(later, |_| {}), Some("triggers"));
    }

    #[test]
    fn every_limit_is_compared() {
        let raised: [fn(&mut capability::Limits); 10] = [
            |limits| limits.requests.memory = Bytes::mib(1 << 20),
            |limits| limits.per_replica.concurrency += 1,
            |limits| limits.per_replica.memory = Bytes::mib(1 << 20),
            |limits| limits.per_call.memory = Bytes::mib(1 << 20),
            |limits| limits.per_call.cpu_time = Span::minutes(15),
            |limits| limits.per_call.timeout = Span::minutes(15),
            |limits| limits.per_call.fuel = None,
            |limits| limits.instances.max_requests += 1,
            |limits| limits.instances.idle_timeout = Span::minutes(5),
            |limits| limits.per_call.fuel = Some(1_000_001),
        ];
        for raise in raised {
            let excess = excess_of(|document| raise(&mut document.limits));
            assert_eq!(excess, Some("resources"));
        }
    }
}
