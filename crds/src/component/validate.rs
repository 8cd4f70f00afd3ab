//! Every rule that the API server applies to a `WasmComponent` through its schema
//! and CEL, in plain Rust and each with its mend.
//!
//! Pure. For whoever reads a component without an API server in between: the
//! operator's `validate` step (an older schema may have let something through) and
//! the command line.

mod capabilities;
mod environment;
mod invoke;
pub(crate) mod outbound;
mod peers;
mod placement;
mod previews;
pub(crate) mod process;
mod rollout;
mod run;
mod volumes;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    Health, HttpGet, OnFailure, Rollout, ServiceSpec, ServiceType, TrafficDistribution, Trigger,
    WasmComponent, WasmComponentSpec,
};
use crate::bound;
pub use crate::problem::Problem;
use crate::problem::Problems;

/// Every fault of a component, in the order of its fields.
pub fn problems(component: &WasmComponent) -> Vec<Problem> {
    let mut problems = Problems::default();
    name(
        &mut problems,
        component.metadata.name.as_deref().unwrap_or_default(),
    );
    let WasmComponentSpec {
        image,
        image_pull_secrets,
        image_poll_interval,
        replicas,
        placement: wished,
        service,
        triggers,
        args,
        env,
        env_from,
        config,
        volumes: files,
        capabilities: granted,
        audit,
        instances,
        resources,
        health,
        rollout,
        previews,
    } = &component.spec;

    self::image(&mut problems, "spec.image", image);
    problems.entries(
        "spec.imagePullSecrets",
        image_pull_secrets.len(),
        bound::PULL_SECRETS,
    );
    let secrets = image_pull_secrets.iter().map(|secret| secret.name.as_str());
    problems.distinct("spec.imagePullSecrets", "name", secrets);
    for (index, secret) in image_pull_secrets.iter().enumerate() {
        problems.text(
            &format!("spec.imagePullSecrets[{index}].name"),
            &secret.name,
            bound::NAME,
        );
    }
    if let Some(interval) = image_poll_interval {
        let (least, most) = (bound::POLL_INTERVAL_MIN, bound::POLL_INTERVAL_MAX);
        problems.within("spec.imagePollInterval", interval, &least, &most);
    }
    problems.within("spec.replicas", replicas, &0, &bound::REPLICAS);
    placement::check(&mut problems, wished, *replicas);
    self::service(&mut problems, service);
    self::triggers(&mut problems, triggers);
    problems.entries("spec.args", args.len(), bound::ARGS);
    for (index, arg) in args.iter().enumerate() {
        problems.length(&format!("spec.args[{index}]"), arg, bound::ARG);
    }
    environment::variables(&mut problems, "spec.env", env);
    environment::sources(&mut problems, env_from);
    environment::variables(&mut problems, "spec.config", config);
    volumes::check(&mut problems, files);
    capabilities::check(&mut problems, granted, files);
    capabilities::audit(&mut problems, *audit);
    capabilities::reuse(&mut problems, granted, instances);
    if let Err(error) = resources.limits(instances).check() {
        let message = error.to_string();
        let message = message.strip_prefix(error.field()).unwrap_or(&message);
        let message = message
            .rsplit_once(';')
            .map_or(message, |(message, _)| message);
        let section = match error.field().starts_with("instances.") {
            true => "spec",
            false => "spec.resources",
        };
        problems.add(
            format!("{section}.{}", error.field()),
            message.trim(),
            error.mend(),
        );
    }
    if let Some(health) = health {
        self::health(&mut problems, health);
    }
    self::rollout(&mut problems, rollout);
    previews::check(&mut problems, component, previews);
    run::spec(&mut problems, &component.spec);
    invoke::spec(&mut problems, &component.spec);
    problems.into_vec()
}

/// DNS-1035, because it becomes the name of a Service.
fn name(problems: &mut Problems, name: &str) {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= bound::COMPONENT_NAME as usize
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inner)
        && !name.ends_with('-');
    if !fits {
        problems.add(
            "metadata.name",
            format!("is `{name}`, which cannot be the name of a Service"),
            format!(
                "write 1 to {} lower-case letters, digits and `-`, starting with a letter",
                bound::COMPONENT_NAME
            ),
        );
    }
}

fn image(problems: &mut Problems, field: &str, image: &str) {
    if image.is_empty() {
        problems.add(field, "is empty", "write registry/repository:tag");
    } else if image.contains(char::is_whitespace) {
        problems.add(field, "contains spaces", "write registry/repository:tag");
    }
    problems.length(field, image, bound::IMAGE);
}

fn service(problems: &mut Problems, service: &ServiceSpec) {
    let ServiceSpec {
        type_,
        labels,
        annotations,
        traffic_distribution,
    } = service;
    if *type_ == ServiceType::Unknown {
        problems.add(
            "spec.service.type",
            "is a type that this version does not know",
            "write ClusterIP, NodePort or LoadBalancer",
        );
    }
    if *traffic_distribution == Some(TrafficDistribution::Unknown) {
        problems.add(
            "spec.service.trafficDistribution",
            "is a preference that this version does not know",
            "write PreferClose, or remove it",
        );
    }
    problems.entries("spec.service.labels", labels.len(), bound::ANNOTATIONS);
    for (key, value) in labels {
        problems.length(&format!("spec.service.labels.{key}"), value, bound::LABEL);
    }
    problems.entries(
        "spec.service.annotations",
        annotations.len(),
        bound::ANNOTATIONS,
    );
    for (key, value) in annotations {
        problems.length(
            &format!("spec.service.annotations.{key}"),
            value,
            bound::ANNOTATION,
        );
    }
}

fn triggers(problems: &mut Problems, triggers: &[Trigger]) {
    problems.entries("spec.triggers", triggers.len(), bound::TRIGGERS);
    problems.distinct(
        "spec.triggers",
        "name",
        triggers.iter().map(|trigger| trigger.name.as_str()),
    );
    let mut ports = Vec::new();
    for (index, trigger) in triggers.iter().enumerate() {
        let field = format!("spec.triggers[{index}]");
        if !is_label(&trigger.name, bound::TRIGGER_NAME) {
            problems.add(
                format!("{field}.name"),
                format!(
                    "is `{}`, which cannot be the name of a Service's port",
                    trigger.name
                ),
                format!(
                    "write 1 to {} lower-case letters, digits and `-`, such as web",
                    bound::TRIGGER_NAME
                ),
            );
        }
        if let Some(from) = &trigger.from {
            peers::peers(problems, &format!("{field}.from"), from);
        }
        let members = trigger.members();
        match members.as_slice() {
            [] => problems.add(
                field.clone(),
                "does not say what starts the component",
                "add exactly one member, such as http: {port: 80} or run: {}",
            ),
            [member] => {
                if let Some(port) = trigger.port() {
                    if ports.contains(&port) {
                        problems.add(
                            format!("{field}.{member}.port"),
                            format!("is {port}, as another trigger's"),
                            "give each trigger a port of its own",
                        );
                    }
                    ports.push(port);
                }
            }
            several => problems.add(
                field.clone(),
                format!("has {}, of which it can be only one", several.join(" and ")),
                "make a trigger of its own of each",
            ),
        }
        run::trigger(problems, &field, trigger);
        invoke::trigger(problems, &field, trigger);
        let Some(http) = &trigger.http else {
            continue;
        };
        problems.within(&format!("{field}.http.port"), &http.port, &1, &65_535);
        let body = http.max_request_body;
        if body > bound::REQUEST_BODY_MAX {
            problems.add(
                format!("{field}.http.maxRequestBody"),
                format!("is {body}"),
                format!("write at most {}", bound::REQUEST_BODY_MAX),
            );
        }
    }
}

/// RFC 1123 label of at most so many characters: as Kubernetes wants parts of names, and ports'.
fn is_label(name: &str, most: u32) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=most as usize).contains(&name.len())
        && name.chars().all(|c| edge(c) || c == '-')
        && name.starts_with(edge)
        && name.ends_with(edge)
}

fn health(problems: &mut Problems, health: &Health) {
    if let Some(HttpGet { path }) = &health.http_get {
        let field = "spec.health.httpGet.path";
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.add(
                field,
                format!("is `{path}`, which is no path"),
                "write `/` and printable characters without spaces, such as /healthz",
            );
        }
        problems.length(field, path, bound::PATH);
    }
    problems.within(
        "spec.health.startTimeout",
        &health.start_timeout,
        &bound::START_TIMEOUT_MIN,
        &bound::START_TIMEOUT_MAX,
    );
}

fn rollout(problems: &mut Problems, rollout: &Rollout) {
    let Rollout {
        max_parallel,
        min_ready_seconds,
        termination_grace_period_seconds,
        revision_history_limit,
        on_failure,
        progress_deadline_seconds,
        canary,
        paused: _,
        pin,
        promote,
        approve,
    } = rollout;
    let fits = match max_parallel {
        IntOrString::Int(count) => (1..=bound::REPLICAS).contains(count),
        IntOrString::String(text) => text
            .strip_suffix('%')
            .filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse::<u32>().ok())
            .is_some_and(|percent| (1..=100).contains(&percent)),
    };
    if !fits {
        let found = match max_parallel {
            IntOrString::Int(count) => count.to_string(),
            IntOrString::String(text) => format!("`{text}`"),
        };
        problems.add(
            "spec.rollout.maxParallel",
            format!("is {found}"),
            "write a number of nodes from 1, or a percentage from 1% to 100%, such as 25%",
        );
    }
    problems.within(
        "spec.rollout.minReadySeconds",
        min_ready_seconds,
        &0,
        &bound::MIN_READY_MAX_SECONDS,
    );
    rollout::pin(problems, pin.as_ref());
    rollout::canary(problems, canary.as_ref(), promote.as_ref());
    if *on_failure == OnFailure::Unknown {
        problems.add(
            "spec.rollout.onFailure",
            "is not a choice this version knows",
            "write Rollback or Pause",
        );
    }
    problems.within(
        "spec.rollout.progressDeadlineSeconds",
        progress_deadline_seconds,
        &1,
        &bound::PROGRESS_DEADLINE_MAX_SECONDS,
    );
    problems.within(
        "spec.rollout.terminationGracePeriodSeconds",
        termination_grace_period_seconds,
        &0,
        &bound::GRACE_PERIOD_MAX_SECONDS,
    );
    problems.within(
        "spec.rollout.revisionHistoryLimit",
        revision_history_limit,
        &0,
        &bound::REVISION_HISTORY_MAX,
    );
    if let Some(hash) = approve {
        let field = "spec.rollout.approve";
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !hash.bytes().all(digit) {
            problems.add(
                field,
                format!("is `{hash}`, which is no hash"),
                "write the hash that the condition Admitted names",
            );
        }
        problems.length(field, hash, bound::APPROVAL);
    }
}
