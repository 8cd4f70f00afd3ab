//! However much a component asks for, the host holds only so much of it, and only so long.

use super::stage::{BOTH, Stage, grant, tell};
use super::upstream::Upstream;
use capability::Protocol;
use runtime::Config;
use std::time::{Duration, Instant};

fn short(config: &mut Config) {
    let network = &mut config.network;
    network.first_byte = Duration::from_millis(500);
    network.between_bytes = Duration::from_millis(500);
    network.connect = Duration::from_secs(1);
}

#[tokio::test]
async fn late_heads_stalled_bodies_and_big_heads_end_the_request() {
    let stage = Stage::with(short).await;
    let upstream = Upstream::http("127.0.1.1").await;
    let secure = Upstream::https("127.0.1.1", "api.example").await;
    stage.dns.name("api.example", &["127.0.1.1"]);
    let grants = [
        grant(Protocol::Http, "api.example"),
        grant(Protocol::Https, "api.example"),
    ];
    for class in BOTH {
        let caller = stage.load(class, &grants);
        for (scheme, port) in [("http", upstream.port()), ("https", secure.port())] {
            let fetch = |path: &str| {
                format!("do=fetch&scheme={scheme}&authority=api.example:{port}&path={path}")
            };
            let began = Instant::now();
            let said = tell(&caller, &fetch("/late")).await;
            assert_eq!(said, "http-response-timeout", "{class:?} {scheme}");
            assert!(began.elapsed() < Duration::from_secs(5));
            // The guest has what came; then the stream ends.
            let said = tell(&caller, &fetch("/stall")).await;
            assert!(said.starts_with("200 first"), "{class:?} {scheme}: {said}");
            let said = tell(&caller, &fetch("/big-head")).await;
            assert!(!said.starts_with("200"), "{class:?} {scheme}: {said}");
            assert_eq!(
                tell(&caller, &fetch("/")).await,
                "200 this is /\\n",
                "{class:?} {scheme}"
            );
        }
    }
}

#[tokio::test]
async fn requests_and_sockets_of_a_component_are_bounded_and_wait_their_turn() {
    let limits = |config: &mut Config| {
        config.network.in_flight = 4;
        config.network.sockets = 2;
    };
    let stage = Stage::with(limits).await;
    let upstream = Upstream::http("127.0.1.1").await;
    let caller = stage.load(BOTH[0], &[grant(Protocol::Http, "127.0.1.1")]);
    let authority = format!("127.0.1.1:{}", upstream.port());
    let order = format!("do=fetch&scheme=http&authority={authority}&path=/soon&times=8");
    let said = tell(&caller, &order).await;
    assert_eq!(said.matches("200 this is /soon").count(), 8, "{said}");
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

#[tokio::test]
async fn six_hundred_slow_names_hold_up_nobody() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    stage.dns.name("quick.example", &["127.0.1.1"]);
    let flooder = stage.load(BOTH[0], &[grant(Protocol::Http, "*.slow.example")]);
    let neighbour = stage.load(BOTH[0], &[grant(Protocol::Http, "quick.example")]);
    let mut orders = String::new();
    for number in 0..600 {
        let name = format!("n{number}.slow.example");
        stage.dns.silence(&name);
        orders += &format!("do=resolve&name={name}\n");
    }
    let flood = tokio::spawn(async move {
        // Twenty calls at once, thirty names each.
        let lines: Vec<_> = orders.lines().map(str::to_owned).collect();
        let calls = lines.chunks(30).map(|names| {
            let (flooder, names) = (std::sync::Arc::clone(&flooder), names.join("\n"));
            async move { tell(&flooder, &names).await }
        });
        let calls: Vec<_> = calls.collect();
        let _ =
            tokio::time::timeout(Duration::from_secs(3), futures::future::join_all(calls)).await;
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let order = format!(
        "do=fetch&scheme=http&authority=quick.example:{}",
        upstream.port()
    );
    assert_eq!(tell(&neighbour, &order).await, "200 this is /\\n");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    flood.await.unwrap();
    let asked = stage
        .dns
        .asked()
        .into_iter()
        .collect::<std::collections::HashSet<_>>();
    assert!(
        asked.len() <= 4 * 4 + 1,
        "only four at once are asked for: {}",
        asked.len()
    );
}

#[tokio::test]
async fn of_an_endless_answer_sixteen_addresses_are_taken() {
    let stage = Stage::new().await;
    let many: Vec<String> = (1..=40).map(|last| format!("127.0.1.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    stage.dns.name("many.example", &many);
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Tcp, "many.example")]);
        let said = tell(&caller, "do=resolve&name=many.example").await;
        assert_eq!(said.split(',').count(), 16, "{class:?} {said}");
    }
}

#[tokio::test]
async fn questions_are_bounded_by_the_second() {
    let stage = Stage::new().await;
    let grants = [grant(Protocol::Http, "*.example.com")];
    for class in BOTH {
        let caller = stage.load(class, &grants);
        let orders: String = (0..60)
            .map(|number| format!("do=resolve&name=n{number}.example.com\n"))
            .collect();
        let began = Instant::now();
        let said = tell(&caller, &orders).await;
        let asked = said
            .lines()
            .filter(|line| *line == "name-unresolvable")
            .count();
        let refused = said
            .lines()
            .filter(|line| *line == "temporary-resolver-failure")
            .count();
        assert_eq!(asked + refused, 60, "{class:?} {said}");
        let seconds = began.elapsed().as_secs() + 1;
        assert!(
            asked as u64 <= 20 * seconds,
            "{class:?} {asked} in {seconds} s"
        );
    }
}
