//! The rules of `capabilities`: what is mounted where, and that grants lie in it.

use capability::{GuestPath, PathGlob};

use super::outbound;
use crate::bound;
use crate::component::{
    AuditLevel, Capabilities, GrantMode, Instances, MountGrant, Processes, Volume,
};
use crate::problem::Problems;

/// `spec.capabilities`.
pub(super) fn check(problems: &mut Problems, capabilities: &Capabilities, volumes: &[Volume]) {
    let Capabilities {
        grant,
        filesystem,
        network,
        process,
    } = capabilities;
    let list = "spec.capabilities.filesystem";
    problems.entries(list, filesystem.len(), bound::MOUNTS);
    for (index, mount) in filesystem.iter().enumerate() {
        self::mount(problems, &format!("{list}[{index}]"), mount, volumes);
        let inside = filesystem.iter().take(index).find(|other| {
            lies_in(&mount.mount_path, &other.mount_path)
                || lies_in(&other.mount_path, &mount.mount_path)
        });
        if let Some(other) = inside {
            problems.add(
                format!("{list}[{index}].mountPath"),
                format!(
                    "is `{}`, which overlaps `{}`",
                    mount.mount_path, other.mount_path
                ),
                "give each volume a directory of its own",
            );
        }
    }
    outbound::check(
        problems,
        "spec.capabilities.network.outbound",
        &network.outbound,
    );
    super::process::check(problems, "spec.capabilities.process", process);
    match grant {
        GrantMode::Listed => {}
        GrantMode::Requested => {
            if *process != Processes::default() {
                problems.add(
                    "spec.capabilities.process",
                    "lists executables although grant: Requested grants what the signed manifest asks for",
                    "remove it, or write grant: Listed",
                );
            }
            if !network.outbound.is_empty() {
                problems.add(
                    "spec.capabilities.network.outbound",
                    "lists hosts although grant: Requested grants what the signed manifest asks for",
                    "remove the list, or write grant: Listed",
                );
            }
            for (index, mount) in filesystem.iter().enumerate() {
                if !mount.read.is_empty() || !mount.write.is_empty() {
                    problems.add(
                        format!("{list}[{index}]"),
                        "lists paths although grant: Requested grants what the signed manifest asks for",
                        "remove read and write, or write grant: Listed",
                    );
                }
            }
        }
        GrantMode::Unknown => problems.add(
            "spec.capabilities.grant",
            "is a way that this version does not know",
            "write Listed or Requested",
        ),
    }
}

/// `spec.instances` beside credentials.
pub(super) fn reuse(problems: &mut Problems, granted: &Capabilities, instances: &Instances) {
    let mut outbound = granted.network.outbound.iter();
    if instances.max_requests > 1 && outbound.any(|place| place.credentials.is_some()) {
        problems.add(
            "spec.instances.maxRequests",
            format!(
                "is {}, and an instance that answers more than one request could show one caller what it fetched with a credential for another",
                instances.max_requests
            ),
            "remove instances, or the credentials",
        );
    }
}

/// `spec.audit`.
pub(super) fn audit(problems: &mut Problems, audit: AuditLevel) {
    if audit == AuditLevel::Unknown {
        problems.add(
            "spec.audit",
            "is a level that this version does not know",
            "write Denials, FirstUse or All",
        );
    }
}

/// An absolute directory below `/`, as mounts and the node's directories have it.
pub(super) fn directory(problems: &mut Problems, field: &str, path: &str) {
    plain_path(problems, field, path, "/data");
}

/// An absolute path below `/` that stands for itself.
pub(super) fn plain_path(problems: &mut Problems, field: &str, path: &str, example: &str) {
    problems.length(field, path, bound::GUEST_PATH);
    match path.parse::<GuestPath>() {
        // The parser resolves what it can; here only what is meant literally is taken.
        Ok(read) if read.to_string() == path && path != "/" && !path.contains('*') => {}
        Ok(_) => problems.add(
            field,
            format!("is `{path}`, which is not a plain path below /"),
            format!("write it without *, ., .., doubled slashes and a slash at its end, such as {example}"),
        ),
        Err(error) => outbound::refused(
            problems,
            field.to_owned(),
            &error,
            &format!("write for example {example}"),
        ),
    }
}

fn mount(problems: &mut Problems, field: &str, mount: &MountGrant, volumes: &[Volume]) {
    let MountGrant {
        volume,
        mount_path,
        read,
        write,
    } = mount;
    let source = volumes.iter().find(|known| known.name == *volume);
    if source.is_none() {
        let known: Vec<&str> = volumes.iter().map(|known| known.name.as_str()).collect();
        let mend = if known.is_empty() {
            format!("add it there, such as - {{name: {volume}, emptyDir: {{}}}}")
        } else {
            format!("add it there, or write {}", known.join(" or "))
        };
        problems.add(
            format!("{field}.volume"),
            format!("is `{volume}`, which is not in spec.volumes"),
            mend,
        );
    }
    directory(problems, &format!("{field}.mountPath"), mount_path);
    for (name, globs) in [("read", read), ("write", write)] {
        let list = format!("{field}.{name}");
        outbound::path_globs(problems, &list, globs);
        for (index, glob) in globs.iter().enumerate() {
            let reads = glob.parse::<PathGlob>().is_ok();
            if reads && glob != mount_path && !lies_in(glob, mount_path) {
                problems.add(
                    format!("{list}[{index}]"),
                    format!("is `{glob}`, which does not lie below `{mount_path}`"),
                    format!("begin it with {mount_path}/"),
                );
            }
        }
    }
    if !write.is_empty() && source.is_some_and(|volume| !volume.is_writable()) {
        problems.add(
            format!("{field}.write"),
            format!("grants writes to `{volume}`, which comes from a ConfigMap or a Secret"),
            "remove write, or use an emptyDir",
        );
    }
}

/// Whether a path lies strictly below a directory.
fn lies_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}
