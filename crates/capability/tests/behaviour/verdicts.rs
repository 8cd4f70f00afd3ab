//! What a component may do at a call: all layers at once.

use capability::{
    Effective, Grant, HostName, PathRights, Protocol, Reach, Right, Rule, VolumeKind, VolumeSource,
};

use crate::given::{ceiling, data, https, manifest, mount, path, rule, sample, to};

fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

/// The sample under a ceiling that admits it, with more granted than it asks for.
fn effective() -> Effective {
    Effective {
        requests: vec![sample()],
        grant: Grant::Listed {
            filesystem: vec![data(&["/data/**"], &["/data/output/**", "/data/tmp/**"])],
            outbound: vec![https("api.example.com"), https("b.example.com")],
            process: Default::default(),
        },
        ceilings: vec![ceiling("tenants")],
    }
}

#[test]
fn a_path_has_the_rights_that_every_layer_gives() {
    let effective = effective();
    let rights = |text: &str| {
        let PathRights {
            traverse,
            read,
            write,
        } = effective.path(&path(text));
        [(traverse, 't'), (read, 'r'), (write, 'w')]
            .into_iter()
            .filter_map(|(has, letter)| has.then_some(letter))
            .collect::<String>()
    };
    for (text, wanted) in [
        ("/", ""),
        ("/data", "t"),
        ("/data/input", "tr"),
        ("/data/input/a/b", "tr"),
        ("/data/output/x", "tw"),
        ("/data/tmp/x", ""),
        ("/data/other", ""),
        ("/etc/passwd", ""),
    ] {
        assert_eq!(rights(text), wanted, "{text}");
    }
}

#[test]
fn a_denial_names_the_first_layer_without_the_right() {
    let mut effective = effective();
    let rule =
        |effective: &Effective, text: &str, right| effective.path_denied_by(&path(text), right);
    assert_eq!(
        rule(&effective, "/data/input/x", Right::Read),
        Rule::Granted
    );
    assert_eq!(
        rule(&effective, "/data/tmp/x", Right::Write),
        Rule::NotRequested
    );
    effective.requests.clear();
    assert_eq!(rule(&effective, "/data/tmp/x", Right::Write), Rule::Granted);
    assert_eq!(
        rule(&effective, "/data/input/x", Right::Write),
        Rule::NotGranted
    );
    assert_eq!(rule(&effective, "/etc", Right::Traverse), Rule::NotGranted);
    effective.ceilings[0]
        .allow
        .volumes
        .remove(&VolumeKind::EmptyDir);
    let policy = "tenants".to_owned();
    assert_eq!(
        rule(&effective, "/data/input/x", Right::Read),
        Rule::AboveCeiling { policy }
    );
    effective.ceilings.clear();
    assert_eq!(
        rule(&effective, "/data/input/x", Right::Read),
        Rule::NoCeiling
    );
}

#[test]
fn files_of_a_config_map_or_secret_are_never_written_to() {
    for source in [VolumeSource::ConfigMap, VolumeSource::Secret] {
        let mut grant = data(&["/data/**"], &["/data/**"]);
        grant.mount.source = source.clone();
        let mut effective = effective();
        effective.requests.clear();
        effective.grant = Grant::Listed {
            filesystem: vec![grant],
            outbound: Vec::new(),
            process: Default::default(),
        };
        let rights = effective.path(&path("/data/output/x"));
        assert!(rights.read && !rights.write);
        assert_eq!(
            effective.path_denied_by(&path("/data/output/x"), Right::Write),
            Rule::ReadOnlyVolume
        );
        effective.grant = Grant::Requested {
            mounts: vec![mount("data", source, "/data")],
        };
        effective.requests = vec![sample()];
        assert!(!effective.path(&path("/data/output/x")).write);
    }
}

#[test]
fn a_host_path_is_given_only_where_everything_below_it_is_admitted() {
    let mut effective = effective();
    effective.requests.clear();
    effective.grant = Grant::Requested {
        mounts: vec![mount(
            "spool",
            VolumeSource::HostPath(path("/var/lib/plant/spool")),
            "/data",
        )],
    };
    effective.requests = vec![sample()];
    let allow = |effective: &mut Effective, globs: &[&str]| {
        let allow = &mut effective.ceilings[0].allow;
        allow.volumes.insert(VolumeKind::HostPath);
        allow.host_paths = crate::given::globs(globs);
    };
    for (globs, given) in [
        (&[][..], false),
        (&["/var/lib/plant/spool"][..], false),
        (&["/var/lib/plant/*"][..], false),
        (&["/var/lib/plant/spool/**"][..], true),
        (&["/var/lib/plant/**"][..], true),
        (&["/var/lib/plant/spool/x/**"][..], false),
    ] {
        allow(&mut effective, globs);
        assert_eq!(
            effective.path(&path("/data/input/x")).read,
            given,
            "{globs:?}"
        );
    }
}

#[test]
fn a_connection_needs_every_layer() {
    let mut effective = effective();
    let https = |name: &str| to(Protocol::Https, name, 443);
    assert_eq!(
        effective.destination(&https("api.example.com")),
        Ok(Reach::Public)
    );
    assert_eq!(
        effective.destination(&https("b.example.com")),
        Err(Rule::NotRequested)
    );
    assert_eq!(
        effective.destination(&to(Protocol::Http, "api.example.com", 80)),
        Err(Rule::NotGranted)
    );
    assert_eq!(
        effective.destination(&to(Protocol::Tcp, "api.example.com", 443)),
        Err(Rule::NotRequested),
        "an HTTPS grant is no socket"
    );
    effective.ceilings.push(capability::Ceiling {
        policy: "strict".to_owned(),
        ..capability::Ceiling::default()
    });
    let policy = "strict".to_owned();
    assert_eq!(
        effective.destination(&https("api.example.com")),
        Err(Rule::AboveCeiling { policy })
    );
    effective.ceilings.clear();
    assert_eq!(
        effective.destination(&https("api.example.com")),
        Err(Rule::NoCeiling)
    );
}

#[test]
fn a_connection_reaches_as_far_as_the_nearest_layer() {
    let private = rule(Protocol::Https, "api.example.com", "443", Reach::Private);
    let mut effective = effective();
    let destination = to(Protocol::Https, "api.example.com", 443);
    effective.grant = Grant::Listed {
        filesystem: Vec::new(),
        outbound: vec![https("api.example.com"), private.clone()],
        process: Default::default(),
    };
    assert_eq!(effective.destination(&destination), Ok(Reach::Public));
    effective.ceilings[0].allow.outbound.push(private);
    assert_eq!(effective.destination(&destination), Ok(Reach::Private));
    effective.ceilings.push(ceiling("second"));
    assert_eq!(effective.destination(&destination), Ok(Reach::Public));
}

#[test]
fn what_is_requested_is_granted_under_the_ceiling_and_nothing_without_a_manifest() {
    let mut effective = effective();
    effective.grant = Grant::Requested {
        mounts: vec![mount("data", VolumeSource::EmptyDir, "/data")],
    };
    assert!(effective.path(&path("/data/input/x")).read);
    assert!(!effective.path(&path("/data/tmp/x")).any());
    let api = to(Protocol::Https, "api.example.com", 443);
    assert_eq!(effective.destination(&api), Ok(Reach::Public));
    assert_eq!(effective.host_may_resolve(&host("api.example.com")), Ok(()));

    effective.requests.clear();
    assert_eq!(effective.destination(&api), Err(Rule::NotGranted));
    assert_eq!(
        effective.host_may_resolve(&host("api.example.com")),
        Err(Rule::NotGranted)
    );
}

#[test]
fn a_name_is_looked_up_only_when_some_connection_to_it_is_open() {
    let mut effective = effective();
    let resolve = |effective: &Effective, name: &str| effective.host_may_resolve(&host(name));
    assert_eq!(resolve(&effective, "api.example.com"), Ok(()));
    assert_eq!(
        resolve(&effective, "b.example.com"),
        Err(Rule::NotRequested)
    );
    assert_eq!(
        resolve(&effective, "secret.api.example.com"),
        Err(Rule::NotRequested)
    );
    // Asked for by HTTP(S), granted as a socket: no connection is open, so no look-up is.
    effective.grant = Grant::Listed {
        filesystem: Vec::new(),
        outbound: vec![rule(Protocol::Tcp, "api.example.com", "443", Reach::Public)],
        process: Default::default(),
    };
    assert_eq!(
        resolve(&effective, "api.example.com"),
        Err(Rule::NotGranted)
    );
    effective.ceilings.clear();
    effective.grant = Grant::Listed {
        filesystem: Vec::new(),
        outbound: vec![https("api.example.com")],
        process: Default::default(),
    };
    assert_eq!(resolve(&effective, "api.example.com"), Err(Rule::NoCeiling));
}

#[test]
fn variables_are_seen_when_every_manifest_names_them() {
    let asking = |list: &str| manifest(&format!("[permissions.environment]\nvariables = {list}"));
    let mut effective = Effective::default();
    assert_eq!(effective.env("LOG_LEVEL"), Ok(()), "no manifest, no limit");
    effective.requests = vec![asking(r#"["LOG_LEVEL", "APP_*"]"#)];
    assert_eq!(effective.env("LOG_LEVEL"), Ok(()));
    assert_eq!(effective.env("APP_MODE"), Ok(()));
    assert_eq!(effective.env("LOG_LEVELS"), Err(Rule::NotRequested));
    effective.requests.push(asking(r#"["APP_*"]"#));
    assert_eq!(effective.env("LOG_LEVEL"), Err(Rule::NotRequested));
    effective.requests.push(sample());
    assert_eq!(effective.env("APP_MODE"), Err(Rule::NotRequested));
}

#[test]
fn the_layers_cross_to_a_worker_unchanged() {
    let mut effective = effective();
    effective.requests.push(manifest(
        "[permissions.process]\nspawn = [\"/bin/x\"]\n[resources.cpu]\nmax_time_ms = 7",
    ));
    let written = serde_json::to_string(&effective).unwrap();
    let read: Effective = serde_json::from_str(&written).unwrap();
    assert_eq!(read, effective);
    assert_eq!(
        serde_json::from_str::<Effective>("{}").unwrap(),
        Effective::default()
    );
}

#[test]
fn nothing_is_allowed_by_default() {
    let nothing = Effective::default();
    assert!(!nothing.path(&path("/data")).any());
    let api = to(Protocol::Https, "api.example.com", 443);
    assert_eq!(nothing.destination(&api), Err(Rule::NotGranted));
}
