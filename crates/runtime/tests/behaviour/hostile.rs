//! Every attempt of `tests/hostile.md` is an ordinary error to the guest and a record to the
//! platform, and reaches nothing. The table is the test: a row is played as it is written.

use super::files::{Burglar, Directory, granted};
use super::network::dns::Dns;
use super::network::stage::{BOTH, Stage, grant, tell};
use super::network::upstream::Upstream;
use super::processes::{self, Workbench};
use capability::Protocol;
use runtime::{AuditRecord, Component, EngineClass, Mount};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

const TABLE: &str = include_str!("../../../../tests/hostile.md");
const SIZE_LIMIT: u64 = 64 * 1024;

/// A row of the first table.
struct Attempt<'a> {
    name: &'a str,
    guest: &'a str,
    orders: Vec<&'a str>,
    sees: &'a str,
    recorded: &'a str,
}

/// What there is to break into, beside what is granted.
struct Vault {
    house: Directory,
    outside: Directory,
}

/// Servers that nobody may reach, by the name that the table has for their port.
struct Servers(BTreeMap<&'static str, Upstream>);

fn attempts() -> Vec<Attempt<'static>> {
    let rows = TABLE.lines().filter_map(|line| {
        let cells: Vec<&str> = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split(" | ")
            .collect();
        let [name, guest, orders, sees, recorded] = cells.try_into().ok()?;
        let orders = orders.split(", ").collect();
        Some(Attempt {
            name,
            guest,
            orders,
            sees,
            recorded,
        })
    });
    rows.filter(|attempt| attempt.name != "attempt").collect()
}

impl Vault {
    fn new() -> Vault {
        let house = Directory::with(&[
            "input/a",
            "input/deep/b",
            "output/old",
            "private/key",
            "top",
        ]);
        let outside = Directory::with(&["secret"]);
        symlink(outside.path("secret"), house.path("input/link")).unwrap();
        let input = std::fs::File::open(house.path("input")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(&input, "pipe", mode).unwrap();
        Vault { house, outside }
    }

    fn mount(&self) -> Mount {
        Mount {
            size_limit: Some(SIZE_LIMIT),
            ..self.house.mount()
        }
    }

    /// Everything that could have been changed, but what may be written.
    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        content(self.house.path(""), &mut found);
        content(self.outside.path(""), &mut found);
        found.retain(|name, _| !name.ends_with("output/old"));
        found
    }
}

fn content(folder: impl AsRef<Path>, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().display().to_string();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            content(entry.path(), found);
            found.insert(name, Vec::new());
        } else if kind.is_file() {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        } else {
            found.insert(name, format!("{kind:?}").into_bytes());
        }
    }
}

impl Servers {
    async fn start(stage: &Stage) -> Servers {
        for (name, address) in [
            ("loopback", "127.0.0.1"),
            ("unspecified", "0.0.0.0"),
            ("loopback6", "::1"),
            ("mapped", "::ffff:127.0.0.1"),
            ("compatible", "::127.0.0.1"),
            ("nat64", "64:ff9b::7f00:1"),
            ("six-to-four", "2002:7f00:1::1"),
            ("teredo", "2001:0:101:101::80ff:fffe"),
            ("isatap", "2606:4700::5efe:7f00:1"),
            ("metadata", "169.254.169.254"),
            ("metadata-alibaba", "100.100.100.200"),
            ("metadata-aws", "fd00:ec2::254"),
            ("link-local", "fe80::1"),
            ("private", "127.0.2.1"),
            ("service", "10.96.0.1"),
            ("agent", "127.0.1.7"),
            ("a", "127.0.1.1"),
        ] {
            stage
                .dns
                .name(&format!("{name}.granted.example"), &[address]);
        }
        for name in ["other.example", "tls.example", "evilgranted.example"] {
            stage.dns.name(name, &["127.0.1.1"]);
        }
        stage.dns.name("db.example", &["127.0.0.1"]);
        stage.runtime.block(vec!["127.0.1.7/32".parse().unwrap()]);
        let mut servers = BTreeMap::new();
        for (name, address) in [
            ("loopback", "127.0.0.1"),
            ("private", "127.0.2.1"),
            ("agent", "127.0.1.7"),
            ("other", "127.0.1.1"),
        ] {
            servers.insert(name, Upstream::http(address).await);
        }
        Servers(servers)
    }

    fn connections(&self) -> usize {
        self.0.values().map(Upstream::connections).sum()
    }

    fn fill(&self, order: &str) -> String {
        self.0
            .iter()
            .fold(order.to_owned(), |order, (name, server)| {
                order.replace(&format!("{{{name}}}"), &server.port().to_string())
            })
    }
}

fn caller(stage: &Stage, class: EngineClass) -> Arc<Component> {
    stage.load(
        class,
        &[
            grant(Protocol::Http, "*.granted.example"),
            grant(Protocol::Https, "tls.example"),
            grant(Protocol::Tcp, "db.example"),
        ],
    )
}

fn is_granted(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.ends_with(".granted.example") || ["db.example", "tls.example"].contains(&name)
}

/// Names that were asked for and not granted.
fn strange(dns: &Dns) -> Vec<String> {
    let mut asked = dns.asked();
    asked.retain(|name| !is_granted(name));
    asked
}

/// `CAPABILITY RULE`, and the object or a part of it.
fn is_recorded(expected: &str, records: &[AuditRecord]) -> bool {
    let mut words = expected.splitn(3, ' ');
    let (capability, rule) = (words.next().unwrap(), words.next().unwrap());
    let object = words.next().unwrap_or_default();
    records.iter().any(|record| {
        !record.rule.allows()
            && format!("{:?}", record.capability) == capability
            && record.rule.label() == rule
            && record.object.contains(object)
    })
}

fn report(
    attempt: &Attempt<'_>,
    class: EngineClass,
    what: &str,
    records: &[AuditRecord],
) -> String {
    let records: Vec<String> = records
        .iter()
        .map(|record| {
            format!(
                "{:?} {} {}",
                record.capability,
                record.rule.label(),
                record.object
            )
        })
        .collect();
    format!(
        "{} ({class:?}): {what}; recorded: {records:?}",
        attempt.name
    )
}

#[tokio::test]
async fn every_attempt_on_files_is_an_ordinary_error_and_a_record_and_changes_nothing() {
    let mut wrong = Vec::new();
    for attempt in attempts().iter().filter(|attempt| attempt.guest == "files") {
        for class in BOTH {
            let vault = Vault::new();
            let effective = granted(&["/data/input/**"], &["/data/output/**"]);
            let burglar = Burglar::new(class, effective, vault.mount());
            let before = vault.content();
            let said = burglar.say(&attempt.orders).await;
            let records = burglar.records();
            if said.last().map(String::as_str) != Some(attempt.sees) {
                wrong.push(report(
                    attempt,
                    class,
                    &format!("it sees {said:?}"),
                    &records,
                ));
            } else if !is_recorded(attempt.recorded, &records) {
                wrong.push(report(attempt, class, "not recorded", &records));
            } else if vault.content() != before {
                wrong.push(report(attempt, class, "something has changed", &records));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_attempt_on_the_network_is_an_ordinary_error_and_a_record_and_reaches_nobody() {
    let stage = Stage::new().await;
    let servers = Servers::start(&stage).await;
    let mut wrong = Vec::new();
    for attempt in attempts()
        .iter()
        .filter(|attempt| attempt.guest == "caller")
    {
        for class in BOTH {
            let caller = caller(&stage, class);
            let mut said = String::new();
            for order in &attempt.orders {
                said = tell(&caller, &servers.fill(order)).await;
            }
            let records = stage.records();
            if said != attempt.sees {
                wrong.push(report(
                    attempt,
                    class,
                    &format!("it sees {said:?}"),
                    &records,
                ));
            } else if !is_recorded(attempt.recorded, &records) {
                wrong.push(report(attempt, class, "not recorded", &records));
            } else if servers.connections() > 0 || !strange(&stage.dns).is_empty() {
                wrong.push(report(attempt, class, "somebody was reached", &records));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_on_executables_is_an_ordinary_error_and_a_record_and_starts_nothing() {
    const GRANTED: &str = "/bin/true";
    let bench = Workbench::new();
    let mut wrong = Vec::new();
    for attempt in attempts()
        .iter()
        .filter(|attempt| attempt.guest == "starter")
    {
        let starter = bench.load(processes::only(GRANTED));
        let said = tell(&starter, &attempt.orders.join("\n")).await;
        let records = bench.records.take(usize::MAX);
        let started = bench.started();
        let class = EngineClass::SMALL;
        if said.lines().last() != Some(attempt.sees) {
            wrong.push(report(
                attempt,
                class,
                &format!("it sees {said:?}"),
                &records,
            ));
        } else if !is_recorded(attempt.recorded, &records) {
            wrong.push(report(attempt, class, "not recorded", &records));
        } else if started.iter().any(|executable| executable != GRANTED) {
            wrong.push(report(attempt, class, "something was started", &records));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
