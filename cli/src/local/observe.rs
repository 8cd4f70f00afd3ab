//! What the files and local builds say now.
//!
//! Reads; judges only what cannot be read at all. Stands for the watches of a cluster,
//! and fills in what an API server would: namespace and uid.

use std::collections::BTreeSet;
use std::path::PathBuf;

use artifact::trust::Policy;
use crds::component::{AuditLevel, Preview};
use crds::{WasmComponent, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use registry::Client;

use super::workshop::Workshop;
use crate::documents::{self, Documents};
use crate::failure::Failure;

/// Everything there is, at one moment.
#[derive(Debug)]
pub(super) struct Observation {
    /// The documents as written; `components` are in `wanted` instead.
    pub(super) documents: Documents,
    /// The components, each with the policies that judge it.
    pub(super) wanted: Vec<Wanted>,
}

/// A component that shall run.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The component, with the image of its local build when it has one.
    pub(super) component: WasmComponent,
    /// Who must have signed; a local build has the built-in policy only.
    pub(super) policies: Vec<Policy>,
    /// Whether its image is a local build.
    pub(super) is_local: bool,
}

/// Reads the files and brings the local builds up to date. With `record_all`, components
/// record every use, whatever they say themselves.
pub(super) async fn observe(
    files: &[PathBuf],
    record_all: bool,
    workshop: Option<&mut Workshop>,
    client: &Client,
) -> Result<Observation, Failure> {
    let mut documents = documents::read(files)?.complete()?;
    let mut components = std::mem::take(&mut documents.components);
    if components.is_empty() {
        return Err(Failure::refused(
            "there is no WasmComponent in these files",
            "add one; `lighterman new` writes an example",
        ));
    }
    let previews: Vec<_> = components.iter().flat_map(previews).collect();
    components.extend(previews);
    all_distinct(&components)?;
    let workshop = match workshop {
        Some(workshop) => {
            all_known(workshop, &components)?;
            workshop.refresh(client).await?;
            Some(&*workshop)
        }
        None => None,
    };
    let trusted = documents.trust()?;
    let mut wanted = Vec::new();
    for mut component in components {
        component
            .metadata
            .namespace
            .get_or_insert_with(|| super::DEFAULT_NAMESPACE.to_owned());
        component.metadata.uid.get_or_insert_with(|| UID.to_owned());
        if record_all {
            component.spec.audit = AuditLevel::All;
        }
        let build = workshop.and_then(|workshop| {
            let name = component.metadata.name.as_deref()?;
            Some((workshop, workshop.image(name)?))
        });
        wanted.push(match build {
            // The policies in the files speak of images that others can pull; a local build
            // is judged by the development key alone.
            Some((workshop, image)) => {
                component.spec.image = image.to_string();
                Wanted {
                    component,
                    policies: vec![workshop.policy()?],
                    is_local: true,
                }
            }
            None => Wanted {
                component,
                policies: trusted.clone(),
                is_local: false,
            },
        });
    }
    Ok(Observation { documents, wanted })
}

/// What the operator makes of the previews of a component.
fn previews(component: &WasmComponent) -> Vec<WasmComponent> {
    let of = component.metadata.name.as_deref().unwrap_or_default();
    let previews = component.spec.previews.iter();
    let previewed = |preview: &Preview| WasmComponent {
        metadata: ObjectMeta {
            name: Some(names::preview_name(of, &preview.name)),
            ..component.metadata.clone()
        },
        spec: component.spec.previewed(preview),
        status: None,
    };
    previews.map(previewed).collect()
}

fn all_distinct(components: &[WasmComponent]) -> Result<(), Failure> {
    let mut keys = BTreeSet::new();
    let key = |component: &WasmComponent| {
        let ObjectMeta {
            namespace, name, ..
        } = &component.metadata;
        let namespace = namespace.as_deref().unwrap_or(super::DEFAULT_NAMESPACE);
        (namespace.to_owned(), name.clone().unwrap_or_default())
    };
    match components
        .iter()
        .map(key)
        .find(|key| !keys.insert(key.clone()))
    {
        None => Ok(()),
        Some((_, name)) => Err(Failure::refused(
            format!("a preview of one component has the name of another, {name}"),
            "give the preview another name",
        )),
    }
}

/// Nothing here outlives the process, so one uid serves all.
const UID: &str = "local";

fn all_known(workshop: &Workshop, components: &[WasmComponent]) -> Result<(), Failure> {
    let is_known = |name: &str| {
        components
            .iter()
            .any(|component| component.metadata.name.as_deref() == Some(name))
    };
    match workshop.names().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<_> = components
                .iter()
                .filter_map(|component| component.metadata.name.as_deref())
                .collect();
            Err(Failure::usage(
                format!("--set-image names {unknown}, and there is no such component in the files"),
                format!("name one of {}", names.join(", ")),
            ))
        }
    }
}
