//! What credentials are for: the key of an entry in a pull secret or of a
//! credential provider's answer, and whether an image is under it. The rules of
//! the kubelet (`pkg/credentialprovider` of Kubernetes). Pure.

use artifact::ImageReference;

/// What Docker Hub is called in pull secrets.
pub(crate) const DOCKER_HUB: &str = "index.docker.io";

/// Host, port and path of a key, each matched in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// As the kubelet writes and sorts it: host, port and path, no scheme.
    pub(crate) key: String,
    host: String,
    port: Option<String>,
    path: String,
}

impl Location {
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let rest = key
            .strip_prefix("https://")
            .or_else(|| key.strip_prefix("http://"))
            .unwrap_or(key);
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // `/v1/` and `/v2/` in front of a path say which API, not which path.
        let path = match path {
            "/" | "/v1" | "/v2" => "",
            path if path.starts_with("/v1/") || path.starts_with("/v2/") => {
                path.get(3..).unwrap_or_default()
            }
            path => path,
        };
        let path = if path == "/" { "" } else { path };
        let (host, port) = split_port(authority);
        if host.is_empty() || authority.contains(['@', '?', '#', ' ']) {
            return None;
        }
        Some(Self {
            key: format!("{authority}{path}"),
            host: host.to_ascii_lowercase(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
        })
    }

    /// Whether an image is under it. Docker Hub goes by two names.
    pub(crate) fn covers(&self, image: &ImageReference) -> bool {
        let path = format!("/{}", image.repository());
        match image.registry() {
            "docker.io" | DOCKER_HUB => ["docker.io", DOCKER_HUB]
                .iter()
                .any(|host| self.matches(host, None, &path)),
            registry => {
                let (host, port) = split_port(registry);
                self.matches(host, port, &path)
            }
        }
    }

    /// Label by label for the host, exactly for the port, by prefix for the
    /// path: the kubelet's rules.
    fn matches(&self, host: &str, port: Option<&str>, path: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (patterns, labels) = (self.host.split('.'), host.split('.'));
        self.port.as_deref() == port
            && path.starts_with(&self.path)
            && patterns.clone().count() == labels.clone().count()
            && patterns
                .zip(labels)
                .all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons inside `[::1]` are not before a port.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// `*` for any run of characters within one label. Only the last `*` is tried
/// again, so a hostile pattern costs at most the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(at_text) {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(expected) if expected == byte => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((pattern_of_star, text_of_star)) => {
                    star = Some((pattern_of_star, text_of_star + 1));
                    at_pattern = pattern_of_star + 1;
                    at_text = text_of_star + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at_pattern..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}
