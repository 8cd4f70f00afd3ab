//! Short ways to write what the tests judge.

use capability::{
    Allow, Ceiling, Destination, GuestPath, MountGrant, MountPoint, OutboundRule, PathGlob, Ports,
    Protocol, Reach, Request, VolumeKind, VolumeSource,
};

/// The manifest that issue and manual show.
pub(crate) const SAMPLE: &str = r#"[component]
name = "data-processor"
version = "1.0.0"

[resources.memory]
max_memory_bytes = 2097152  # 2MB

[permissions.filesystem]
readable_paths = [
    "/data/input/**",
]
writable_paths = [
    "/data/output/**",
]

[permissions.network]
allowed_hosts = [
    "api.example.com",
]
"#;

pub(crate) fn sample() -> Request {
    Request::from_toml(SAMPLE).unwrap()
}

/// A manifest with these sections after its `[component]`.
pub(crate) fn manifest(sections: &str) -> Request {
    let head = "[component]\nname = \"x\"\nversion = \"1.0.0\"\n";
    Request::from_toml(&format!("{head}{sections}")).unwrap()
}

pub(crate) fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

pub(crate) fn glob(text: &str) -> PathGlob {
    text.parse().unwrap()
}

pub(crate) fn globs(texts: &[&str]) -> Vec<PathGlob> {
    texts.iter().map(|text| glob(text)).collect()
}

pub(crate) fn mount(volume: &str, source: VolumeSource, at: &str) -> MountPoint {
    MountPoint {
        volume: volume.to_owned(),
        source,
        path: path(at),
    }
}

/// A grant of an `emptyDir` named `data` at `/data`.
pub(crate) fn data(read: &[&str], write: &[&str]) -> MountGrant {
    MountGrant {
        mount: mount("data", VolumeSource::EmptyDir, "/data"),
        read: globs(read),
        write: globs(write),
    }
}

pub(crate) fn rule(protocol: Protocol, host: &str, ports: &str, reach: Reach) -> OutboundRule {
    OutboundRule {
        host: host.parse().unwrap(),
        ports: ports.parse().unwrap(),
        protocol,
        reach,
    }
}

pub(crate) fn https(host: &str) -> OutboundRule {
    rule(Protocol::Https, host, "443", Reach::Public)
}

pub(crate) fn to(protocol: Protocol, host: &str, port: u16) -> Destination {
    Destination {
        host: host.parse().unwrap(),
        port,
        protocol,
    }
}

/// A ceiling of every kind of volume but `hostPath`, and HTTPS to everything below
/// `example.com`.
pub(crate) fn ceiling(policy: &str) -> Ceiling {
    Ceiling {
        policy: policy.to_owned(),
        allow: Allow {
            instance_reuse: false,
            volumes: [
                VolumeKind::EmptyDir,
                VolumeKind::ConfigMap,
                VolumeKind::Secret,
            ]
            .into(),
            host_paths: Vec::new(),
            outbound: vec![OutboundRule {
                ports: Ports::ANY,
                ..https("*.example.com")
            }],
            process: Default::default(),
        },
        ..Ceiling::default()
    }
}
