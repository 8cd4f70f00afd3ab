//! The rules of previews: each becomes a component, and a Service, of its own.

use kube::ResourceExt;

use crate::component::{Preview, WasmComponent};
use crate::problem::Problems;
use crate::{bound, names};

/// The component of `problems`, with its `previews`.
pub(super) fn check(problems: &mut Problems, component: &WasmComponent, previews: &[Preview]) {
    let field = "spec.previews";
    problems.entries(field, previews.len(), bound::PREVIEWS);
    let given = previews.iter().map(|preview| preview.name.as_str());
    problems.distinct(field, "name", given);
    let most = bound::COMPONENT_NAME as usize;
    for (index, Preview { name, image }) in previews.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if !super::is_label(name, bound::PREVIEW_NAME) {
            problems.add(
                format!("{field}.name"),
                format!("is `{name}`, which cannot be part of the name of a Service"),
                format!(
                    "write 1 to {} lower-case letters, digits and `-`, such as next",
                    bound::PREVIEW_NAME
                ),
            );
        }
        let whole = names::preview_name(&component.name_any(), name);
        if whole.len() > most {
            problems.add(
                format!("{field}.name"),
                format!(
                    "makes the name of a Service of {} characters, {whole}",
                    whole.len()
                ),
                format!("give the preview a shorter name; at most {most} fit"),
            );
        }
        super::image(problems, &format!("{field}.image"), image);
    }
}
