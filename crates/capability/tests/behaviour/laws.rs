//! Laws that hold for all requests, grants and ceilings.

use std::collections::BTreeSet;

use capability::grant::VolumeSource;
use capability::request::VariablePattern;
use capability::{
    Addition, Ask, Ceiling, Destination, Effective, Grant, GuestPath, HostPattern, HostRequest,
    Limits, Mend, OutboundRule, PathGlob, Ports, ProcessRights, Protocol, Reach, Request, Right,
    approval_hash, increases, judge,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::{
    EXECUTABLES, HOSTS, PORTS, any_ceiling, any_destination, any_effective, any_entry, any_glob,
    any_path, any_request, any_rule, few,
};
use crate::given::path;

/// Paths that the glob matches, together: whoever matches all of them matches everything that
/// it does. What stands for a wildcard is in no other glob, and `**` goes deeper than any.
fn witnesses(glob: &PathGlob) -> Vec<GuestPath> {
    let text = glob.to_string();
    let (head, depths): (&str, &[&str]) = match text.strip_suffix("/**") {
        Some(head) => (head, &["", "/q", "/q/q/q/q/q"]),
        None => (&text, &[""]),
    };
    let filled = head.replace('*', "zqz");
    depths
        .iter()
        .map(|depth| path(&format!("/{filled}{depth}")))
        .collect()
}

/// The rule of the manual, read aloud: asked for by every manifest.
fn requested(requests: &[Request], path: &GuestPath, right: Right) -> bool {
    requests.iter().all(|request| {
        request.asks().any(|(ask, _)| match (ask, right) {
            (Ask::Read(glob), Right::Read) | (Ask::Write(glob), Right::Write) => glob.matches(path),
            _ => false,
        })
    })
}

/// Granted, in the volume that is mounted there.
fn granted(grant: &Grant, path: &GuestPath, right: Right) -> Option<VolumeSource> {
    match grant {
        Grant::Listed { filesystem, .. } => filesystem
            .iter()
            .find(|entry| {
                let globs = match right {
                    Right::Write => &entry.write,
                    _ => &entry.read,
                };
                path.is_within(&entry.mount.path) && globs.iter().any(|glob| glob.matches(path))
            })
            .map(|entry| entry.mount.source.clone()),
        Grant::Requested { mounts } => mounts
            .iter()
            .find(|mount| path.is_within(&mount.path))
            .map(|mount| mount.source.clone()),
    }
}

/// Admitted by every policy, and there is one.
fn admitted(ceilings: &[Ceiling], source: &VolumeSource) -> bool {
    let admits = |ceiling: &Ceiling| ceiling.allow.admits_volume(source);
    !ceilings.is_empty() && ceilings.iter().all(admits)
}

fn reversed(effective: &Effective) -> Effective {
    let mut other = effective.clone();
    other.requests.reverse();
    for request in &mut other.requests {
        request.filesystem.read.reverse();
        request.filesystem.write.reverse();
        request.network.hosts.reverse();
        request.process.spawn.reverse();
    }
    other.ceilings.reverse();
    for ceiling in &mut other.ceilings {
        ceiling.allow.host_paths.reverse();
        ceiling.allow.outbound.reverse();
        ceiling.allow.process.spawn.reverse();
    }
    match &mut other.grant {
        Grant::Listed {
            filesystem,
            outbound,
            process,
        } => {
            filesystem.reverse();
            process.spawn.reverse();
            outbound.reverse();
            for entry in filesystem {
                entry.read.reverse();
                entry.write.reverse();
            }
        }
        Grant::Requested { mounts } => mounts.reverse(),
    }
    other
}

fn executables() -> [GuestPath; 3] {
    EXECUTABLES.map(path)
}

/// More of everything that can be granted, in the mounts that are there.
fn widened(grant: &Grant, globs: &[PathGlob], rules: &[OutboundRule]) -> Grant {
    let mut grant = grant.clone();
    if let Grant::Listed {
        filesystem,
        outbound,
        process,
    } = &mut grant
    {
        process.signal = true;
        process.spawn.push(path(EXECUTABLES[0]));
        outbound.extend_from_slice(rules);
        for entry in filesystem {
            entry.read.extend_from_slice(globs);
            entry.write.extend_from_slice(globs);
        }
    }
    grant
}

const RIGHTS: [Right; 3] = [Right::Traverse, Right::Read, Right::Write];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_glob_covers_another_exactly_when_it_matches_all_that_it_matches(
        mine in any_glob(), theirs in any_glob(),
    ) {
        let matches_all = witnesses(&theirs).iter().all(|witness| mine.matches(witness));
        prop_assert_eq!(mine.covers(&theirs), matches_all, "{} {}", mine, theirs);
    }

    #[test]
    fn what_a_covering_glob_misses_nobody_matches(
        mine in any_glob(), theirs in any_glob(), path in any_path(),
    ) {
        prop_assert!(theirs.matches(&path) <= mine.matches(&path) || !mine.covers(&theirs));
        prop_assert!(mine.covers(&mine));
        prop_assert!(!(mine.matches(&path) && mine.has_ancestor(&path)));
    }

    #[test]
    fn everything_above_a_match_is_on_the_way_or_matched(glob in any_glob(), path in any_path()) {
        if glob.matches(&path) {
            let mut next = path.parent();
            while let Some(directory) = next {
                prop_assert!(glob.matches(&directory) || glob.has_ancestor(&directory));
                next = directory.parent();
            }
            prop_assert!(path.is_within(&glob.literal_prefix()));
        }
    }

    #[test]
    fn a_glob_reads_back_as_written(glob in any_glob()) {
        prop_assert_eq!(glob.to_string().parse::<PathGlob>().unwrap(), glob);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,24}|[/.*a]{0,12}") {
        let _ = text.parse::<PathGlob>();
        let _ = text.parse::<HostPattern>();
        let _ = text.parse::<HostRequest>();
        let _ = text.parse::<Ports>();
        let _ = text.parse::<VariablePattern>();
        if let Ok(path) = text.parse::<GuestPath>() {
            prop_assert_eq!(path.as_str().parse::<GuestPath>().unwrap(), path.clone());
            prop_assert!(path.segments().all(|name| !matches!(name, "" | "." | "..")));
        }
    }

    #[test]
    fn joining_stays_below_the_root(base in any_path(), relative in "[./ab]{0,12}") {
        if let Ok(path) = base.join(&relative) {
            prop_assert_eq!(path.as_str().parse::<GuestPath>().unwrap(), path.clone());
            if !relative.contains("..") {
                prop_assert!(path.is_within(&base));
            }
        }
    }

    #[test]
    fn a_rule_that_covers_another_permits_all_that_it_permits(
        mine in any_rule(), theirs in any_rule(), destination in any_destination(),
    ) {
        if mine.covers(&theirs) && theirs.matches(&destination) {
            prop_assert!(mine.matches(&destination) && mine.reach >= theirs.reach);
        }
        prop_assert!(mine.covers(&mine));
    }

    #[test]
    fn an_entry_that_covers_another_asks_for_all_that_it_asks_for(
        mine in any_entry(), theirs in any_entry(), destination in any_destination(),
    ) {
        if mine.covers(&theirs) && theirs.matches(&destination) {
            prop_assert!(mine.matches(&destination));
        }
        let alternatives = theirs.alternatives().any(|rule| rule.matches(&destination));
        prop_assert_eq!(alternatives, theirs.matches(&destination));
        prop_assert_eq!(theirs.to_string().parse::<HostRequest>().unwrap(), theirs);
    }

    #[test]
    fn a_path_has_exactly_the_rights_that_all_layers_give(
        effective in any_effective(), path in any_path(),
    ) {
        let rights = effective.path(&path);
        for right in [Right::Read, Right::Write] {
            let source = granted(&effective.grant, &path, right);
            let wanted = source.is_some_and(|source| {
                let read_only = matches!(source, VolumeSource::ConfigMap | VolumeSource::Secret);
                requested(&effective.requests, &path, right)
                    && admitted(&effective.ceilings, &source)
                    && !(right == Right::Write && read_only)
            });
            prop_assert_eq!(rights.has(right), wanted, "{:?} {}", right, path);
        }
        prop_assert!(rights.traverse || !(rights.read || rights.write));
        for right in RIGHTS {
            let rule = effective.path_denied_by(&path, right);
            prop_assert_eq!(rule.allows(), rights.has(right), "{:?}", rule);
        }
    }

    #[test]
    fn a_connection_is_open_exactly_when_all_layers_open_it(
        effective in any_effective(), destination in any_destination(),
    ) {
        let reach = effective.destination(&destination).ok();
        let widest = |rules: &[OutboundRule]| {
            rules.iter().filter(|rule| rule.matches(&destination)).map(|rule| rule.reach).max()
        };
        let asked = effective.requests.iter().all(|request| request.connects(&destination));
        let mut wanted = match &effective.grant {
            Grant::Listed { outbound, .. } => widest(outbound),
            Grant::Requested { .. } => (!effective.requests.is_empty()).then_some(Reach::Private),
        };
        wanted = wanted.filter(|_| asked && !effective.ceilings.is_empty());
        for ceiling in &effective.ceilings {
            wanted = wanted.min(widest(&ceiling.allow.outbound));
        }
        prop_assert_eq!(reach, wanted);
    }

    #[test]
    fn a_name_resolves_exactly_when_some_connection_to_it_is_open(
        effective in any_effective(), host in select(HOSTS.to_vec()),
    ) {
        let host: capability::HostName = host.parse().unwrap();
        let open = Protocol::ALL.into_iter().any(|protocol| {
            PORTS.into_iter().any(|port| {
                let destination = Destination { host: host.clone(), port, protocol };
                effective.destination(&destination).is_ok()
            })
        });
        prop_assert_eq!(effective.host_may_resolve(&host).is_ok(), open);
    }

    #[test]
    fn an_executable_starts_exactly_when_all_layers_let_it(
        effective in any_effective(), executable in select(EXECUTABLES.to_vec()),
    ) {
        let executable = path(executable);
        let asks = |ask: &Ask| {
            let of = |request: &Request| request.asks().any(|(asked, _)| asked == *ask);
            effective.requests.iter().all(of)
        };
        let granted = |by: fn(&ProcessRights, &GuestPath) -> bool| match effective.grant.process() {
            Some(process) => by(process, &executable),
            None => !effective.requests.is_empty(),
        };
        let admitted = |by: fn(&ProcessRights, &GuestPath) -> bool| {
            let ceilings = &effective.ceilings;
            !ceilings.is_empty() && ceilings.iter().all(|one| by(&one.allow.process, &executable))
        };
        let starts = |rights: &ProcessRights, it: &GuestPath| rights.spawn.iter().any(|one| one == it);
        let wanted = asks(&Ask::Spawn(executable.clone())) && granted(starts) && admitted(starts);
        prop_assert_eq!(effective.spawn(&executable).is_ok(), wanted);
        prop_assert_eq!(effective.executables().contains(&&executable), wanted);
        let signals = |rights: &ProcessRights, _: &GuestPath| rights.signal;
        let wanted = asks(&Ask::Signal) && granted(signals) && admitted(signals);
        prop_assert_eq!(effective.signal().is_ok(), wanted);
    }

    #[test]
    fn more_grant_never_means_less(
        effective in any_effective(), globs in few(any_glob()), rules in few(any_rule()),
        path in any_path(), destination in any_destination(),
    ) {
        let mut more = effective.clone();
        more.grant = widened(&effective.grant, &globs, &rules);
        for right in RIGHTS {
            prop_assert!(effective.path(&path).has(right) <= more.path(&path).has(right));
        }
        prop_assert!(effective.destination(&destination).ok() <= more.destination(&destination).ok());
        for executable in executables() {
            prop_assert!(effective.spawn(&executable).is_ok() <= more.spawn(&executable).is_ok());
        }
        prop_assert!(effective.signal().is_ok() <= more.signal().is_ok());
        let before: BTreeSet<String> = not_granted(&effective);
        prop_assert!(not_granted(&more).is_subset(&before));
    }

    #[test]
    fn a_further_manifest_or_policy_never_means_more(
        effective in any_effective(), request in any_request(), ceiling in any_ceiling(),
        path in any_path(), destination in any_destination(),
    ) {
        let mut less = effective.clone();
        // The first manifest is what `grant: Requested` grants, and the first policy what admits.
        if !less.requests.is_empty() {
            less.requests.push(request);
        }
        if !less.ceilings.is_empty() {
            less.ceilings.push(ceiling);
        }
        for right in RIGHTS {
            prop_assert!(less.path(&path).has(right) <= effective.path(&path).has(right));
        }
        prop_assert!(less.destination(&destination).ok() <= effective.destination(&destination).ok());
        for executable in executables() {
            prop_assert!(less.spawn(&executable).is_ok() <= effective.spawn(&executable).is_ok());
        }
        prop_assert!(less.signal().is_ok() <= effective.signal().is_ok());
    }

    #[test]
    fn order_does_not_matter(
        effective in any_effective(), path in any_path(), destination in any_destination(),
    ) {
        let other = reversed(&effective);
        prop_assert_eq!(effective.path(&path), other.path(&path));
        prop_assert_eq!(effective.destination(&destination).ok(), other.destination(&destination).ok());
        for executable in executables() {
            prop_assert_eq!(effective.spawn(&executable).ok(), other.spawn(&executable).ok());
        }
        let hash = |effective: &Effective| approval_hash("sha256:00", &effective.requests);
        prop_assert_eq!(hash(&effective), hash(&other));
        prop_assert_eq!(all_refusals(&effective), all_refusals(&other));
    }

    #[test]
    fn what_may_start_has_what_it_asks_for(
        effective in any_effective(), path in any_path(), destination in any_destination(),
    ) {
        let Effective { requests, grant, ceilings } = &effective;
        if judge(requests, grant, ceilings, &Limits::default()).is_empty() {
            for (ask, optional) in requests.iter().flat_map(Request::asks) {
                let by_all = requests
                    .iter()
                    .all(|request| request.asks().any(|(asked, _)| asked.covers(&ask)));
                if optional || !by_all {
                    continue;
                }
                match &ask {
                    Ask::Read(glob) if glob.matches(&path) => {
                        prop_assert!(effective.path(&path).read, "{} {}", ask, path);
                    }
                    Ask::Write(glob) if glob.matches(&path) => {
                        prop_assert!(effective.path(&path).write, "{} {}", ask, path);
                    }
                    Ask::Spawn(executable) => prop_assert_eq!(effective.spawn(executable), Ok(())),
                    Ask::Signal => prop_assert_eq!(effective.signal(), Ok(())),
                    Ask::Connect(entry) if entry.host.matches(&destination.host) => {
                        prop_assert_eq!(effective.host_may_resolve(&destination.host), Ok(()));
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn what_is_proposed_is_enough(effective in any_effective()) {
        let Effective { requests, grant, ceilings } = &effective;
        let limits = Limits::default();
        let Grant::Listed { mut filesystem, mut outbound, mut process } = grant.clone() else {
            return Ok(());
        };
        let mut hopeless = BTreeSet::new();
        for refusal in judge(requests, grant, ceilings, &limits) {
            match refusal.mend {
                Some(Mend::Component(Addition::Outbound(rule))) => outbound.push(rule),
                Some(Mend::Component(Addition::Spawn(executable))) => process.spawn.push(executable),
                Some(Mend::Component(Addition::Signal)) => process.signal = true,
                Some(Mend::Component(Addition::Mount { grant, .. })) => {
                    match filesystem.iter_mut().find(|entry| entry.mount == grant.mount) {
                        Some(entry) => {
                            entry.read.extend(grant.read);
                            entry.write.extend(grant.write);
                        }
                        None => filesystem.push(grant),
                    }
                }
                _ => {
                    hopeless.insert(refusal.subject);
                }
            }
        }
        for (at, entry) in filesystem.iter().enumerate() {
            let others = filesystem.iter().skip(at + 1);
            let mut overlaps = others.filter(|other| {
                let (mine, theirs) = (&entry.mount.path, &other.mount.path);
                mine.is_within(theirs) || theirs.is_within(mine)
            });
            prop_assert_eq!(overlaps.next(), None);
        }
        let mended = Effective {
            grant: Grant::Listed { filesystem, outbound, process },
            ..effective
        };
        prop_assert!(not_granted(&mended).is_subset(&hopeless));
    }

    #[test]
    fn what_covers_all_asks_is_no_increase(old in any_request(), new in any_request()) {
        prop_assert_eq!(increases(std::slice::from_ref(&old), std::slice::from_ref(&old)), []);
        let (old, new) = ([old], [new]);
        for increase in increases(&old, &new) {
            let capability::Increase::Asks(ask) = increase else {
                continue;
            };
            prop_assert!(old[0].asks().all(|(asked, _)| !asked.covers(&ask)));
        }
    }
}

/// What is refused because it is not granted.
fn not_granted(effective: &Effective) -> BTreeSet<String> {
    let Effective {
        requests,
        grant,
        ceilings,
    } = effective;
    judge(requests, grant, ceilings, &Limits::default())
        .into_iter()
        .filter(|refusal| refusal.kind == capability::RefusalKind::NotGranted)
        .map(|refusal| refusal.subject)
        .collect()
}

/// Everything that is refused. Of several policies any may be the one that is named.
fn all_refusals(effective: &Effective) -> BTreeSet<String> {
    let Effective {
        requests,
        grant,
        ceilings,
    } = effective;
    judge(requests, grant, ceilings, &Limits::default())
        .into_iter()
        .map(|refusal| format!("{:?} {}", refusal.kind, refusal.subject))
        .collect()
}
