//! The rules of places in the network: hosts, ports and credentials. Shared with
//! `CapabilityPolicy`, whose ceiling names places in the same words.

use capability::{HostPattern, PathGlob};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::bound;
use crate::component::grant::ports;
use crate::component::outbound::FRAMING_HEADERS;
use crate::component::{Credentials, OutboundGrant, Protocol, Reach};
use crate::problem::Problems;

/// `spec.capabilities.network.outbound`.
pub(super) fn check(problems: &mut Problems, list: &str, outbound: &[OutboundGrant]) {
    problems.entries(list, outbound.len(), bound::OUTBOUND);
    let mut added = Vec::new();
    for (index, grant) in outbound.iter().enumerate() {
        let OutboundGrant {
            host,
            port,
            protocol,
            reach,
            credentials,
        } = grant;
        let field = format!("{list}[{index}]");
        self::host(problems, &field, host, false);
        self::port(problems, &field, port.as_ref());
        if port.is_none() && matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            problems.add(
                format!("{field}.port"),
                format!("is missing, and {protocol} has none that is usual"),
                "write for example port: 5432",
            );
        }
        self::protocol(problems, &field, *protocol, *reach);
        let Some(credentials) = credentials else {
            continue;
        };
        if *protocol != Protocol::Https || host.contains('*') {
            problems.add(
                format!("{field}.credentials"),
                "would go to more than one host, or in the clear",
                "write the exact host, and protocol: HTTPS",
            );
        }
        if matches!(port, Some(IntOrString::String(_))) {
            problems.add(
                format!("{field}.credentials"),
                "would go to more than one port",
                "write one port, such as port: 443",
            );
        }
        self::credentials(problems, &format!("{field}.credentials"), credentials);
        let place = (host, port, credentials.header.to_ascii_lowercase());
        if added.contains(&place) {
            problems.add(
                format!("{field}.credentials.header"),
                format!(
                    "is `{}`, which another entry adds for the same host and port",
                    credentials.header
                ),
                "keep one of the two",
            );
        }
        added.push(place);
    }
}

/// A host of a grant, or of a policy, which may also mean any.
pub(crate) fn host(problems: &mut Problems, field: &str, text: &str, may_be_any: bool) {
    let field = format!("{field}.host");
    match text.parse::<HostPattern>() {
        Ok(pattern) if pattern.is_any() && !may_be_any => problems.add(
            field,
            "is `*`, and any host is for a CapabilityPolicy to allow, not for a component to be granted",
            "name the hosts, such as api.example.com or *.example.com",
        ),
        Ok(pattern) => {
            let usual = pattern.to_string();
            if usual != text {
                problems.add(
                    field,
                    format!("is `{text}`, which is not how it is usually spelt"),
                    format!("write {usual}"),
                );
            }
        }
        Err(error) => refused(problems, field, &error, "write for example api.example.com"),
    }
}

/// A port, or a range of them.
pub(crate) fn port(problems: &mut Problems, field: &str, port: Option<&IntOrString>) {
    let Some(port) = port.filter(|port| ports(port).is_none()) else {
        return;
    };
    let usual = "write a number from 1 to 65535, or a range such as \"8000-8099\"";
    let (found, mend) = match port {
        IntOrString::Int(number) => (number.to_string(), usual.to_owned()),
        IntOrString::String(text) if text.parse::<u16>().is_ok() => (
            format!("the text \"{text}\""),
            format!("write it without quotes: {text}"),
        ),
        IntOrString::String(text) => (format!("`{text}`"), usual.to_owned()),
    };
    problems.add(
        format!("{field}.port"),
        format!("is {found}, which is no port"),
        mend,
    );
}

/// What a later version may have said.
pub(crate) fn protocol(problems: &mut Problems, field: &str, protocol: Protocol, reach: Reach) {
    if protocol == Protocol::Unknown {
        problems.add(
            format!("{field}.protocol"),
            "is a protocol that this version does not know",
            "write HTTPS, HTTP, TCP or UDP",
        );
    }
    if reach == Reach::Unknown {
        problems.add(
            format!("{field}.reach"),
            "is a reach that this version does not know",
            "write Public or Private",
        );
    }
}

/// A list of globs of absolute paths.
pub(crate) fn path_globs(problems: &mut Problems, list: &str, globs: &[String]) {
    problems.entries(list, globs.len(), bound::PATH_GLOBS);
    for (index, glob) in globs.iter().enumerate() {
        let field = format!("{list}[{index}]");
        problems.length(&field, glob, bound::GUEST_PATH);
        match glob.parse::<PathGlob>() {
            Ok(read) => {
                let usual = read.to_string();
                if usual != *glob {
                    problems.add(
                        field,
                        format!("is `{glob}`, which is not how it is usually spelt"),
                        format!("write {usual}"),
                    );
                }
            }
            Err(error) => refused(problems, field, &error, "write for example /data/input/**"),
        }
    }
    unrepeated(problems, list, globs);
}

/// A list without repetitions, as a set has to be.
pub(crate) fn unrepeated<T: PartialEq + std::fmt::Display>(
    problems: &mut Problems,
    list: &str,
    entries: &[T],
) {
    for (index, entry) in entries.iter().enumerate() {
        if entries.iter().take(index).any(|earlier| earlier == entry) {
            problems.add(
                format!("{list}[{index}]"),
                format!("is `{entry}` for the second time"),
                "remove it",
            );
        }
    }
}

/// What a parser of `capability` says: its mend follows a semicolon.
pub(crate) fn refused(
    problems: &mut Problems,
    field: String,
    error: &dyn std::error::Error,
    mend: &str,
) {
    let text = error.to_string();
    let (message, mend) = text.split_once("; ").unwrap_or((&text, mend));
    problems.add(field, format!("is refused: {message}"), mend);
}

fn credentials(problems: &mut Problems, field: &str, credentials: &Credentials) {
    let Credentials {
        header,
        format,
        secret_key_ref,
        methods,
        paths,
    } = credentials;
    let at = format!("{field}.header");
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&*+.^_|~-".contains(&byte);
    if header.is_empty() || !header.bytes().all(token) {
        problems.add(
            &at,
            format!("is `{header}`, which is no name of a header"),
            "write for example Authorization",
        );
    } else if FRAMING_HEADERS.contains(&header.to_ascii_lowercase().as_str()) {
        problems.add(
            &at,
            format!("is `{header}`, which frames or routes a request"),
            "write a header of the request itself, such as Authorization",
        );
    }
    problems.length(&at, header, bound::HEADER_NAME);
    let at = format!("{field}.format");
    let parts: Vec<&str> = format.split("{}").collect();
    let printable = |part: &&str| {
        part.bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'{' && byte != b'}')
    };
    if parts.len() != 2 || !parts.iter().all(printable) {
        problems.add(
            &at,
            "does not have {} once between printable characters",
            "write for example Bearer {}",
        );
    }
    problems.length(&at, format, bound::HEADER_FORMAT);
    let at = format!("{field}.secretKeyRef");
    problems.text(&format!("{at}.name"), &secret_key_ref.name, bound::NAME);
    problems.text(
        &format!("{at}.key"),
        &secret_key_ref.key,
        bound::VARIABLE_NAME,
    );
    let at = format!("{field}.methods");
    problems.entries(&at, methods.len(), bound::METHODS);
    unrepeated(problems, &at, methods);
    for (index, method) in methods.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            problems.add(
                &at,
                format!("is `{method}`, which is no method"),
                "write for example GET",
            );
        }
        problems.length(&at, method, bound::METHOD);
    }
    path_globs(problems, &format!("{field}.paths"), paths);
}
