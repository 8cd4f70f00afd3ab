//! As much DER (X.690) as certificates and timestamps need, written out so that no
//! encoder is shared with what is tested.

pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
pub(crate) const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub(crate) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
pub(crate) const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
pub(crate) const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
pub(crate) const TST_INFO: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04,
];

pub(crate) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match length {
        0..0x80 => der.push(length as u8),
        0x80..0x100 => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend(content);
    der
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x31, &parts.concat())
}

pub(crate) fn integer(value: u8) -> Vec<u8> {
    tagged(0x02, &[value])
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tagged(0x06, content)
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    tagged(0x0c, text.as_bytes())
}

pub(crate) fn algorithm(id: &[u8]) -> Vec<u8> {
    sequence(&[&oid(id)])
}

/// The members of a constructed value, each with its tag and length.
pub(crate) fn members(der: &[u8]) -> Vec<&[u8]> {
    let mut rest = content(der);
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (member, after) = rest.split_at(length(rest));
        members.push(member);
        rest = after;
    }
    members
}

fn content(der: &[u8]) -> &[u8] {
    &der[header(der)..length(der)]
}

fn header(der: &[u8]) -> usize {
    match der[1] {
        0..0x80 => 2,
        long => 2 + usize::from(long & 0x7f),
    }
}

fn length(der: &[u8]) -> usize {
    let header = header(der);
    match der[1] {
        short @ 0..0x80 => header + usize::from(short),
        _ => {
            der[2..header]
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte))
                + header
        }
    }
}
