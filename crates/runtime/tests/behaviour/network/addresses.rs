//! A granted name leads to the addresses that its grant is for, whoever answers for it.

use super::stage::{BOTH, Stage, effective, grant, private, tell};
use super::upstream::Upstream;
use capability::{OutboundRule, Protocol, Rule};
use runtime::{Component, EngineClass};
use std::sync::Arc;

async fn fetch(caller: &Component, name: &str, port: u16) -> String {
    tell(
        caller,
        &format!("do=fetch&scheme=http&authority={name}:{port}"),
    )
    .await
}

fn rules(stage: &Stage) -> Vec<Rule> {
    let mut rules: Vec<Rule> = stage.denied().into_iter().map(|(_, rule)| rule).collect();
    rules.dedup();
    rules
}

#[tokio::test]
async fn no_name_leads_to_loopback_metadata_or_private_networks_in_any_disguise() {
    let stage = Stage::new().await;
    let forbidden = Upstream::http("127.0.0.1").await;
    let inside = Upstream::http("127.0.2.1").await;
    let api = |name: &str| grant(Protocol::Http, name);
    for (number, (address, expected)) in [
        ("127.0.0.1", Rule::SpecialAddress),
        ("169.254.169.254", Rule::SpecialAddress),
        ("100.100.100.200", Rule::SpecialAddress),
        ("0.0.0.0", Rule::SpecialAddress),
        ("10.96.0.1", Rule::PrivateAddress),
        ("127.0.2.1", Rule::PrivateAddress),
        ("::1", Rule::SpecialAddress),
        ("::ffff:127.0.0.1", Rule::SpecialAddress),
        ("::ffff:127.0.2.1", Rule::PrivateAddress),
        ("::127.0.0.1", Rule::SpecialAddress),
        ("64:ff9b::7f00:1", Rule::SpecialAddress),
        ("64:ff9b::a9fe:a9fe", Rule::SpecialAddress),
        ("64:ff9b:1::a00:1", Rule::PrivateAddress),
        ("2002:7f00:1::1", Rule::SpecialAddress),
        ("2001:0:101:101::80ff:fffe", Rule::SpecialAddress),
        ("2606:4700::5efe:7f00:1", Rule::SpecialAddress),
        ("fd00:ec2::254", Rule::SpecialAddress),
        ("fe80::1", Rule::SpecialAddress),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{number}.example");
        stage.dns.name(&name, &[address]);
        for class in BOTH {
            let caller = stage.load(class, &[api(&name)]);
            let said = fetch(&caller, &name, forbidden.port()).await;
            assert_eq!(said, "destination-ip-prohibited", "{class:?} {address}");
            let found = rules(&stage);
            assert_eq!(
                found.as_slice(),
                std::slice::from_ref(&expected),
                "{class:?} {address}"
            );
        }
    }
    assert_eq!((forbidden.connections(), inside.connections()), (0, 0));
}

#[tokio::test]
async fn private_networks_are_reached_where_grant_and_policy_say_so() {
    let stage = Stage::new().await;
    let inside = Upstream::http("127.0.2.1").await;
    stage.dns.name("db.shop.svc.cluster.local", &["127.0.2.1"]);
    let public = grant(Protocol::Http, "db.shop.svc");
    let wide = private(public.clone());
    let load =
        |class: EngineClass, grant: &OutboundRule, admitted: &OutboundRule| -> Arc<Component> {
            let layers = effective(std::slice::from_ref(grant), std::slice::from_ref(admitted));
            stage.load_with(class, &[], |workload| workload.effective = Arc::new(layers))
        };
    for class in BOTH {
        for (granted, admitted, expected) in [
            (&wide, &wide, "200 this is /\\n"),
            (&public, &wide, "destination-ip-prohibited"),
            (&wide, &public, "destination-ip-prohibited"),
        ] {
            let caller = load(class, granted, admitted);
            let said = fetch(&caller, "db.shop.svc", inside.port()).await;
            assert_eq!(said, expected, "{class:?}");
        }
    }
    let asked = stage.dns.asked();
    assert!(
        asked
            .iter()
            .all(|name| name == "db.shop.svc.cluster.local."),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_name_that_rebinds_is_judged_at_every_connection_by_what_was_answered() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    // The same port on loopback, where a second look at the name would lead.
    let trap = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    for class in BOTH {
        let name = format!("{}.rebind.example", class.name());
        stage.dns.name_in_turn(&name, &["127.0.1.1", "127.0.0.1"]);
        let caller = stage.load(class, &[grant(Protocol::Http, &name)]);
        // Its life was 0 seconds; it is kept for 5 all the same, and the address with it.
        for _ in 0..3 {
            assert_eq!(
                fetch(&caller, &name, port).await,
                "200 this is /\\n",
                "{class:?}"
            );
        }
        let caller = stage.load(class, &[grant(Protocol::Http, &name)]);
        assert_eq!(
            fetch(&caller, &name, port).await,
            "destination-ip-prohibited"
        );
    }
    let reached = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(reached.is_err(), "a guest got through to loopback");
}

#[tokio::test]
async fn of_several_addresses_only_those_that_may_be_reached_are_tried() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    let trap = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    // Nobody listens at the third.
    stage.dns.name(
        "mixed.example",
        &["127.0.0.1", "127.0.2.1", "127.0.1.9", "127.0.1.1"],
    );
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Http, "mixed.example")]);
        assert_eq!(
            fetch(&caller, "mixed.example", port).await,
            "200 this is /\\n",
            "{class:?}"
        );
        assert_eq!(rules(&stage), [Rule::SpecialAddress, Rule::PrivateAddress]);
    }
    let reached = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(reached.is_err(), "a guest got through to loopback");
}

#[tokio::test]
async fn names_are_absolute_so_that_no_namespace_can_stand_for_a_domain() {
    let stage = Stage::new().await;
    let pod = Upstream::http("127.0.2.1").await;
    let port = pod.port();
    // A pod `api` of a service `example` in a namespace `com`, as a search path would find it.
    for name in [
        "api.example.com.svc.cluster.local",
        "api.example.com.cluster.local",
    ] {
        stage.dns.name(name, &["127.0.2.1"]);
    }
    // A pod's address as a name, which a guest could choose.
    stage
        .dns
        .name("127-0-2-1.shop.pod.cluster.local", &["127.0.2.1"]);
    for class in BOTH {
        let caller = stage.load(
            class,
            &[
                private(grant(Protocol::Http, "api.example.com")),
                private(grant(Protocol::Http, "*.pod.cluster.local")),
            ],
        );
        assert_eq!(
            fetch(&caller, "api.example.com", port).await,
            "dns-error",
            "{class:?}"
        );
        let name = "127-0-2-1.shop.pod.cluster.local";
        assert_eq!(fetch(&caller, name, port).await, "dns-error", "{class:?}");
    }
    let asked = stage.dns.asked();
    assert!(
        asked.iter().all(|name| name == "api.example.com."),
        "{asked:?}"
    );
    assert_eq!(pod.connections(), 0);
}

#[tokio::test]
async fn agents_nodes_and_the_api_server_are_reached_by_nobody() {
    let stage = Stage::new().await;
    let agent = Upstream::http("127.0.1.7").await;
    let port = agent.port();
    stage.dns.name("agent.example", &["127.0.1.7"]);
    stage.dns.name("translated.example", &["64:ff9b::7f00:107"]);
    for class in BOTH {
        stage.runtime.block(Vec::new());
        let grants = [
            private(grant(Protocol::Http, "127.0.1.7")),
            private(grant(Protocol::Http, "agent.example")),
            private(grant(Protocol::Http, "translated.example")),
        ];
        let caller = stage.load(class, &grants);
        assert_eq!(
            fetch(&caller, "127.0.1.7", port).await,
            "200 this is /\\n",
            "{class:?}"
        );
        stage.runtime.block(vec!["127.0.1.7/32".parse().unwrap()]);
        let caller = stage.load(class, &grants);
        for name in ["127.0.1.7", "agent.example", "translated.example"] {
            let said = fetch(&caller, name, port).await;
            assert_eq!(said, "destination-ip-prohibited", "{class:?} {name}");
            assert_eq!(rules(&stage), [Rule::BlockedAddress], "{class:?} {name}");
        }
    }
}
