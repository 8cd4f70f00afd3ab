//! The rules of `process`, of grants and of ceilings alike: executables are plain paths, each
//! once.

use super::{capabilities, outbound};
use crate::bound;
use crate::component::Processes;
use crate::problem::Problems;

/// The executables below `field`.
pub(crate) fn check(problems: &mut Problems, field: &str, processes: &Processes) {
    let Processes { spawn, signal: _ } = processes;
    let list = format!("{field}.spawn");
    problems.entries(&list, spawn.len(), bound::EXECUTABLES);
    outbound::unrepeated(problems, &list, spawn);
    for (index, path) in spawn.iter().enumerate() {
        capabilities::plain_path(
            problems,
            &format!("{list}[{index}]"),
            path,
            "/tools/bin/git",
        );
    }
}
