//! Whether a component may start, and the YAML that would let it.

use capability::{
    Ceiling, Grant, Limits, Mend, OutboundRule, ProcessRights, Protocol, Reach, Refusal,
    RefusalKind, Request, VolumeKind, VolumeSource, judge,
};

use crate::given::{ceiling, data, https, manifest, mount, path, rule, sample};

pub(crate) fn listed(
    filesystem: Vec<capability::MountGrant>,
    outbound: Vec<OutboundRule>,
) -> Grant {
    Grant::Listed {
        filesystem,
        outbound,
        process: Default::default(),
    }
}

pub(crate) fn judged(requests: &[Request], grant: &Grant, ceilings: &[Ceiling]) -> Vec<Refusal> {
    judge(requests, grant, ceilings, &Limits::default())
}

pub(crate) fn kinds(refusals: &[Refusal]) -> Vec<(RefusalKind, &str)> {
    refusals
        .iter()
        .map(|refusal| (refusal.kind, refusal.subject.as_str()))
        .collect()
}

/// What the YAML says, as it would be pasted.
fn spec(yaml: &str) -> serde_json::Value {
    serde_saphyr::from_str(&format!("spec:\n{yaml}"))
        .unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

#[test]
fn the_sample_starts_with_what_it_asks_for() {
    let grant = listed(
        vec![data(&["/data/input/**"], &["/data/output/**"])],
        vec![https("api.example.com")],
    );
    assert_eq!(judged(&[sample()], &grant, &[ceiling("tenants")]), []);
}

#[test]
fn nothing_asked_and_nothing_granted_needs_no_policy() {
    assert_eq!(judged(&[], &Grant::default(), &[]), []);
    assert_eq!(judged(&[manifest("")], &Grant::default(), &[]), []);
    let requested = Grant::Requested { mounts: Vec::new() };
    assert_eq!(judged(&[manifest("")], &requested, &[]), []);
}

#[test]
fn what_is_not_granted_is_refused_with_the_yaml_that_grants_it() {
    let refusals = judged(&[sample()], &Grant::default(), &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [
            (RefusalKind::NotGranted, "read /data/input/**"),
            (RefusalKind::NotGranted, "write /data/output/**"),
            (RefusalKind::NotGranted, "connect api.example.com"),
        ]
    );
    assert_eq!(
        refusals[2].message,
        "the manifest asks to connect api.example.com, and spec.capabilities does not grant it: add it there, or write `optional = true` in its section of Component.toml if the component works without it"
    );
    let yaml = Refusal::component_yaml(&refusals).unwrap();
    assert_eq!(
        yaml,
        r#"  capabilities:
    filesystem:
    - {volume: data, mountPath: /data, read: ["/data/input/**"], write: ["/data/output/**"]}
    network:
      outbound:
      - {host: api.example.com}
  volumes:
  - {name: data, emptyDir: {sizeLimit: 64Mi}}
"#
    );
    let spec = &spec(&yaml)["spec"];
    assert_eq!(
        spec["capabilities"]["filesystem"][0]["read"][0],
        "/data/input/**"
    );
    assert_eq!(spec["volumes"][0]["emptyDir"]["sizeLimit"], "64Mi");
}

#[test]
fn a_mount_that_is_there_is_widened() {
    let grant = listed(
        vec![data(&["/data/x"], &[])],
        vec![https("api.example.com")],
    );
    let refusals = judged(&[sample()], &grant, &[ceiling("tenants")]);
    assert_eq!(
        Refusal::component_yaml(&refusals).unwrap(),
        r#"  capabilities:
    filesystem:
    - {volume: data, mountPath: /data, read: ["/data/x", "/data/input/**"], write: ["/data/output/**"]}
"#
    );
}

#[test]
fn a_new_mount_overlaps_none_that_is_there() {
    let mut taken = data(&[], &[]);
    taken.mount.path = path("/data/cache");
    let grant = listed(vec![taken], vec![https("api.example.com")]);
    let refusals = judged(&[sample()], &grant, &[ceiling("tenants")]);
    let yaml = Refusal::component_yaml(&refusals).unwrap();
    assert!(
        yaml.contains("{volume: data-input, mountPath: /data/input, read:"),
        "{yaml}"
    );

    let everything = manifest("[permissions.filesystem]\nreadable_paths = [\"/**\"]");
    for grant in [grant, Grant::default()] {
        let refusals = judged(
            std::slice::from_ref(&everything),
            &grant,
            &[ceiling("tenants")],
        );
        assert_eq!(refusals[0].mend, None, "nothing is mounted at `/`");
    }
}

#[test]
fn a_new_volume_has_a_name_of_its_own() {
    let mut taken = data(&[], &[]);
    taken.mount.path = path("/elsewhere");
    let grant = listed(vec![taken], vec![https("api.example.com")]);
    let refusals = judged(&[sample()], &grant, &[ceiling("tenants")]);
    let yaml = Refusal::component_yaml(&refusals).unwrap();
    assert!(
        yaml.contains("{volume: data-2, mountPath: /data,"),
        "{yaml}"
    );
    assert!(yaml.contains("{name: data-2, emptyDir:"), "{yaml}");
}

#[test]
fn a_grant_that_covers_only_a_part_is_no_grant() {
    for read in [
        &["/data/input/*"][..],
        &["/data/input/a/**", "/data/input/b/**"],
    ] {
        let grant = listed(
            vec![data(read, &["/data/**"])],
            vec![https("api.example.com")],
        );
        let refusals = judged(&[sample()], &grant, &[ceiling("tenants")]);
        assert_eq!(
            kinds(&refusals),
            [(RefusalKind::NotGranted, "read /data/input/**")]
        );
    }
    let wide = manifest("[permissions.network]\nallowed_hosts = [\"*.example.com\"]");
    let grant = listed(Vec::new(), vec![https("api.example.com")]);
    let refusals = judged(&[wide], &grant, &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::NotGranted, "connect *.example.com")]
    );
}

#[test]
fn one_way_to_a_host_is_enough() {
    let asking = |host: &str| {
        manifest(&format!(
            "[permissions.network]\nallowed_hosts = [{host:?}]"
        ))
    };
    let http = rule(Protocol::Http, "a.example.com", "80", Reach::Public);
    let tcp = rule(Protocol::Tcp, "db.internal", "5432", Reach::Private);
    let admits_all = Ceiling {
        allow: capability::Allow {
            outbound: vec![http.clone(), tcp.clone()],
            ..ceiling("tenants").allow
        },
        ..ceiling("tenants")
    };
    let ceilings = [admits_all];
    let grant = listed(Vec::new(), vec![http, tcp]);
    assert_eq!(judged(&[asking("a.example.com")], &grant, &ceilings), []);
    assert_eq!(judged(&[asking("db.internal:5432")], &grant, &ceilings), []);
    assert_eq!(
        judged(&[asking("https://a.example.com")], &grant, &ceilings).len(),
        1
    );
    assert_eq!(
        judged(&[asking("udp://db.internal:5432")], &grant, &ceilings).len(),
        1
    );
}

#[test]
fn the_yaml_says_what_is_not_the_default() {
    for (host, entry) in [
        ("*.example.com", r#"- {host: "*.example.com"}"#),
        (
            "http://a.example.com",
            "- {host: a.example.com, protocol: HTTP}",
        ),
        ("a.example.com:8443", "- {host: a.example.com, port: 8443}"),
        (
            "tcp://a.example.com:1-9",
            r#"- {host: a.example.com, port: "1-9", protocol: TCP}"#,
        ),
        (
            "tcp://10.0.0.7:502",
            r#"- {host: "10.0.0.7", port: 502, protocol: TCP, reach: Private}"#,
        ),
        (
            "db.shop.svc:5432",
            "- {host: db.shop.svc, port: 5432, reach: Private}",
        ),
    ] {
        let request = manifest(&format!(
            "[permissions.network]\nallowed_hosts = [{host:?}]"
        ));
        let refusals = judged(&[request], &Grant::default(), &[ceiling("tenants")]);
        let yaml = refusals[0].mend.as_ref().unwrap().yaml();
        assert!(yaml.ends_with(&format!("      {entry}\n")), "{yaml}");
        spec(&yaml);
    }
}

#[test]
fn what_is_optional_is_not_missed() {
    let request = manifest(
        "[permissions.network]\nallowed_hosts = [\"a.example.com\"]\noptional = true\n[permissions.messaging]\npublish = [\"x\"]\noptional = true",
    );
    assert_eq!(judged(&[request], &Grant::default(), &[]), []);
}

#[test]
fn what_nothing_here_can_give_is_refused_by_name() {
    for (sections, subject) in [
        (
            "[permissions.filesystem]\nexecutable_paths = [\"/bin/x\"]",
            "execute /bin/x",
        ),
        ("[permissions.network]\ninbound = [5000]", "listen 5000"),
        (
            "[permissions.storage]\nreadable_buckets = [\"b\"]",
            "read bucket b",
        ),
        (
            "[permissions.storage]\nwritable_buckets = [\"b\"]",
            "write bucket b",
        ),
        (
            "[permissions.messaging]\nsubscribe = [\"t\"]",
            "subscribe t",
        ),
        (
            "[permissions.components]\nimports = [\"a:b/c\"]",
            "import a:b/c",
        ),
    ] {
        let refusals = judged(&[manifest(sections)], &Grant::default(), &[ceiling("t")]);
        assert_eq!(kinds(&refusals), [(RefusalKind::NotSupported, subject)]);
        assert!(
            refusals[0]
                .message
                .contains("leave it out of Component.toml"),
            "{}",
            refusals[0].message
        );
    }
}

#[test]
fn an_executable_is_refused_with_the_yaml_that_grants_it() {
    let request = manifest("[permissions.process]\nspawn = [\"/tools/git\"]\nsignal = true");
    let requests = [request];
    let refusals = judged(&requests, &Grant::default(), &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [
            (RefusalKind::NotGranted, "spawn /tools/git"),
            (RefusalKind::NotGranted, "signal"),
        ]
    );
    let yaml = Refusal::component_yaml(&refusals).unwrap();
    let process = "process: {spawn: [/tools/git], signal: true}\n";
    assert_eq!(yaml, format!("  capabilities:\n    {process}"));
    spec(&yaml);

    let rights = ProcessRights {
        spawn: vec![path("/tools/git")],
        signal: true,
    };
    let Grant::Listed {
        filesystem,
        outbound,
        ..
    } = Grant::default()
    else {
        panic!("it lists");
    };
    let granted = Grant::Listed {
        filesystem,
        outbound,
        process: rights.clone(),
    };
    let requested = Grant::Requested { mounts: Vec::new() };
    for grant in [&granted, &requested] {
        let refusals = judged(&requests, grant, &[ceiling("tenants")]);
        assert_eq!(
            kinds(&refusals),
            [
                (RefusalKind::AboveCeiling, "spawn /tools/git"),
                (RefusalKind::AboveCeiling, "signal"),
            ]
        );
        let yaml = refusals[0].mend.as_ref().unwrap().yaml();
        assert_eq!(yaml, "  allow:\n    process: {spawn: [/tools/git]}\n");
        let mut admits = ceiling("tenants");
        admits.allow.process = rights.clone();
        assert_eq!(judged(&requests, grant, &[admits]), []);
        assert!(
            !judged(&requests, grant, &[]).is_empty(),
            "no policy admits nothing"
        );
    }
}

#[test]
fn a_grant_above_a_ceiling_is_refused_by_the_policy_name_and_its_yaml() {
    let spool = VolumeSource::HostPath(path("/var/lib/spool"));
    let mut files = data(&["/data/**"], &[]);
    files.mount.source = spool;
    let grant = listed(vec![files], vec![https("api.example.org")]);
    let refusals = judged(&[], &grant, &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [
            (RefusalKind::AboveCeiling, "volume data (hostPath)"),
            (RefusalKind::AboveCeiling, "HTTPS api.example.org:443"),
        ]
    );
    assert!(
        refusals[0]
            .message
            .starts_with("CapabilityPolicy tenants does not admit volume data")
    );
    let yaml: Vec<String> = refusals
        .iter()
        .map(|refusal| match &refusal.mend {
            Some(mend @ Mend::Policy(policy, _)) if policy == "tenants" => mend.yaml(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        yaml[0],
        "  allow:\n    volumes:\n    - hostPath\n    hostPaths:\n    - \"/var/lib/spool/**\"\n"
    );
    assert_eq!(
        yaml[1],
        "  allow:\n    network:\n      outbound:\n      - {host: api.example.org}\n"
    );
    assert_eq!(Refusal::component_yaml(&refusals), None);
}

#[test]
fn every_policy_has_its_say() {
    let grant = listed(Vec::new(), vec![https("api.example.com")]);
    let strict = Ceiling {
        policy: "strict".to_owned(),
        ..Ceiling::default()
    };
    let refusals = judged(&[], &grant, &[ceiling("tenants"), strict]);
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].message.contains("CapabilityPolicy strict"));
}

#[test]
fn without_a_policy_nothing_can_be_granted() {
    let requested = Grant::Requested { mounts: Vec::new() };
    for (requests, grant) in [
        (vec![], listed(Vec::new(), vec![https("api.example.com")])),
        (vec![], listed(vec![data(&[], &[])], Vec::new())),
        (vec![sample()], requested),
    ] {
        let refusals = judged(&requests, &grant, &[]);
        assert!(
            refusals
                .iter()
                .any(|refusal| refusal.kind == RefusalKind::AboveCeiling
                    && refusal
                        .message
                        .contains("no CapabilityPolicy with mode: Enforce")),
            "{refusals:?}"
        );
    }
}

#[test]
fn a_manifest_can_be_required() {
    let strict = Ceiling {
        require_manifest: true,
        ..ceiling("tenants")
    };
    let refusals = judged(&[], &Grant::default(), std::slice::from_ref(&strict));
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::ManifestRequired, "manifest")]
    );
    assert!(
        refusals[0]
            .message
            .contains("CapabilityPolicy tenants requires one")
    );
    assert_eq!(judged(&[manifest("")], &Grant::default(), &[strict]), []);

    let requested = Grant::Requested { mounts: Vec::new() };
    let refusals = judged(&[], &requested, &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::ManifestRequired, "manifest")]
    );
}

#[test]
fn all_that_is_requested_is_granted_where_the_policies_admit_it() {
    let grant = Grant::Requested {
        mounts: vec![mount("data", VolumeSource::EmptyDir, "/data")],
    };
    assert_eq!(judged(&[sample()], &grant, &[ceiling("tenants")]), []);

    let nowhere = Grant::Requested { mounts: Vec::new() };
    let refusals = judged(&[sample()], &nowhere, &[ceiling("tenants")]);
    assert_eq!(
        Refusal::component_yaml(&refusals).unwrap(),
        "  capabilities:\n    grant: Requested\n    filesystem:\n    - {volume: data, mountPath: /data}\n  volumes:\n  - {name: data, emptyDir: {sizeLimit: 64Mi}}\n"
    );

    let foreign = manifest("[permissions.network]\nallowed_hosts = [\"example.org\"]");
    let refusals = judged(&[foreign], &nowhere, &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::AboveCeiling, "connect example.org")]
    );
}

#[test]
fn what_one_manifest_leaves_out_is_not_asked_for() {
    let attested = manifest("[permissions.network]\nallowed_hosts = [\"*.example.com\"]");
    let grant = listed(Vec::new(), vec![https("api.example.com")]);
    let requests = [sample(), attested];
    assert_eq!(judged(&requests, &grant, &[ceiling("tenants")]), []);
    let refusals = judged(&requests, &Grant::default(), &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::NotGranted, "connect api.example.com")]
    );
}

#[test]
fn a_volume_that_cannot_be_written_to_is_not_granted_for_writing() {
    let mut files = data(&["/data/input/**"], &["/data/output/**"]);
    files.mount.source = VolumeSource::ConfigMap;
    let grant = listed(vec![files], vec![https("api.example.com")]);
    let refusals = judged(&[sample()], &grant, &[ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [
            (RefusalKind::NotGranted, "write /data/output/**"),
            (RefusalKind::NotSupported, "write /data"),
        ]
    );
    assert_eq!(refusals[0].mend, None);
}

#[test]
fn a_kind_of_volume_is_named_as_in_yaml() {
    let names = [
        VolumeKind::EmptyDir,
        VolumeKind::ConfigMap,
        VolumeKind::Secret,
        VolumeKind::HostPath,
    ]
    .map(|kind| (serde_json::to_value(kind).unwrap(), kind.name()));
    assert!(names.iter().all(|(written, name)| written == name));
}
