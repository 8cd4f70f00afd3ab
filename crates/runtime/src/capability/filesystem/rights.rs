//! From what a guest wrote to what may be done there: a path is read once, judged as text,
//! and only then shown to the kernel.
//!
//! A path of a guest is resolved against the directory's own path in the guest, never
//! against a handle of the host: a directory that was renamed since keeps no rights. Every
//! denial is an errno for the guest and a record for the platform. Does no system calls.

use super::Files;
use super::descriptor::Directory;
use super::volume::Volume;
use crate::call::Call;
use crate::capability::audit::Capability;
use capability::{Effective, Grant, GuestPath, PathGlob, PathRights, Right, Rule};
use rustix::io::{Errno, Result};
use std::sync::Arc;

/// One call of a component, which asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) files: &'a Arc<Files>,
    pub(super) call: &'a Arc<Call>,
}

/// A path that was judged.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) volume: Arc<Volume>,
    pub(super) path: GuestPath,
    pub(super) rights: PathRights,
    /// It was written as only a directory may be: `x/`, `x/.`, `x/..`.
    pub(super) directory: bool,
}

impl Place {
    /// The path below the volume's root; empty for the root.
    pub(super) fn relative(&self) -> &str {
        // `place` has seen that it is within.
        self.path.relative_to(&self.volume.path).unwrap_or_default()
    }
}

impl Asker<'_> {
    /// Reads a path and asks what may be done there. Whoever has no right at all there is
    /// told so, whether there is anything or not.
    pub(super) fn place(self, from: &Directory, path: &str, want: Right) -> Result<Place> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let resolved = from.path.join(path).ok();
        let within = resolved.filter(|path| path.is_within(&from.volume.path));
        let Some(resolved) = within else {
            self.note(want, path, Rule::Malformed);
            return Err(Errno::PERM);
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        let place = Place {
            rights: self.rights(&from.volume, &resolved),
            volume: Arc::clone(&from.volume),
            path: resolved,
            directory: matches!(last, "" | "." | ".."),
        };
        self.require(&place, want)?;
        Ok(place)
    }

    /// What may be done at a path of a volume.
    pub(super) fn rights(self, volume: &Volume, path: &GuestPath) -> PathRights {
        let mut rights = self.files.effective.path(path);
        rights.write &= !volume.read_only;
        rights
    }

    /// Notes the use, or answers with the denial.
    pub(super) fn require(self, place: &Place, want: Right) -> Result<()> {
        if place.rights.has(want) {
            return Ok(());
        }
        Err(self.deny(&place.path, &place.volume, want))
    }

    /// Notes that a right is missing, and says what the guest is told.
    pub(super) fn deny(self, path: &GuestPath, volume: &Volume, want: Right) -> Errno {
        let rule = match self.files.effective.path_denied_by(path, want) {
            // The rules would allow it: then the volume does not, or what is there.
            Rule::Granted if want == Right::Write && volume.read_only => Rule::ReadOnlyVolume,
            Rule::Granted => Rule::SpecialFile,
            rule => rule,
        };
        let errno = match rule {
            Rule::ReadOnlyVolume => Errno::ROFS,
            _ => Errno::ACCESS,
        };
        self.note(want, path.as_str(), rule);
        errno
    }

    /// Links could lead anywhere, so there are none.
    pub(super) fn refuse_link(self, from: &Directory, path: &str, want: Right) -> Errno {
        let path = match from.path.join(path) {
            Ok(resolved) => resolved.to_string(),
            Err(_) => path.to_owned(),
        };
        self.note(want, &path, Rule::LinkRefused);
        Errno::PERM
    }

    /// Notes that a move would have changed rights.
    pub(super) fn unequal(self, path: &GuestPath) -> Errno {
        self.note(Right::Write, path.as_str(), Rule::UnequalRights);
        Errno::PERM
    }

    /// Notes what was allowed.
    pub(super) fn used(self, place: &Place, right: Right) {
        self.note(right, place.path.as_str(), Rule::Granted);
    }

    /// Notes why the host refused, where that is ours to say, and what the guest is told.
    pub(super) fn refused(self, path: &GuestPath, want: Right, error: Errno) -> Errno {
        let (rule, errno) = match error {
            Errno::LOOP => (Rule::LinkRefused, Errno::LOOP),
            Errno::XDEV => (Rule::SpecialFile, Errno::XDEV),
            Errno::NXIO => (Rule::SpecialFile, Errno::ACCESS),
            Errno::DQUOT => (Rule::QuotaExceeded, Errno::NOSPC),
            Errno::MFILE => (Rule::LimitExceeded, Errno::MFILE),
            Errno::NOMEM => (Rule::LimitExceeded, Errno::NOMEM),
            other => return other,
        };
        self.note(want, path.as_str(), rule);
        errno
    }

    fn note(self, right: Right, object: &str, rule: Rule) {
        let capability = match right {
            Right::Traverse | Right::Read => Capability::FileRead,
            Right::Write => Capability::FileWrite,
        };
        self.files
            .audit
            .note(capability, object, rule, self.call.caller());
    }
}

/// Whether everything at and below two paths of one volume has the same rights, whatever it
/// is called. Exact: every glob has to hold both places whole, or to have nothing in either.
pub(super) fn equal_below(effective: &Effective, some: &GuestPath, other: &GuestPath) -> bool {
    let requested = effective.requests.iter().flat_map(|request| {
        let files = &request.filesystem;
        files.read.iter().chain(&files.write)
    });
    let granted: &[_] = match &effective.grant {
        Grant::Listed { filesystem, .. } => filesystem,
        // All of a mount alike.
        Grant::Requested { .. } => &[],
    };
    let granted = granted
        .iter()
        .flat_map(|mount| mount.read.iter().chain(&mount.write));
    requested.chain(granted).all(|glob| {
        extent(glob, some).is_some_and(|extent| Some(extent) == self::extent(glob, other))
    })
}

/// Whether a glob holds a place with all that is below, or nothing of it; none when it holds
/// some of it.
fn extent(glob: &PathGlob, path: &GuestPath) -> Option<bool> {
    if glob.covers(&PathGlob::below(path)) {
        return Some(true);
    }
    let some = glob.matches(path) || glob.has_ancestor(path);
    (!some).then_some(false)
}

/// The directories that a component expects to be there to write in: what its write globs
/// name without a wildcard, as far as it may be there at all.
pub(super) fn wanted(effective: &Effective, mount: &GuestPath) -> Vec<GuestPath> {
    let requested = effective
        .requests
        .iter()
        .flat_map(|request| &request.filesystem.write);
    let granted: &[_] = match &effective.grant {
        Grant::Listed { filesystem, .. } => filesystem,
        Grant::Requested { .. } => &[],
    };
    let granted = granted.iter().flat_map(|grant| &grant.write);
    let mut wanted: Vec<GuestPath> = requested
        .chain(granted)
        .map(PathGlob::literal_prefix)
        .filter(|path| path.is_within(mount) && path != mount)
        .filter(|path| effective.path(path).any())
        .collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

#[cfg(test)]
mod tests;
