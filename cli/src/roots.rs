//! The trusted roots that trust policies refer to, from the ConfigMaps that stand
//! beside them in the files. The public-good root is the one of this build: this
//! program fetches none. Called by `verify` and by `run`.

use artifact::root::{RootError, RootReference, Roots, TrustedRoot};
use artifact::trust::Policy;
use k8s_openapi::api::core::v1::ConfigMap;

/// What the policies refer to, as far as the ConfigMaps have it.
pub(crate) fn roots(policies: &[Policy], config_maps: &[ConfigMap]) -> Roots {
    let references = policies.iter().flat_map(Policy::root_references);
    references.fold(Roots::new(), |roots, reference| {
        roots.with(reference.clone(), root(reference, config_maps))
    })
}

/// A policy names no namespace: in a cluster it is Lighterman's own, so here a name
/// that two namespaces have could mean either.
fn root(reference: &RootReference, config_maps: &[ConfigMap]) -> Result<TrustedRoot, RootError> {
    let RootReference { config_map, key } = reference;
    let mut named = config_maps
        .iter()
        .filter(|candidate| candidate.metadata.name.as_ref() == Some(config_map));
    let found = match (named.next(), named.next()) {
        (Some(found), None) => found,
        (None, _) => {
            return Err(RootError::Missing(format!(
                "no file has a ConfigMap {config_map}; add it to the files"
            )));
        }
        (Some(_), Some(_)) => {
            return Err(RootError::Missing(format!(
                "the files have more than one ConfigMap {config_map}; leave one"
            )));
        }
    };
    let text = found
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| {
            RootError::Missing(format!(
                "ConfigMap {config_map} has no key {key} in its data"
            ))
        })?;
    TrustedRoot::from_json(text.as_bytes())
}
