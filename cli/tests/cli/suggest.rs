//! `suggest` turns what was seen into exact rules, and says whom it was heard from.

use super::program::Home;

fn record(capability: &str, object: &str, rule: &str) -> String {
    let allowed = rule == "Granted";
    serde_json::json!({
        "time": "2026-11-21T10:00:00Z",
        "namespace": "shop",
        "component": "orders",
        "digest": "sha256:0",
        "node": "local",
        "capability": capability,
        "object": object,
        "allowed": allowed,
        "rule": rule,
    })
    .to_string()
        + "\n"
}

#[test]
fn what_was_used_and_denied_becomes_the_smallest_manifest_and_grant() {
    let home = Home::new();
    let audit = [
        record("file-read", "/data/in/a.csv", "Granted"),
        record("file-read", "/data/in/a.csv", "Granted"),
        record("file-read", "/data/in/b.csv", "NotGranted"),
        record(
            "file-write",
            "/data/out/a.csv",
            "AboveCeiling of CapabilityPolicy baseline",
        ),
        record("network", "HTTPS api.example.com:443", "NotRequested"),
        record(
            "network",
            "TCP db.shop.svc:5432 at 10.0.0.7",
            "PrivateAddress",
        ),
        record("environment", "LOG_LEVEL", "NotRequested"),
        record("spawn", "/tools/git", "Granted"),
        record("signal", "TERM /tools/git", "Granted"),
        record("lifecycle", "loaded", "Granted"),
    ];
    let file = home.write("audit.jsonl", audit.concat());
    let shown = home.run(&["suggest", &file]).success().stdout;
    insta::assert_snapshot!(shown, @r#"
    # shop/orders: 4 uses and 5 denials

    # ---- Component.toml
    # observed from untrusted code: read every line before you sign or apply it.
    [component]
    name = "orders"
    version = "0.1.0"  # yours to say

    [permissions.filesystem]
    readable_paths = [
        "/data/in/a.csv",
        "/data/in/b.csv",
    ]
    writable_paths = [
        "/data/out/a.csv",
    ]

    [permissions.network]
    allowed_hosts = [
        "https://api.example.com",
        "tcp://db.shop.svc:5432",
    ]

    [permissions.environment]
    variables = [
        "LOG_LEVEL",
    ]

    [permissions.process]
    spawn = [
        "/tools/git",
    ]
    signal = true

    # ---- WasmComponent
    # observed from untrusted code: read every line before you sign or apply it.
    spec:
      capabilities:
        filesystem:
        - {volume: data, mountPath: /data, read: ["/data/in/a.csv", "/data/in/b.csv"], write: ["/data/out/a.csv"]}
        network:
          outbound:
          - {host: api.example.com}
          - {host: db.shop.svc, port: 5432, protocol: TCP, reach: Private}
        process: {spawn: [/tools/git], signal: true}
      volumes:
      - {name: data, emptyDir: {sizeLimit: 64Mi}}
    "#);

    // What it proposes can be read by everything that reads such files.
    let proposed = home.run(&["suggest", &file, "-o", "json"]).success().json();
    let manifest = home.write("Component.toml", proposed[0]["manifest"].as_str().unwrap());
    home.run(&["check", &manifest]).success();
    let yaml = super::program::component("registry.example/orders:1")
        + proposed[0]["grant"].as_str().unwrap();
    home.run(&["check", &home.write("orders.yaml", yaml)])
        .success();
}

#[test]
fn nothing_that_a_guest_says_becomes_a_pattern() {
    let home = Home::new();
    let audit = [
        record("file-read", "/data/*", "NotGranted"),
        record("file-read", "/data/**", "NotGranted"),
        record("file-write", "/data/\\u{1b}[2J", "NotGranted"),
        record("network", "HTTPS *.example.com:443", "NotGranted"),
        record("environment", "*", "NotRequested"),
    ];
    let file = home.write("audit.jsonl", audit.concat());
    let proposed = home.run(&["suggest", &file, "-o", "json"]).success().json();
    let manifest = proposed[0]["manifest"].as_str().unwrap();
    assert!(!manifest.contains('*'), "{manifest}");
    assert!(!manifest.contains("permissions"), "{manifest}");
    assert!(proposed[0]["grant"].is_null(), "{proposed}");
    assert_eq!(proposed[0]["notes"].as_array().unwrap().len(), 5);
}

#[test]
fn what_nothing_can_grant_is_told_and_not_proposed() {
    let home = Home::new();
    let audit = [
        record("network", "HTTP 169.254.169.254:80", "SpecialAddress"),
        record("file-read", "/data/link", "LinkRefused"),
    ];
    let file = home.write("audit.jsonl", audit.concat());
    let shown = home.run(&["suggest", &file]).success().stdout;
    assert!(!shown.contains("allowed_hosts"), "{shown}");
    assert!(
        shown.contains(
            "# not covered: network HTTP 169.254.169.254:80: nothing grants it (SpecialAddress)"
        ),
        "{shown}"
    );
}

#[test]
fn one_component_of_many_can_be_asked_for() {
    let home = Home::new();
    let other = record("file-read", "/x/y", "NotGranted").replace("orders", "billing");
    let file = home.write(
        "audit.jsonl",
        record("file-read", "/data/a", "NotGranted") + &other,
    );
    let shown = home
        .run(&["suggest", &file, "--component", "shop/billing"])
        .success()
        .stdout;
    assert!(
        shown.contains("/x/y") && !shown.contains("/data/a"),
        "{shown}"
    );
    home.run(&["suggest", &file, "--component", "shop/none"])
        .fails(2, &["shop/none", "shop/billing, shop/orders"]);
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let home = Home::new();
    let file = home.write(
        "audit.jsonl",
        record("file-read", "/data/a", "NotGranted") + "{\"time\": 1}\n",
    );
    home.run(&["suggest", &file])
        .fails(3, &["audit.jsonl, line 2"]);
}
