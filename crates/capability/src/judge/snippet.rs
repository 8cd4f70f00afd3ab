//! The YAML that mends a refusal, to be pasted under `spec:`.
//!
//! Written by hand and in the short flow style of the documentation, so that what a person is
//! shown is what a person would write. Called by [`super`].

use std::fmt::Write as _;
use std::iter;

use super::Addition;
use crate::grant::{Grant, MountGrant, MountPoint, VolumeSource};
use crate::outbound::{OutboundRule, Reach};
use crate::path::{GuestPath, PathGlob};

/// A size limit to begin with, for a proposed `emptyDir`.
const PROPOSED_SIZE: &str = "64Mi";
/// Kubernetes: characters of a volume's name.
const VOLUME_NAME_MAX: usize = 63;
/// Characters for a number behind it.
const SUFFIX_MAX: usize = 4;

/// Additions to the spec of a component.
pub(super) fn component(additions: &[&Addition]) -> String {
    let mounts = merged(additions);
    let outbound: Vec<String> = unique(additions.iter().filter_map(|addition| match addition {
        Addition::Outbound(rule) => Some(connection(rule)),
        _ => None,
    }));
    let process = process(additions);
    let mut yaml = String::new();
    let listed = mounts.iter().any(|(_, _, listed)| !listed);
    if !mounts.is_empty() || !outbound.is_empty() || process.is_some() {
        line(&mut yaml, 1, "capabilities:");
    }
    if listed {
        line(&mut yaml, 2, "grant: Requested");
    }
    if !mounts.is_empty() {
        line(&mut yaml, 2, "filesystem:");
        for (grant, _, listed) in &mounts {
            line(&mut yaml, 2, &mount_entry(grant, *listed));
        }
    }
    if !outbound.is_empty() {
        line(&mut yaml, 2, "network:");
        line(&mut yaml, 3, "outbound:");
        for entry in &outbound {
            line(&mut yaml, 3, entry);
        }
    }
    if let Some(process) = &process {
        line(&mut yaml, 2, process);
    }
    if mounts.iter().any(|(_, new_volume, _)| *new_volume) {
        line(&mut yaml, 1, "volumes:");
        for (grant, _, _) in mounts.iter().filter(|(_, new_volume, _)| *new_volume) {
            let name = &grant.mount.volume;
            let entry = format!("- {{name: {name}, emptyDir: {{sizeLimit: {PROPOSED_SIZE}}}}}");
            line(&mut yaml, 1, &entry);
        }
    }
    resources(&mut yaml, additions);
    yaml
}

/// Additions to the spec of a CapabilityPolicy.
pub(super) fn policy(additions: &[&Addition]) -> String {
    let mut yaml = String::new();
    line(&mut yaml, 1, "allow:");
    for addition in additions {
        match addition {
            Addition::Volume(source) => {
                line(&mut yaml, 2, "volumes:");
                line(&mut yaml, 2, &format!("- {}", source.kind()));
                if let VolumeSource::HostPath(path) = source {
                    line(&mut yaml, 2, "hostPaths:");
                    let below = quoted(&PathGlob::below(path).to_string());
                    line(&mut yaml, 2, &format!("- {below}"));
                }
            }
            Addition::Outbound(rule) => {
                line(&mut yaml, 2, "network:");
                line(&mut yaml, 3, "outbound:");
                line(&mut yaml, 3, &connection(rule));
            }
            Addition::InstanceReuse => line(&mut yaml, 2, "instanceReuse: true"),
            Addition::Mount { .. }
            | Addition::Limit { .. }
            | Addition::Spawn(_)
            | Addition::Signal => {}
        }
    }
    if let Some(process) = process(additions) {
        line(&mut yaml, 2, &process);
    }
    yaml
}

/// The entry of `capabilities.filesystem` that would grant the glob: that of the volume which
/// is mounted there, widened, or one for a new volume. None when no place is free for one.
pub(super) fn mount_for(glob: &PathGlob, writes: bool, grant: &Grant) -> Option<Addition> {
    let widen = |mut entry: MountGrant| {
        let list = if writes {
            &mut entry.write
        } else {
            &mut entry.read
        };
        list.push(glob.clone());
        entry
    };
    let holds = |mount: &&MountPoint| PathGlob::below(&mount.path).covers(glob);
    if grant.mounts().any(|mount| holds(&mount)) {
        let Grant::Listed { filesystem, .. } = grant else {
            return None;
        };
        let entry = filesystem.iter().find(|entry| holds(&&entry.mount))?;
        // What cannot be written to needs another volume, which only its author can choose.
        if writes && super::is_read_only(entry.mount.source.kind()) {
            return None;
        }
        return Some(Addition::Mount {
            grant: widen(entry.clone()),
            new_volume: false,
            listed: true,
        });
    }
    let path = free_directory(glob, grant)?;
    let listed = matches!(grant, Grant::Listed { .. });
    let mount = MountPoint {
        volume: volume_name(&path, grant),
        source: VolumeSource::EmptyDir,
        path,
    };
    let entry = MountGrant {
        mount,
        read: Vec::new(),
        write: Vec::new(),
    };
    Some(Addition::Mount {
        grant: widen(entry),
        new_volume: true,
        listed,
    })
}

/// The highest directory on the way to the glob that overlaps no mount. Nothing is mounted
/// at `/`.
fn free_directory(glob: &PathGlob, grant: &Grant) -> Option<GuestPath> {
    let deepest = glob.literal_prefix();
    let mut directories: Vec<GuestPath> = Vec::new();
    let mut next = Some(deepest);
    while let Some(path) = next {
        next = path.parent();
        directories.push(path);
    }
    let root = GuestPath::root();
    directories.reverse();
    directories
        .into_iter()
        .filter(|path| *path != root)
        .find(|path| {
            grant
                .mounts()
                .all(|mount| !mount.path.is_within(path) && !path.is_within(&mount.path))
        })
}

/// A name after the path that no mounted volume has.
fn volume_name(path: &GuestPath, grant: &Grant) -> String {
    let name: String = path
        .as_str()
        .chars()
        .map(|character| match character {
            'a'..='z' | '0'..='9' => character,
            'A'..='Z' => character.to_ascii_lowercase(),
            _ => '-',
        })
        .take(VOLUME_NAME_MAX - SUFFIX_MAX)
        .collect();
    let name = match name.trim_matches('-') {
        "" => "data",
        name => name,
    };
    let free = |name: &String| grant.mounts().all(|mount| mount.volume != *name);
    iter::once(name.to_owned())
        .chain((2..).map(|number: usize| format!("{name}-{number}")))
        .find(free)
        .unwrap_or_else(|| name.to_owned())
}

/// One entry for each mounted volume, with all that is to be added to it.
fn merged(additions: &[&Addition]) -> Vec<(MountGrant, bool, bool)> {
    let mut mounts: Vec<(MountGrant, bool, bool)> = Vec::new();
    for addition in additions {
        let Addition::Mount {
            grant,
            new_volume,
            listed,
        } = addition
        else {
            continue;
        };
        match mounts
            .iter_mut()
            .find(|(known, ..)| known.mount == grant.mount)
        {
            None => mounts.push((grant.clone(), *new_volume, *listed)),
            Some((known, ..)) => {
                add(&mut known.read, &grant.read);
                add(&mut known.write, &grant.write);
            }
        }
    }
    mounts
}

fn add(list: &mut Vec<PathGlob>, more: &[PathGlob]) {
    for glob in more {
        if !list.contains(glob) {
            list.push(glob.clone());
        }
    }
}

fn mount_entry(grant: &MountGrant, listed: bool) -> String {
    let MountPoint { volume, path, .. } = &grant.mount;
    let mut entry = format!(
        "- {{volume: {volume}, mountPath: {}",
        quoted_if_needed(path.as_str())
    );
    for (key, globs) in [("read", &grant.read), ("write", &grant.write)] {
        if listed && !globs.is_empty() {
            let globs: Vec<String> = globs.iter().map(|glob| quoted(&glob.to_string())).collect();
            let _ = write!(entry, ", {key}: [{}]", globs.join(", "));
        }
    }
    entry.push('}');
    entry
}

/// The field `process` with all that is to be added to it.
fn process(additions: &[&Addition]) -> Option<String> {
    let executables = unique(additions.iter().filter_map(|addition| match addition {
        Addition::Spawn(executable) => Some(quoted_if_needed(executable.as_str())),
        _ => None,
    }));
    let signal = additions
        .iter()
        .any(|addition| matches!(addition, Addition::Signal));
    let spawn = (!executables.is_empty()).then(|| format!("spawn: [{}]", executables.join(", ")));
    let members: Vec<String> = spawn
        .into_iter()
        .chain(signal.then(|| "signal: true".to_owned()))
        .collect();
    (!members.is_empty()).then(|| format!("process: {{{}}}", members.join(", ")))
}

fn connection(rule: &OutboundRule) -> String {
    let mut entry = format!("- {{host: {}", quoted_if_needed(&rule.host.to_string()));
    if rule.protocol.default_ports() != Some(rule.ports) {
        let ports = rule.ports;
        match ports.first() == ports.last() {
            true => {
                let _ = write!(entry, ", port: {ports}");
            }
            false => {
                let _ = write!(entry, ", port: {}", quoted(&ports.to_string()));
            }
        }
    }
    if rule.protocol != crate::Protocol::default() {
        let _ = write!(entry, ", protocol: {}", rule.protocol);
    }
    if rule.reach != Reach::default() {
        let _ = write!(entry, ", reach: {}", rule.reach);
    }
    entry.push('}');
    entry
}

fn resources(yaml: &mut String, additions: &[&Addition]) {
    let limits: Vec<(&str, &str, &str)> = additions
        .iter()
        .filter_map(|addition| match addition {
            Addition::Limit { field, value } => {
                let (scope, name) = field.split_once('.')?;
                Some((scope, name, value.as_str()))
            }
            _ => None,
        })
        .collect();
    if limits.is_empty() {
        return;
    }
    line(yaml, 1, "resources:");
    for wanted in ["perCall", "perReplica"] {
        let inside: Vec<String> = unique(
            limits
                .iter()
                .filter(|(scope, ..)| *scope == wanted)
                .map(|(_, name, value)| format!("{name}: {value}")),
        );
        if !inside.is_empty() {
            line(yaml, 2, &format!("{wanted}: {{{}}}", inside.join(", ")));
        }
    }
}

fn unique(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for line in lines {
        if !unique.contains(&line) {
            unique.push(line);
        }
    }
    unique
}

fn line(yaml: &mut String, indent: usize, text: &str) {
    let _ = writeln!(yaml, "{:1$}{text}", "", indent * 2);
}

/// A text of letters alone cannot be taken for anything else.
fn quoted_if_needed(text: &str) -> String {
    let begins_as_text = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '/');
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte));
    match begins_as_text && plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// A double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
