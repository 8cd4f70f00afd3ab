//! A credential works for the component, and the component never holds it.

use super::stage::{BOTH, Stage, grant, tell};
use super::upstream::{Seen, Upstream};
use capability::{HostName, OutboundRule, Protocol, Rule};
use runtime::{AuditLevel, Capability, Component, Credential, EngineClass};
use std::sync::Arc;

const SECRET: &str = "s3cret-t0ken-0123456789";
const STARS: &str = "***********************";

fn credential(host: &str, port: u16) -> Credential {
    let host = HostName::parse(host).unwrap();
    Credential::new(host, port, "Authorization", "Bearer {}", SECRET).unwrap()
}

fn load(
    stage: &Stage,
    class: EngineClass,
    grants: &[OutboundRule],
    credentials: Vec<Credential>,
) -> Arc<Component> {
    stage.load_with(class, grants, |workload| {
        workload.credentials = credentials;
        // Even where nothing that is allowed is recorded, its use is.
        workload.audit = AuditLevel::Denials;
    })
}

fn authorization(seen: &Seen) -> Option<&str> {
    assert!(seen.headers.get_all("authorization").iter().count() <= 1);
    seen.headers
        .get("authorization")
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_host_adds_it_over_what_the_guest_set_and_records_every_use() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "api.example").await;
    let port = upstream.port();
    stage.dns.name("api.example", &["127.0.1.1"]);
    for class in BOTH {
        let grants = [grant(Protocol::Https, "api.example")];
        let caller = load(
            &stage,
            class,
            &grants,
            vec![credential("api.example", port)],
        );
        for header in [
            "x-none:1",
            "authorization:mine",
            "AUTHORIZATION:mine&header=authorization:more",
        ] {
            let order = format!("do=fetch&authority=api.example:{port}&header={header}");
            assert_eq!(tell(&caller, &order).await, "200 this is /\\n", "{class:?}");
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(authorization(&seen), Some(&*format!("Bearer {SECRET}")));
            let records = stage.records();
            assert_eq!(records.len(), 1, "{records:?}");
            assert_eq!(records[0].capability, Capability::Credential);
            assert_eq!(records[0].rule, Rule::Granted);
            let object = format!("authorization for HTTPS api.example:{port}");
            assert_eq!(records[0].object, object);
        }
        let shown = format!("{caller:?} {:?}", credential("api.example", port));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn it_goes_to_its_own_host_port_and_scheme_only_and_so_does_its_header() {
    let stage = Stage::new().await;
    let api = Upstream::https("127.0.1.1", "api.example").await;
    let same_host = Upstream::https("127.0.1.1", "api.example").await;
    let plain = Upstream::http("127.0.1.1").await;
    let other = Upstream::https_1_1("127.0.1.1", "other.example").await;
    for name in ["api.example", "other.example"] {
        stage.dns.name(name, &["127.0.1.1"]);
    }
    let grants = [
        grant(Protocol::Https, "api.example"),
        grant(Protocol::Http, "api.example"),
        grant(Protocol::Https, "other.example"),
    ];
    for class in BOTH {
        let caller = load(
            &stage,
            class,
            &grants,
            vec![credential("api.example", api.port())],
        );
        for (scheme, name, upstream) in [
            ("https", "api.example", &same_host),
            ("http", "api.example", &plain),
            ("https", "other.example", &other),
        ] {
            // What was overheard is not carried elsewhere under the same header.
            let order = format!(
                "do=fetch&scheme={scheme}&authority={name}:{}&header=authorization:{SECRET}&header=te-x:1&trailer=authorization:{SECRET}&trailer=x-kept:1&method=POST&body=x",
                upstream.port()
            );
            assert_eq!(
                tell(&caller, &order).await,
                "200 this is /\\n",
                "{class:?} {name}"
            );
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(authorization(&seen), None, "{class:?} {scheme} {name}");
            assert_eq!(seen.trailers.get("authorization"), None);
        }
        assert_eq!(stage.records(), [], "it was not used");
    }
    assert!(api.seen().is_empty());
    let kept = same_host
        .seen()
        .iter()
        .all(|seen| seen.trailers.contains_key("x-kept"));
    assert!(kept, "other trailers pass");
}

#[tokio::test]
async fn what_an_upstream_echoes_comes_back_as_stars() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "api.example").await;
    let old = Upstream::https_1_1("127.0.1.1", "api.example").await;
    stage.dns.name("api.example", &["127.0.1.1"]);
    for (class, upstream) in BOTH
        .into_iter()
        .flat_map(|class| [(class, &upstream), (class, &old)])
    {
        let port = upstream.port();
        let grants = [grant(Protocol::Https, "api.example")];
        let caller = load(
            &stage,
            class,
            &grants,
            vec![credential("api.example", port)],
        );
        let order = format!(
            "do=fetch&authority=api.example:{port}&path=/echo&show=x-echo&header=accept-encoding:gzip&header=te-x:1"
        );
        let said = tell(&caller, &order).await;
        assert!(
            !said.contains(SECRET) && !said.contains(&SECRET[..12]),
            "{class:?}: {said}"
        );
        let expected = format!("200 x-echo=Bearer {STARS} Bearer {STARS}");
        assert!(said.starts_with(&expected), "{class:?}: {said}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(authorization(&seen), Some(&*format!("Bearer {SECRET}")));
        assert_eq!(seen.headers["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn methods_and_paths_narrow_what_it_is_lent_for() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "api.example").await;
    let port = upstream.port();
    stage.dns.name("api.example", &["127.0.1.1"]);
    let narrow = credential("api.example", port)
        .with_methods(&["GET".to_owned()])
        .unwrap()
        .with_paths(vec!["/repos/**".parse().unwrap()]);
    for class in BOTH {
        let grants = [grant(Protocol::Https, "api.example")];
        let caller = load(&stage, class, &grants, vec![narrow.clone()]);
        for (method, path, lent) in [
            ("GET", "/repos/a", true),
            ("POST", "/repos/a", false),
            ("GET", "/admin", false),
            ("GET", "/repos/../admin", false),
            ("GET", "/repos/%252e%252e/admin", false),
            ("GET", "//repos/a", false),
        ] {
            let order =
                format!("do=fetch&method={method}&authority=api.example:{port}&path={path}");
            let said = tell(&caller, &order).await;
            assert!(said.starts_with("200 "), "{class:?} {path}: {said}");
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(
                authorization(&seen).is_some(),
                lent,
                "{class:?} {method} {path}"
            );
            let rules: Vec<Rule> = stage.records().into_iter().map(|one| one.rule).collect();
            let expected = if lent {
                Rule::Granted
            } else {
                Rule::MethodRefused
            };
            assert_eq!(rules, [expected], "{class:?} {method} {path}");
        }
    }
}

#[tokio::test]
async fn a_new_value_is_used_for_the_next_request() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "api.example").await;
    let port = upstream.port();
    stage.dns.name("api.example", &["127.0.1.1"]);
    let grants = [grant(Protocol::Https, "api.example")];
    let caller = load(
        &stage,
        BOTH[0],
        &grants,
        vec![credential("api.example", port)],
    );
    let order = format!("do=fetch&authority=api.example:{port}");
    tell(&caller, &order).await;
    let host = HostName::parse("api.example").unwrap();
    let new = Credential::new(host, port, "Authorization", "Bearer {}", "the-next-token").unwrap();
    let effective = Arc::new(super::stage::effective(&grants, &grants));
    caller
        .refresh(
            effective,
            capability::Values::default(),
            Vec::new(),
            vec![new],
        )
        .unwrap();
    tell(&caller, &order).await;
    let seen = upstream.seen();
    assert_eq!(authorization(&seen[1]), Some("Bearer the-next-token"));
    assert_eq!(
        seen[0].connection, seen[1].connection,
        "the connection is the component's"
    );
}
