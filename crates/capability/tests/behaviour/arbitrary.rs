//! Requests, grants and ceilings of every kind, over few names, so that they meet.

use capability::grant::{MountGrant, MountPoint, VolumeKind, VolumeSource};
use capability::{
    Allow, Ceiling, Destination, Effective, Grant, GuestPath, HostPattern, HostRequest,
    OutboundRule, PathGlob, Ports, ProcessRights, Protocol, Reach, Request,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::given::{glob, path};

fn segment() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "ab", "*", "a*", "*b", "a*b", "ab*ab"])
}

pub(crate) fn any_glob() -> impl Strategy<Value = PathGlob> {
    let segments = prop::collection::vec(segment(), 0..4);
    (segments, any::<bool>()).prop_map(|(segments, below)| {
        let mut text: String = segments
            .iter()
            .map(|segment| format!("/{segment}"))
            .collect();
        match (below, text.is_empty()) {
            (true, _) => text.push_str("/**"),
            (false, true) => text.push('/'),
            (false, false) => {}
        }
        glob(&text)
    })
}

pub(crate) fn any_path() -> impl Strategy<Value = GuestPath> {
    let names = select(vec!["a", "b", "ab", "aab", "abab", "x"]);
    prop::collection::vec(names, 0..5).prop_map(|names| path(&format!("/{}", names.join("/"))))
}

pub(crate) fn any_host() -> impl Strategy<Value = HostPattern> {
    select(vec![
        "x.y.z",
        "a.x.y.z",
        "b.a.x.y.z",
        "*.y.z",
        "*.x.y.z",
        "*.a.x.y.z",
        "y.z",
        "10.0.0.7",
    ])
    .prop_map(|text| text.parse().unwrap())
}

pub(crate) const HOSTS: [&str; 6] = ["x.y.z", "a.x.y.z", "b.a.x.y.z", "y.z", "q.y.z", "10.0.0.7"];
/// Every end of a range that the strategies make.
pub(crate) const PORTS: [u16; 6] = [1, 80, 443, 444, 5432, u16::MAX];

pub(crate) fn any_ports() -> impl Strategy<Value = Ports> {
    (select(PORTS.to_vec()), select(PORTS.to_vec()))
        .prop_map(|(one, other)| Ports::range(one.min(other), one.max(other)).unwrap())
}

pub(crate) fn any_protocol() -> impl Strategy<Value = Protocol> {
    select(Protocol::ALL.to_vec())
}

pub(crate) fn any_reach() -> impl Strategy<Value = Reach> {
    select(vec![Reach::Public, Reach::Private])
}

pub(crate) fn any_rule() -> impl Strategy<Value = OutboundRule> {
    let host = prop_oneof![7 => any_host(), 1 => Just("*".parse().unwrap())];
    (host, any_ports(), any_protocol(), any_reach()).prop_map(|(host, ports, protocol, reach)| {
        OutboundRule {
            host,
            ports,
            protocol,
            reach,
        }
    })
}

pub(crate) fn any_entry() -> impl Strategy<Value = HostRequest> {
    let protocol = prop::option::of(any_protocol());
    (any_host(), prop::option::of(any_ports()), protocol).prop_map(|(host, ports, protocol)| {
        let needs_port = matches!(protocol, Some(Protocol::Tcp | Protocol::Udp));
        HostRequest {
            host,
            ports: ports.or(needs_port.then_some(Ports::one(443))),
            protocol,
        }
    })
}

pub(crate) fn any_destination() -> impl Strategy<Value = Destination> {
    let (host, port) = (select(HOSTS.to_vec()), select(PORTS.to_vec()));
    (host, port, any_protocol()).prop_map(|(host, port, protocol)| Destination {
        host: host.parse().unwrap(),
        port,
        protocol,
    })
}

pub(crate) fn few<T: std::fmt::Debug>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..4)
}

pub(crate) const EXECUTABLES: [&str; 3] = ["/t/a", "/t/b", "/t/a/b"];

pub(crate) fn any_process() -> impl Strategy<Value = ProcessRights> {
    let executables = subsequence(EXECUTABLES.to_vec(), 0..=3);
    (executables, any::<bool>()).prop_map(|(executables, signal)| ProcessRights {
        spawn: executables.into_iter().map(path).collect(),
        signal,
    })
}

pub(crate) fn any_request() -> impl Strategy<Value = Request> {
    let optional = (any::<bool>(), any::<bool>());
    let lists = (few(any_glob()), few(any_glob()), few(any_entry()));
    (lists, optional, any_process()).prop_map(
        |((read, write, hosts), (files, connections), process)| {
            let mut request = Request::default();
            request.filesystem.read = read;
            request.filesystem.write = write;
            request.filesystem.optional = files;
            request.network.hosts = hosts;
            request.network.optional = connections;
            request.process.spawn = process.spawn;
            request.process.signal = process.signal;
            request
        },
    )
}

pub(crate) fn any_source() -> impl Strategy<Value = VolumeSource> {
    select(vec![
        VolumeSource::EmptyDir,
        VolumeSource::ConfigMap,
        VolumeSource::Secret,
        VolumeSource::HostPath(path("/srv/a")),
    ])
}

/// Mounts that do not overlap.
pub(crate) fn any_grant() -> impl Strategy<Value = Grant> {
    let mounts = subsequence(vec!["/a", "/b", "/ab/a"], 0..=3);
    let entries = (mounts, prop::collection::vec(any_source(), 3)).prop_map(|(paths, sources)| {
        let mount = |(at, source): (&str, VolumeSource)| MountPoint {
            volume: "v".to_owned(),
            source,
            path: path(at),
        };
        paths
            .into_iter()
            .zip(sources)
            .map(mount)
            .collect::<Vec<_>>()
    });
    let lists = prop::collection::vec((few(any_glob()), few(any_glob())), 3);
    (
        entries,
        lists,
        few(any_rule()),
        any_process(),
        any::<bool>(),
    )
        .prop_map(|(mounts, lists, outbound, process, listed)| match listed {
            false => Grant::Requested { mounts },
            true => Grant::Listed {
                filesystem: mounts
                    .into_iter()
                    .zip(lists)
                    .map(|(mount, (read, write))| MountGrant { mount, read, write })
                    .collect(),
                outbound,
                process,
            },
        })
}

pub(crate) fn any_ceiling() -> impl Strategy<Value = Ceiling> {
    let kinds = vec![
        VolumeKind::EmptyDir,
        VolumeKind::ConfigMap,
        VolumeKind::Secret,
        VolumeKind::HostPath,
    ];
    let host_paths = few(select(vec!["/srv/**", "/srv/a/**", "/srv/a", "/other/**"]));
    (
        subsequence(kinds, 1..=4),
        host_paths,
        few(any_rule()),
        any_process(),
        any::<bool>(),
        "[a-c]",
    )
        .prop_map(
            |(volumes, host_paths, outbound, process, instance_reuse, policy)| Ceiling {
                policy,
                allow: Allow {
                    volumes: volumes.into_iter().collect(),
                    host_paths: host_paths.into_iter().map(glob).collect(),
                    outbound,
                    process,
                    instance_reuse,
                },
                ..Ceiling::default()
            },
        )
}

pub(crate) fn any_effective() -> impl Strategy<Value = Effective> {
    let requests = prop::collection::vec(any_request(), 0..3);
    let ceilings = prop::collection::vec(any_ceiling(), 0..3);
    (requests, any_grant(), ceilings).prop_map(|(requests, grant, ceilings)| Effective {
        requests,
        grant,
        ceilings,
    })
}
