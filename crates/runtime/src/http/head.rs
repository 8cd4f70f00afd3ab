//! Heads of requests and responses: what is let through, and what belongs to one hop.
//!
//! Pure. Forwarding headers (`X-Forwarded-*`) pass as they are: who may be believed is the
//! guest's decision. Called by `http::exchange` and the wasi:http hooks.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Version};
use std::net::Ipv6Addr;

/// Headers about a connection, not about the message: RFC 9110 7.6.1, RFC 9113 8.2.2.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Why a request is refused before a guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the Host header is missing, repeated, or no host")]
    Host,
    #[error("the target names another host than the Host header")]
    AnotherHost,
    #[error("CONNECT and TRACE are not served")]
    Method,
    #[error("the target is no path")]
    Target,
}

/// Whether a guest can neither set nor see a header.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    *name == header::HOST || HOP_BY_HOP.contains(name)
}

/// Judges a request's head, and removes what belongs to this hop.
///
/// # Errors
/// When two servers could read it in two ways.
pub(crate) fn admit<B>(request: &mut Request<B>) -> Result<(), HeadError> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(HeadError::Method);
    }
    let path = request.uri().path();
    let whole_server = path == "*" && request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(HeadError::Target);
    }
    admit_host(request)?;
    strip(request.headers_mut());
    Ok(())
}

/// One host, and the same wherever it is named. HTTP/1.0 may have none.
fn admit_host<B>(request: &mut Request<B>) -> Result<(), HeadError> {
    let target = request.uri().authority();
    if target.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(HeadError::Host);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), target) {
        (Some(_), Some(_), _) => Err(HeadError::Host),
        (Some(host), None, target) => {
            if !is_host(host.as_bytes()) {
                return Err(HeadError::Host);
            }
            match target {
                Some(target)
                    if !target
                        .as_str()
                        .as_bytes()
                        .eq_ignore_ascii_case(host.as_bytes()) =>
                {
                    Err(HeadError::AnotherHost)
                }
                _ => Ok(()),
            }
        }
        (None, _, Some(_)) => Ok(()),
        (None, _, None) if request.version() == Version::HTTP_10 => {
            // wasi:http needs an authority, and this caller has none to offer.
            request
                .headers_mut()
                .insert(header::HOST, HeaderValue::from_static("localhost"));
            Ok(())
        }
        (None, _, None) => Err(HeadError::Host),
    }
}

/// `host` or `host:port` as in RFC 9110 7.2, which is an `Authority` without user information.
/// Judged at every request, and `Authority` would copy it first.
fn is_host(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return is_literal(host);
    }
    // Percent signs are left out: nobody resolves them, and readers differ about them.
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte);
    let name = host.iter().take_while(|byte| allowed(byte)).count();
    let (name, port) = host.split_at(name);
    !name.is_empty() && is_port(port)
}

/// `[address]` or `[address]:port`.
fn is_literal(host: &[u8]) -> bool {
    let Some((address, port)) = str::from_utf8(host)
        .ok()
        .and_then(|host| host.strip_prefix('[')?.split_once(']'))
    else {
        return false;
    };
    address.parse::<Ipv6Addr>().is_ok() && is_port(port.as_bytes())
}

/// Nothing, or a colon and up to five digits.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Removes the headers of one hop, and those that `Connection` names.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most requests have none of them, and `Connection: keep-alive` names no other.
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            // Whoever names these wants to change what the message means.
            .filter(|name| {
                ![header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE].contains(name)
            })
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    // To look at the few that are there is cheaper than to look up each that might be.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::Authority;
    use proptest::prelude::*;

    proptest! {
        /// Else wasi:http would be given what it can not read.
        #[test]
        fn every_host_is_an_authority(host in "[a-z0-9.:~!$&'()*+,;=%@/\\[\\]-]{0,12}") {
            if is_host(host.as_bytes()) {
                let authority: Authority = host.parse().unwrap();
                prop_assert_eq!(authority.as_str(), host);
            }
        }
    }

    fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_request_names_one_host_and_no_user() {
        for (target, hosts, verdict) in [
            ("/", vec![("host", "shop.example:80")], Ok(())),
            ("/", vec![("host", "[::1]:8080")], Ok(())),
            ("/", vec![], Err(HeadError::Host)),
            (
                "/",
                vec![("host", "a"), ("host", "b")],
                Err(HeadError::Host),
            ),
            ("/", vec![("host", "")], Err(HeadError::Host)),
            (
                "/",
                vec![("host", "user@shop.example")],
                Err(HeadError::Host),
            ),
            ("/", vec![("host", "a/b")], Err(HeadError::Host)),
            ("/", vec![("host", "a:b")], Err(HeadError::Host)),
            ("/", vec![("host", "a:80:80")], Err(HeadError::Host)),
            ("/", vec![("host", ":80")], Err(HeadError::Host)),
            ("/", vec![("host", "a%2fb")], Err(HeadError::Host)),
            ("/", vec![("host", "[::1")], Err(HeadError::Host)),
            ("/", vec![("host", "[a]")], Err(HeadError::Host)),
            ("/", vec![("host", "[::1]80")], Err(HeadError::Host)),
            (
                "http://shop.example/",
                vec![("host", "SHOP.example")],
                Ok(()),
            ),
            ("http://shop.example/", vec![], Ok(())),
            (
                "http://u@shop.example/",
                vec![("host", "shop.example")],
                Err(HeadError::Host),
            ),
            (
                "http://evil.example/",
                vec![("host", "shop.example")],
                Err(HeadError::AnotherHost),
            ),
        ] {
            assert_eq!(
                admit(&mut request(target, &hosts)),
                verdict,
                "{target} {hosts:?}"
            );
        }
    }

    #[test]
    fn connect_and_trace_are_refused() {
        for method in [Method::CONNECT, Method::TRACE] {
            let mut request = request("/", &[("host", "a")]);
            *request.method_mut() = method;
            assert_eq!(admit(&mut request), Err(HeadError::Method));
        }
    }

    #[test]
    fn headers_of_the_hop_and_those_it_names_do_not_pass() {
        let mut request = request(
            "/",
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Secret, Host"),
                ("x-secret", "1"),
                ("upgrade", "h2c"),
                ("te", "trailers"),
                ("x-forwarded-for", "192.0.2.1"),
            ],
        );
        admit(&mut request).unwrap();
        let mut left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-forwarded-for"]);
    }
}
