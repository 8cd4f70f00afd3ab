//! Who asks: nobody, or a user with a password. It never shows the password,
//! and it has an identity by which tokens are kept apart. It knows nothing of
//! where it came from (a pull secret, a command line) or of HTTP.

use std::fmt;

use artifact::Digest;

/// The credentials of one caller at one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

/// Tells two credentials apart without holding a password: what cached tokens
/// are keyed by, so that no token is ever shared between two callers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Identity {
    Anonymous,
    Basic(Digest),
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Anonymous,
    Basic { username: String, password: String },
}

impl Credentials {
    /// Nobody in particular: public images.
    pub const fn anonymous() -> Self {
        Self(Kind::Anonymous)
    }

    /// A user name with a password or an access token.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Basic {
            username: username.into(),
            password: password.into(),
        })
    }

    /// Whether these are no credentials at all.
    pub fn is_anonymous(&self) -> bool {
        self.0 == Kind::Anonymous
    }

    /// The user's name, when there is one.
    pub fn username(&self) -> Option<&str> {
        match &self.0 {
            Kind::Anonymous => None,
            Kind::Basic { username, .. } => Some(username),
        }
    }

    /// Stands for these credentials where they must not be kept: two that say
    /// the same have the same.
    pub fn fingerprint(&self) -> Digest {
        match self.identity() {
            Identity::Anonymous => Digest::of(b"anonymous"),
            Identity::Basic(digest) => digest,
        }
    }

    pub(crate) fn pair(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Kind::Anonymous => None,
            Kind::Basic { username, password } => Some((username, password)),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        match &self.0 {
            Kind::Anonymous => Identity::Anonymous,
            // A length in front, so that ("ab", "c") and ("a", "bc") differ.
            Kind::Basic { username, password } => Identity::Basic(Digest::of(
                format!("{}:{username}{password}", username.len()).as_bytes(),
            )),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Anonymous => f.write_str("anonymous"),
            Kind::Basic { username, .. } => write!(f, "basic({username}, redacted)"),
        }
    }
}
