//! Orders as they come in, and answers as they go out.

/// One order: names and values, as often as they were given.
pub struct Order(Vec<(String, String)>);

impl Order {
    /// The orders of a body, one a line.
    pub fn all(body: &str) -> Vec<Order> {
        let lines = body.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let pairs = line.split('&').filter_map(|pair| pair.split_once('='));
                Order(pairs.map(|(name, value)| (name.into(), undo(value))).collect())
            })
            .collect()
    }

    /// The first value of a name, or nothing.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The values of a name that are `name:value` themselves.
    pub fn fields(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let fields = self.values(name).filter_map(|field| field.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
    }

    pub fn number<T: core::str::FromStr>(&self, name: &str, otherwise: T) -> T {
        self.get(name).parse().unwrap_or(otherwise)
    }

    /// Octets or groups of an address.
    pub fn address(&self) -> Option<core::net::IpAddr> {
        self.get("address").parse().ok()
    }
}

/// `%XX` and `+` undone.
fn undo(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Status, headers and body in one line.
pub fn told(status: u16, headers: &[(String, Vec<u8>)], shown: &Order, body: &[u8]) -> String {
    let mut line = status.to_string();
    for name in shown.values("show") {
        for (_, value) in headers.iter().filter(|(key, _)| key == name) {
            line += &format!(" {name}={}", String::from_utf8_lossy(value));
        }
    }
    let body = String::from_utf8_lossy(body).replace('\n', "\\n");
    match body.is_empty() {
        true => line,
        false => format!("{line} {body}"),
    }
}

/// `ErrorCode::HttpRequestDenied` as `http-request-denied`.
pub fn kebab(code: &str) -> String {
    let name = code.rsplit("::").next().unwrap_or(code);
    let name = name.split(['(', ' ', '{']).next().unwrap_or(name);
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// `ErrorCode::DnsError(..)`: the name before what is in it.
pub fn code(debug: &str) -> String {
    kebab(debug.split('(').next().unwrap_or(debug))
}
