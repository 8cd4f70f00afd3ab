//! How the development registry misbehaves: rules by method and path, the first
//! that matches wins. Tests write them; `serve` applies them.

use std::time::Duration;

use http::Method;

/// What goes wrong, rule by rule. Empty: nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Rule>);

/// A fault and the requests that it meets.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<Method>,
    path: String,
    times: Option<usize>,
    fault: Fault,
}

/// One way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with a status and nothing else.
    Status(u16),
    /// Answers 429 and asks to wait this many seconds.
    RateLimited {
        /// Seconds.
        retry_after: u64,
    },
    /// Answers with this instead.
    Answer {
        /// The status.
        status: u16,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Answers with a body that never ends.
    Endless {
        /// The status.
        status: u16,
    },
    /// Redirects, whatever was asked.
    Redirect {
        /// The `Location`, absolute or relative.
        location: String,
    },
    /// Answers correctly, after a pause.
    Delay(Duration),
    /// Answers correctly, one byte in each interval.
    Drip(Duration),
    /// Ends the body early, with a `Content-Length` that agrees.
    Truncate {
        /// Bytes that are sent.
        to: usize,
    },
    /// Breaks the connection in the middle of the body.
    Cut {
        /// Bytes that are sent.
        at: usize,
    },
    /// Sends more than it should, without a `Content-Length`.
    Overlong {
        /// Bytes too many.
        by: usize,
    },
    /// Turns the last byte of the body over.
    Corrupt,
    /// Says another `Docker-Content-Digest` than the body has.
    WrongDigestHeader,
    /// Says no `Docker-Content-Digest`.
    NoDigestHeader,
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a rule behind those that are there.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.0.push(rule);
        self
    }

    /// The fault that a request meets, counted.
    pub(super) fn next(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let rule = self.0.iter_mut().find(|rule| rule.meets(method, path))?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some(rule.fault.clone())
    }
}

impl From<Rule> for Faults {
    fn from(rule: Rule) -> Self {
        Self::none().with(rule)
    }
}

impl Rule {
    /// A fault for every request to a path; `*` stands for any text.
    pub fn on(path: impl Into<String>, fault: Fault) -> Self {
        Self {
            method: None,
            path: path.into(),
            times: None,
            fault,
        }
    }

    /// Only for this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only this often.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn meets(&self, method: &Method, path: &str) -> bool {
        self.times != Some(0)
            && self
                .method
                .as_ref()
                .is_none_or(|expected| expected == method)
            && matches(&self.path, path)
    }
}

/// Whether a text matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| text.get(at..).is_some_and(|text| matches(rest, text)))
}
