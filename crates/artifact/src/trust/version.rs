//! The least version of a component, against a roll-back to an old one that was
//! once signed: a signature binds a digest and no time. Name and version are
//! those of its manifest, or without one those of the binary's own sections; the
//! signature covers both.

use semver::Version;

use super::Policy;
use crate::Refusal;
use crate::component::Facts;

/// Components of this name must have this version or a later one.
#[derive(Debug, Clone)]
pub(super) struct MinVersion {
    pub(super) name: String,
    pub(super) version: Version,
}

impl Policy {
    /// Whether the component is as new as the policy demands.
    pub(super) fn check_version(&self, facts: &Facts) -> Result<(), Refusal> {
        let demands = self.demand.as_ref().map(|demand| &demand.min_versions);
        let (name, version) = facts.identity();
        let Some(name) = name else {
            return Ok(());
        };
        for minimum in demands
            .into_iter()
            .flatten()
            .filter(|least| least.name == name)
        {
            let too_old = |found: String| Refusal::VersionTooOld {
                policy: self.name.clone(),
                name: name.to_owned(),
                found,
                minimum: minimum.version.to_string(),
            };
            let Some(text) = version else {
                return Err(too_old("no version".to_owned()));
            };
            let Ok(version) = Version::parse(text) else {
                return Err(too_old(format!(
                    "version {text:?}, which is no semantic version such as 1.2.3"
                )));
            };
            // Precedence leaves build metadata out, as semver.org has it.
            if version.cmp_precedence(&minimum.version).is_lt() {
                return Err(too_old(format!("version {version}")));
            }
        }
        Ok(())
    }
}
