//! A header that the host adds to a component's requests, so that the guest never holds it.
//!
//! Checked when it is made: a text that is no header value, or too short to be told from
//! other text when it comes back, is no credential. Knows no Secret and no connection. Made
//! by the caller of the runtime, used by `http::outgoing`.

use crate::http::head::is_ours;
use capability::{Destination, GuestPath, HostName, PathGlob, Protocol};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Uri};
use std::fmt;
use std::sync::Arc;

/// Bytes of a header's value: what servers commonly accept in one line.
const VALUE_MAX: usize = 8 * 1024;
/// Bytes of a secret. Shorter ones occur in responses by chance, and would be cut out of them.
const SECRET_MIN: usize = 8;
/// Where the secret goes in a format.
const PLACE: &str = "{}";

/// A header that the host adds to requests to one host, always over TLS.
#[derive(Clone)]
pub struct Credential {
    host: HostName,
    port: u16,
    header: HeaderName,
    value: HeaderValue,
    secret: Arc<[u8]>,
    methods: Vec<Method>,
    paths: Vec<PathGlob>,
}

/// Why a credential can not be used. Never shows the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// The header is none, or one that HTTP or the host sets.
    #[error("`{0}` is no header that a credential can go into; write for example `Authorization`")]
    Header(String),
    /// No `{}` in the format, or several.
    #[error(
        "the format of the credential for {0} must contain {PLACE} once, as in `Bearer {PLACE}`"
    )]
    Format(HostName),
    /// Characters that no header value has, such as line feeds.
    #[error("the secret for {0} is no header value; it must be printable ASCII in one line")]
    Value(HostName),
    /// Too short or too long.
    #[error("the secret for {0} must have {SECRET_MIN} to {VALUE_MAX} bytes")]
    Length(HostName),
    /// No method of HTTP.
    #[error("`{0}` is no HTTP method")]
    Method(String),
}

impl Credential {
    /// A credential for every request to the host. `format` holds `{}` in the place of the
    /// secret; one line feed at the secret's end, as editors leave it, is dropped.
    ///
    /// # Errors
    /// When header, format or secret can not be used.
    pub fn new(
        host: HostName,
        port: u16,
        header: &str,
        format: &str,
        secret: &str,
    ) -> Result<Credential, InvalidCredential> {
        let name = HeaderName::try_from(header)
            .ok()
            .filter(|name| !is_reserved(name))
            .ok_or_else(|| InvalidCredential::Header(header.to_owned()))?;
        let Some((before, after)) = format
            .split_once(PLACE)
            .filter(|(_, after)| !after.contains(PLACE))
        else {
            return Err(InvalidCredential::Format(host));
        };
        let secret = secret.strip_suffix('\n').unwrap_or(secret);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        let text = format!("{before}{secret}{after}");
        if secret.len() < SECRET_MIN || text.len() > VALUE_MAX {
            return Err(InvalidCredential::Length(host));
        }
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let Some(mut value) = HeaderValue::try_from(&text)
            .ok()
            .filter(|_| text.bytes().all(printable))
        else {
            return Err(InvalidCredential::Value(host));
        };
        // Kept out of HTTP/2's compression tables and of hyper's own Debug.
        value.set_sensitive(true);
        Ok(Credential {
            host,
            port,
            header: name,
            value,
            secret: secret.as_bytes().into(),
            methods: Vec::new(),
            paths: Vec::new(),
        })
    }

    /// The same for some methods only. None: all.
    ///
    /// # Errors
    /// When one of them is no method.
    pub fn with_methods(mut self, methods: &[String]) -> Result<Credential, InvalidCredential> {
        self.methods = methods
            .iter()
            .map(|method| {
                Method::from_bytes(method.as_bytes())
                    .map_err(|_| InvalidCredential::Method(method.clone()))
            })
            .collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The same for some paths only. None: all.
    #[must_use]
    pub fn with_paths(mut self, paths: Vec<PathGlob>) -> Credential {
        self.paths = paths;
        self
    }

    /// The name of the header.
    pub(crate) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's value. Not to be printed.
    pub(crate) fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// What must not come back to the guest.
    pub(crate) fn secret(&self) -> &Arc<[u8]> {
        &self.secret
    }

    /// Whether it belongs to this host, port and TLS.
    pub(crate) fn is_for(&self, destination: &Destination) -> bool {
        destination.protocol == Protocol::Https
            && destination.port == self.port
            && destination.host == self.host
    }

    /// Whether it is added to this request to its host.
    pub(crate) fn applies(&self, method: &Method, uri: &Uri) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(method);
        method && (self.paths.is_empty() || self.matches_path(uri.path()))
    }

    /// A path that servers might read as another one matches no glob.
    fn matches_path(&self, path: &str) -> bool {
        // `%2e%2e`, `%2f`, `%5c`: undone by some servers before they look for `..`, by others
        // after. `;` cuts a segment short in Java servers.
        if path.contains(['%', '\\', ';']) {
            return false;
        }
        let Ok(plain) = path.parse::<GuestPath>() else {
            return false;
        };
        // `..`, `.` and `//` have been resolved in `plain`, and perhaps not by the server.
        let as_written = path.strip_suffix('/').filter(|rest| !rest.is_empty());
        plain.to_string() == as_written.unwrap_or(path)
            && self.paths.iter().any(|glob| glob.matches(&plain))
    }
}

/// Headers that say what a message is, or belong to its hop.
fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [HeaderName; 5] = [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::ACCEPT_ENCODING,
        header::EXPECT,
    ];
    is_ours(name) || RESERVED.contains(name)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Credential {
    /// `Authorization for api.example.com:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}:{}", self.header, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        HostName::parse("api.example.com").unwrap()
    }

    fn credential(format: &str, secret: &str) -> Result<Credential, InvalidCredential> {
        Credential::new(host(), 443, "Authorization", format, secret)
    }

    #[test]
    fn a_secret_that_is_no_header_value_is_refused_and_not_shown() {
        for (format, secret, expected) in [
            ("Bearer {}", "s3cret-t0ken", Ok(())),
            ("Bearer {}", "s3cret-t0ken\n", Ok(())),
            (
                "Bearer {}",
                "s3cret\r\nX-Evil: 1",
                Err(InvalidCredential::Value(host())),
            ),
            (
                "Bearer {}",
                "s3cret\0t0ken",
                Err(InvalidCredential::Value(host())),
            ),
            (
                "Bearer {}",
                "sécrète-t0ken",
                Err(InvalidCredential::Value(host())),
            ),
            ("Bearer {}", "short", Err(InvalidCredential::Length(host()))),
            ("Bearer {}", "", Err(InvalidCredential::Length(host()))),
            (
                "Bearer",
                "s3cret-t0ken",
                Err(InvalidCredential::Format(host())),
            ),
            (
                "{} {}",
                "s3cret-t0ken",
                Err(InvalidCredential::Format(host())),
            ),
        ] {
            let made = credential(format, secret);
            let shown = format!("{made:?} {:?}", made.as_ref().map_err(ToString::to_string));
            assert!(!shown.contains("t0ken"), "{shown}");
            assert_eq!(made.map(drop), expected, "{format}");
        }
        let long = "x".repeat(VALUE_MAX + 1);
        assert_eq!(
            credential("{}", &long).unwrap_err(),
            InvalidCredential::Length(host())
        );
    }

    #[test]
    fn headers_that_belong_to_http_are_no_place_for_a_secret() {
        for header in [
            "Host",
            "Connection",
            "Content-Length",
            "Transfer-Encoding",
            "no header",
            "",
        ] {
            let made = Credential::new(host(), 443, header, "{}", "s3cret-t0ken");
            assert_eq!(
                made.unwrap_err(),
                InvalidCredential::Header(header.to_owned())
            );
        }
    }

    #[test]
    fn it_belongs_to_one_host_one_port_and_tls() {
        let credential = credential("{}", "s3cret-t0ken").unwrap();
        for (name, port, protocol, expected) in [
            ("api.example.com", 443, Protocol::Https, true),
            ("api.example.com", 8443, Protocol::Https, false),
            ("api.example.com", 443, Protocol::Http, false),
            ("www.api.example.com", 443, Protocol::Https, false),
            ("example.com", 443, Protocol::Https, false),
        ] {
            let destination = Destination {
                host: HostName::parse(name).unwrap(),
                port,
                protocol,
            };
            assert_eq!(credential.is_for(&destination), expected, "{destination}");
        }
    }

    #[test]
    fn methods_and_paths_narrow_it_and_no_spelling_widens_them() {
        let narrow = credential("{}", "s3cret-t0ken")
            .unwrap()
            .with_methods(&["GET".to_owned()])
            .unwrap()
            .with_paths(vec!["/repos/**".parse().unwrap(), "/user".parse().unwrap()]);
        for (method, path, expected) in [
            ("GET", "/repos/a/b", true),
            ("GET", "/repos/a/", true),
            ("GET", "/user?x=/repos", true),
            ("POST", "/repos/a", false),
            ("GET", "/admin", false),
            ("GET", "/admin?/repos/a", false),
            ("GET", "/repos/../admin", false),
            ("GET", "/repos/./a", false),
            ("GET", "/repos//a", false),
            ("GET", "//repos/a", false),
            ("GET", "/repos/%2e%2e/admin", false),
            ("GET", "/repos%2f..%2fadmin", false),
            ("GET", "/repos/..;/admin", false),
            ("GET", "/", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let uri: Uri = format!("https://api.example.com{path}").parse().unwrap();
            assert_eq!(narrow.applies(&method, &uri), expected, "{method} {path}");
        }
    }
}
