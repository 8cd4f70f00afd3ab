//! Another image of the same component, beside it and with a Service of its own.
//!
//! A preview is a `WasmComponent` that the operator makes and keeps (ADR 12). What it is
//! follows from the component alone: the operator writes it, and every agent works it out
//! again, so that nobody can be given more by way of a preview. Pure.

use kube::{KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use super::{
    PlacementMode, PlacementSpec, Requests, Resources, Rollout, ServiceSpec, WasmComponent,
    WasmComponentSpec,
};
use crate::{bound, names, schema};
use capability::Bytes;

/// Another image of the component, which gets none of its requests.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Name of the preview: it is the WasmComponent, and the Service, of the component's name, `-`
    /// and this.
    #[schemars(length(min = 1, max = bound::PREVIEW_NAME))]
    #[x_kube(validation = schema::matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower-case letters, digits and -, because it becomes part of a Service's name; write for example next"))]
    pub name: String,
    /// The image to run.
    #[schemars(length(min = 1, max = bound::IMAGE))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("must not contain spaces; write registry/repository:tag"))]
    pub image: String,
}

impl WasmComponentSpec {
    /// What a preview of this component is to be: one replica that nothing is set aside for,
    /// behind a plain Service, and otherwise as the component, whose canary, pin and approvals
    /// speak of its own image only.
    pub fn previewed(&self, preview: &Preview) -> Self {
        Self {
            image: preview.image.clone(),
            replicas: 1,
            placement: PlacementSpec {
                mode: PlacementMode::Spread,
                spread: Vec::new(),
                ..self.placement.clone()
            },
            service: ServiceSpec::default(),
            resources: Resources {
                requests: Requests { memory: Bytes(0) },
                ..self.resources.clone()
            },
            rollout: Rollout {
                canary: None,
                paused: false,
                pin: None,
                promote: None,
                approve: None,
                ..self.rollout.clone()
            },
            previews: Vec::new(),
            ..self.clone()
        }
    }

    /// What the component `name` is to be as a preview of `of`, whose spec this is; `None` if `of`
    /// has no such preview.
    pub fn preview(&self, of: &str, name: &str) -> Option<Self> {
        let mut previews = self.previews.iter();
        let preview = previews.find(|preview| names::preview_name(of, &preview.name) == name)?;
        Some(self.previewed(preview))
    }
}

impl WasmComponent {
    /// The component that this is a preview of, by its label. Anybody may have written that:
    /// whether it is one, the component says.
    pub fn preview_of(&self) -> Option<&str> {
        let label = self.labels().get(names::PREVIEW_OF_LABEL)?;
        Some(label.as_str())
    }
}
