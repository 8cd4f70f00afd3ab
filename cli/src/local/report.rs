//! What a local cluster tells: one event per transition, for people and for programs.
//!
//! Plain values. `run` prints them, `demo` and `quickstart` wait for them.

use std::fmt;

use serde::Serialize;

/// Something that happened to a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Event {
    /// A revision was verified and is being compiled and started.
    Preparing {
        /// `namespace/name`.
        component: String,
        /// The image with its digest.
        image: String,
        /// The authorities whose signatures count.
        signers: Vec<String>,
        /// Whether a manifest says what it asks for.
        has_manifest: bool,
    },
    /// A revision answers requests.
    Serving {
        /// `namespace/name`.
        component: String,
        /// The name of the revision.
        revision: String,
        /// What the component calls its version.
        version: Option<String>,
        /// One for each trigger.
        urls: Vec<String>,
    },
    /// Replicas of a component that runs by itself have started or ended.
    Runs {
        /// `namespace/name`.
        component: String,
        /// The name of the revision.
        revision: String,
        /// What the component calls its version.
        version: Option<String>,
        /// One for each port that it listens on, while it does.
        urls: Vec<String>,
        /// Replicas that run now.
        running: i32,
        /// Replicas that are started again in a while.
        waiting: i32,
        /// Replicas that ended well and are not started again.
        completed: i32,
        /// Replicas that failed and are not started again.
        failed: i32,
        /// Why a replica ended last, as a cluster would report it.
        reason: Option<String>,
        /// With which code, if it said so itself.
        exit_code: Option<i32>,
    },
    /// A revision may not run, or could not be started; what ran before still runs.
    Refused {
        /// `namespace/name`.
        component: String,
        /// The reason a cluster would report.
        reason: String,
        /// What is wrong, and what mends it.
        message: String,
    },
    /// Something was denied to a component; told every half minute, while there is something.
    Denied {
        /// `namespace/name`.
        component: String,
        /// The kind of thing, as in audit records.
        capability: String,
        /// What was asked for.
        object: String,
        /// What denied it.
        rule: String,
        /// How often since it was told last.
        count: u64,
    },
    /// A file or a local build cannot be used; what ran before still runs.
    Unusable {
        /// What is wrong.
        message: String,
        /// What mends it.
        mend: String,
    },
    /// The component is gone from the files.
    Removed {
        /// `namespace/name`.
        component: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Preparing {
                component,
                image,
                signers,
                has_manifest,
            } => {
                write!(
                    f,
                    "{component}: verified {image}, signed by {}; starting it",
                    signers.join(", ")
                )?;
                match has_manifest {
                    true => Ok(()),
                    false => write!(f, ". It has no manifest: only grant and policies bound it"),
                }
            }
            Event::Serving {
                component,
                revision,
                version,
                urls,
            } => {
                write!(f, "{component}: serving at {} ({revision}", urls.join(", "))?;
                match version {
                    Some(version) => write!(f, ", version {})", version.escape_debug()),
                    None => write!(f, ")"),
                }
            }
            Event::Runs {
                component,
                revision,
                version,
                urls,
                running,
                waiting,
                completed,
                failed,
                reason,
                exit_code,
            } => {
                let counts = [
                    (running, "runs"),
                    (waiting, "is started again"),
                    (completed, "has completed"),
                    (failed, "has failed and is not started again"),
                ];
                let told = counts.into_iter().filter(|(count, _)| **count > 0);
                let told = told.map(|(count, verb)| match count {
                    1 => verb.to_owned(),
                    more => format!("{more} times {verb}"),
                });
                let told: Vec<String> = told.collect();
                write!(f, "{component}: {}", told.join(", "))?;
                if !urls.is_empty() {
                    write!(f, " at {}", urls.join(", "))?;
                }
                write!(f, " ({revision}")?;
                if let Some(version) = version {
                    write!(f, ", version {}", version.escape_debug())?;
                }
                match (reason, exit_code) {
                    (Some(_), Some(code)) => write!(f, "; exited with code {code})"),
                    (Some(reason), None) => write!(f, "; ended with {reason})"),
                    (None, _) => write!(f, ")"),
                }
            }
            Event::Refused {
                component,
                reason,
                message,
            } => write!(f, "{component}: refused ({reason}): {message}"),
            Event::Denied {
                component,
                capability,
                object,
                rule,
                count,
            } => write!(
                f,
                "{component}: denied {capability} {object} ({rule}), {count} times"
            ),
            Event::Unusable { message, mend } if mend.is_empty() => {
                write!(f, "not used: {message}")
            }
            Event::Unusable { message, mend } => write!(f, "not used: {message}\n  mend: {mend}"),
            Event::Removed { component } => write!(f, "{component}: removed"),
        }
    }
}
