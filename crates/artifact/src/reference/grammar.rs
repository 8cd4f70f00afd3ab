//! The grammar of an image's parts, from the OCI distribution specification and
//! RFC 1123. Knows nothing of how they are put together; called by the parser.

/// A DNS name, an IPv4 address or a bracketed IPv6 address, with an optional
/// port.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

/// A DNS label of RFC 1123.
fn is_label(text: &str) -> bool {
    const LABEL_MAX: usize = 63;
    (1..=LABEL_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A port without sign or leading zero, so that one host has one spelling.
fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|port| port > 0 && port.to_string() == text)
}

/// Segments as in the distribution specification: alphanumerics, between them
/// one `.`, one or two `_`, or any number of `-`.
pub(super) fn is_repository(text: &str) -> bool {
    text.split('/').all(is_segment)
}

fn is_segment(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts_and_ends = text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().next_back().is_some_and(is_alphanumeric);
    starts_and_ends
        && text
            .split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__")
                    || separator.bytes().all(|byte| byte == b'-')
            })
}

/// A tag of the distribution specification.
pub(super) fn is_tag(text: &str) -> bool {
    const TAG_MAX: usize = 128;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}
