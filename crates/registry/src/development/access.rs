//! Who may do what in the development registry: nobody asked, Basic, or Bearer
//! with a token server under `/token`. It decides; `serve` answers.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Tokens kept; all are forgotten when there are more, and clients ask again.
const TOKENS_MAX: usize = 10_000;

/// How a development registry asks who is there.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// It does not ask.
    #[default]
    Open,
    /// A user name and a password with every request.
    Basic(Vec<Account>),
    /// A token, from its own token server or the one at `realm`.
    Bearer {
        /// Who gets a token for credentials.
        accounts: Vec<Account>,
        /// Whether anybody gets a token to pull.
        anonymous_pull: bool,
        /// The token server named in challenges; its own when absent.
        realm: Option<String>,
    },
}

/// A user of a development registry.
#[derive(Clone)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Repositories it may use, each with all below it; empty for all.
    pub repositories: Vec<String>,
}

/// Tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: BTreeMap<String, Permission>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Permission {
    repository: String,
    push: bool,
}

impl Account {
    /// A user of all repositories.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            repositories: Vec::new(),
        }
    }

    /// A user of one repository and all below it.
    #[must_use]
    pub fn only(mut self, repository: impl Into<String>) -> Self {
        self.repositories.push(repository.into());
        self
    }

    fn may_use(&self, repository: &str) -> bool {
        self.repositories.is_empty()
            || self.repositories.iter().any(|allowed| {
                repository
                    .strip_prefix(allowed.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, redacted)", self.name)
    }
}

impl Access {
    /// Whether a request with this `Authorization` may use a repository.
    pub(super) fn permits(
        &self,
        tokens: &Tokens,
        authorization: Option<&str>,
        repository: &str,
        push: bool,
    ) -> bool {
        match self {
            Self::Open => true,
            Self::Basic(accounts) => {
                account(accounts, authorization).is_some_and(|account| account.may_use(repository))
            }
            Self::Bearer { .. } => authorization
                .and_then(|value| value.strip_prefix("Bearer "))
                .and_then(|token| tokens.given.get(token))
                .is_some_and(|permission| {
                    permission.repository == repository && (permission.push || !push)
                }),
        }
    }

    /// Whether it asks who is there.
    pub(super) fn asks(&self) -> bool {
        !matches!(self, Self::Open)
    }

    /// The challenge for who is not let in.
    pub(super) fn challenge(&self, origin: &str) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Basic(_) => Some("Basic realm=\"development\"".to_owned()),
            Self::Bearer { realm, .. } => {
                let own = format!("{origin}/token");
                let realm = realm.as_deref().unwrap_or(&own);
                Some(format!("Bearer realm=\"{realm}\",service=\"development\""))
            }
        }
    }

    /// A token for `scope`, as `repository:<name>:pull,push`; none when the
    /// credentials are wrong or do not reach so far.
    pub(super) fn token(
        &self,
        tokens: &mut Tokens,
        authorization: Option<&str>,
        scope: &str,
    ) -> Option<String> {
        let Self::Bearer {
            accounts,
            anonymous_pull,
            ..
        } = self
        else {
            return None;
        };
        let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let push = actions.split(',').any(|action| action == "push");
        let allowed = match authorization {
            // Wrong credentials are an error even where none would do.
            Some(_) => account(accounts, authorization)?.may_use(repository),
            None => *anonymous_pull && !push,
        };
        allowed.then(|| {
            tokens.give(Permission {
                repository: repository.to_owned(),
                push,
            })
        })
    }
}

impl Tokens {
    fn give(&mut self, permission: Permission) -> String {
        if self.given.len() >= TOKENS_MAX {
            self.given.clear();
        }
        self.next += 1;
        let token = format!("development-{:x}", self.next);
        self.given.insert(token.clone(), permission);
        token
    }

    /// Forgets all tokens, as a token server that was restarted.
    pub(super) fn revoke_all(&mut self) {
        self.given.clear();
    }
}

fn account<'a>(accounts: &'a [Account], authorization: Option<&str>) -> Option<&'a Account> {
    let decoded = STANDARD
        .decode(authorization?.strip_prefix("Basic ")?)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    accounts
        .iter()
        .find(|account| account.name == name && account.password == password)
}
