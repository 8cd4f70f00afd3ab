//! Reads `WWW-Authenticate` (RFC 9110 section 11.6.1) as far as registries use
//! it: Basic, and Bearer with realm and service. Pure; `auth` acts on it.

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user name and a password with every request.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The first challenge in a header value that is understood; Bearer wins,
    /// because a token says less than a password.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut found = None;
        for (scheme, parameters) in challenges(value) {
            if scheme.eq_ignore_ascii_case("bearer") {
                let named = |name: &str| {
                    parameters
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.clone())
                };
                if let Some(realm) = named("realm") {
                    return Some(Self::Bearer {
                        realm,
                        service: named("service"),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

type Parameters = Vec<(String, String)>;

/// Splits `Scheme key=value, key="value", Scheme ...` into its challenges.
fn challenges(value: &str) -> Vec<(String, Parameters)> {
    let mut all: Vec<(String, Parameters)> = Vec::new();
    for part in split_outside_quotes(value) {
        let part = part.trim();
        // A part opens a challenge when a scheme stands before its first
        // parameter, or when it is a scheme alone.
        let (scheme, parameter) = match part.split_once(' ') {
            Some((scheme, rest)) if !scheme.contains('=') => (Some(scheme), rest.trim()),
            None if !part.contains('=') => (Some(part), ""),
            _ => (None, part),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            all.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some((_, parameters)), Some((key, value))) =
            (all.last_mut(), parameter.split_once('='))
        {
            parameters.push((key.trim().to_owned(), unquoted(value.trim())));
        }
    }
    all
}

fn split_outside_quotes(value: &str) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(|character: char| {
            let splits = character == ',' && !quoted;
            if character == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = character == '\\' && !escaped;
            splits
        })
        .collect()
}

fn unquoted(value: &str) -> String {
    match value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_names_its_realm_and_service() {
        assert_eq!(
            Challenge::parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into()),
            })
        );
    }

    #[test]
    fn bearer_is_preferred_over_basic_in_any_order() {
        let bearer = Some(Challenge::Bearer {
            realm: "https://a/t".into(),
            service: None,
        });
        assert_eq!(
            Challenge::parse(r#"Basic realm="x", Bearer realm="https://a/t""#),
            bearer
        );
        assert_eq!(
            Challenge::parse(r#"bearer realm="https://a/t", basic realm="x""#),
            bearer
        );
    }

    #[test]
    fn what_is_not_understood_is_no_challenge() {
        for value in [
            "",
            ",",
            "Negotiate",
            "Bearer",
            "Bearer service=x",
            "=,=",
            "\"",
            "Digest realm=\"x\"",
        ] {
            assert_eq!(Challenge::parse(value), None, "{value}");
        }
        assert_eq!(Challenge::parse("Basic"), Some(Challenge::Basic));
    }
}
