//! Which name was meant by a misspelt one.

/// The name that was most likely meant, if one is near enough to be worth saying.
pub(super) fn nearest<'a>(
    found: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = plain(found);
    // A third of the letters wrong is a different word.
    let most = (plain.chars().count() / 3).clamp(1, 4);
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&plain, &self::plain(name)),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// Without what people vary: case, and how words are joined.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let names = [
            "imagePullSecrets",
            "image",
            "replicas",
            "env",
            "envFrom",
            "args",
        ];
        for (found, meant) in [
            ("imagePullSecret", Some("imagePullSecrets")),
            ("image_pull_secrets", Some("imagePullSecrets")),
            ("Image", Some("image")),
            ("replica", Some("replicas")),
            ("repilcas", Some("replicas")),
            ("envfrom", Some("envFrom")),
            ("command", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, names), meant, "{found}");
        }
    }
}
