//! A hundred looping calls of one component do not starve the one call of another.

use crate::support::{HELLO, PROBE, eventually, get, load, small_config};
use capability::Span;
use runtime::{AuditSink, Config, Output, Runtime};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_hot_calls_leave_a_neighbour_its_share() {
    let config = Config {
        live_stores: 256,
        ..small_config()
    };
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap();
    let hot = load(&runtime, PROBE, |workload| {
        workload.limits.per_call.cpu_time = Span::seconds(10);
        workload.limits.per_call.timeout = Span::seconds(4);
    });
    let calm = load(&runtime, HELLO, |_| {});
    get(&calm, "/").await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let hot = hot.clone();
            tokio::spawn(async move { get(&hot, "/spin").await.reason() })
        })
        .collect();
    eventually("all of them loop", || hot.stats().live == 100).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut waits = Vec::new();
    for _ in 0..50 {
        let asked = Instant::now();
        get(&calm, "/").await;
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    // Fair between calls alone it would be a tick for each of the hundred, on two threads.
    assert!(
        waits[25] < Duration::from_millis(15),
        "half of the calls took more than {:?}",
        waits[25]
    );
    for call in calls {
        assert_eq!(call.await.unwrap(), "TimeoutExceeded");
    }
}
