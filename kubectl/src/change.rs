//! One field of a component, changed as its owner would: what `approve` and the subcommands of
//! `rollout` write.
//!
//! Whose the field is is asked before (`ownership`). The change holds for the very object that
//! was read, and for no later one of its name.

use crds::{WasmComponent, names};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::ownership;
use crate::sight::Cluster;

/// A member of `spec.rollout`, and what it is to be.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    name: String,
    uid: Option<String>,
    /// The state that was read, where the change holds for no other.
    resource_version: Option<String>,
    member: &'static str,
    value: Value,
}

impl Change {
    /// A change of `spec.rollout.MEMBER`.
    ///
    /// # Errors
    /// A manager that is nobody's hand keeps the field, and `force` does not say all the same; or
    /// the component is a preview, which has no rollout of its own but an approval.
    pub(crate) fn of_rollout(
        component: &WasmComponent,
        member: &'static str,
        value: Value,
        force: bool,
    ) -> Result<Change, Failure> {
        let name = component.name_any();
        if let Some(of) = component.preview_of().filter(|_| member != "approve") {
            return Err(Failure::new(
                format!("{name} is a preview of {of}, and the operator would put it back"),
                format!("change spec.previews of {of}"),
            ));
        }
        let managers = component.metadata.managed_fields.as_deref();
        let keeper = ownership::kept_by(managers.unwrap_or_default(), &["spec", "rollout", member]);
        match keeper {
            Some(manager) if !force => Err(Failure::new(
                format!(
                    "{manager} keeps spec.rollout.{member} of {name} as it is, and would put it back"
                ),
                format!(
                    "change it where {manager} reads it: spec.rollout.{member}: {value}; or add --force"
                ),
            )),
            _ => Ok(Change {
                name,
                uid: component.uid(),
                resource_version: None,
                member,
                value,
            }),
        }
    }

    /// The same, for the component as it was read only: for a value that says which
    /// generation it is about.
    pub(crate) fn only_for(self, component: &WasmComponent) -> Change {
        Change {
            resource_version: component.resource_version(),
            ..self
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The API server refuses it, or the object is another by now.
    pub(crate) async fn write(&self, cluster: &Cluster) -> Result<(), Failure> {
        let Change {
            name,
            uid,
            resource_version,
            member,
            value,
        } = self;
        let parameters = PatchParams {
            field_manager: Some(names::CLI_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let mut patch = json!({
            "metadata": {"uid": uid},
            "spec": {"rollout": {*member: value}},
        });
        if let (Some(version), Some(metadata)) = (resource_version, patch.get_mut("metadata")) {
            *metadata = json!({"uid": uid, "resourceVersion": version});
        }
        let doing = format!("change spec.rollout.{member} of {name}");
        let written = cluster
            .components()
            .patch(name, &parameters, &Patch::Merge(patch))
            .await;
        written
            .map(drop)
            .map_err(|error| Failure::api(&doing, &error))
    }
}
