//! The rules of `volumes`.

use super::capabilities::directory;
use crate::bound;
use crate::component::{
    ConfigMapVolume, EmptyDirVolume, HostPathVolume, KeyToPath, SecretVolume, Volume,
};
use crate::problem::Problems;

/// `spec.volumes`.
pub(super) fn check(problems: &mut Problems, volumes: &[Volume]) {
    problems.entries("spec.volumes", volumes.len(), bound::VOLUMES);
    problems.distinct(
        "spec.volumes",
        "name",
        volumes.iter().map(|volume| volume.name.as_str()),
    );
    for (index, volume) in volumes.iter().enumerate() {
        self::volume(problems, &format!("spec.volumes[{index}]"), volume);
    }
}

fn volume(problems: &mut Problems, field: &str, volume: &Volume) {
    let Volume {
        name,
        empty_dir,
        config_map,
        secret,
        host_path,
    } = volume;
    if !is_label(name) {
        problems.add(
            format!("{field}.name"),
            format!("is `{name}`, which cannot be the name of a volume"),
            format!(
                "write 1 to {} lower-case letters, digits and `-`, such as data",
                bound::LABEL
            ),
        );
    }
    let sources = [
        empty_dir.is_some(),
        config_map.is_some(),
        secret.is_some(),
        host_path.is_some(),
    ];
    match sources.iter().filter(|there| **there).count() {
        0 => problems.add(
            field,
            "does not say what is in it",
            "add exactly one source, such as emptyDir: {sizeLimit: 64Mi}",
        ),
        1 => {}
        _ => problems.add(
            field,
            "has more than one source",
            "keep one, and make further volumes of the others",
        ),
    }
    if let Some(EmptyDirVolume { size_limit }) = empty_dir {
        problems.within(
            &format!("{field}.emptyDir.sizeLimit"),
            size_limit,
            &bound::SIZE_LIMIT_MIN,
            &bound::SIZE_LIMIT_MAX,
        );
    }
    if let Some(ConfigMapVolume {
        name,
        items,
        optional: _,
    }) = config_map
    {
        problems.text(&format!("{field}.configMap.name"), name, bound::NAME);
        self::items(problems, &format!("{field}.configMap.items"), items);
    }
    if let Some(SecretVolume {
        secret_name,
        items,
        optional: _,
    }) = secret
    {
        problems.text(
            &format!("{field}.secret.secretName"),
            secret_name,
            bound::NAME,
        );
        self::items(problems, &format!("{field}.secret.items"), items);
    }
    if let Some(HostPathVolume { path }) = host_path {
        directory(problems, &format!("{field}.hostPath.path"), path);
    }
}

fn items(problems: &mut Problems, list: &str, items: &[KeyToPath]) {
    problems.entries(list, items.len(), bound::VOLUME_ITEMS);
    problems.distinct(list, "key", items.iter().map(|item| item.key.as_str()));
    problems.distinct(list, "path", items.iter().map(|item| item.path.as_str()));
    for (index, KeyToPath { key, path }) in items.iter().enumerate() {
        problems.text(&format!("{list}[{index}].key"), key, bound::VARIABLE_NAME);
        let field = format!("{list}[{index}].path");
        problems.length(&field, path, bound::GUEST_PATH);
        let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
        if !path.split('/').all(plain) {
            problems.add(
                &field,
                format!("is `{path}`, which does not lie in the volume"),
                "write a relative path without . and .., such as app.conf",
            );
        }
    }
}

/// RFC 1123, as Kubernetes has it for the names of volumes.
fn is_label(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=bound::LABEL as usize).contains(&name.len())
        && name.chars().all(|c| edge(c) || c == '-')
        && name.starts_with(edge)
        && name.ends_with(edge)
}
