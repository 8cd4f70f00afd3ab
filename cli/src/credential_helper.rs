//! Docker's credential helpers: programs `docker-credential-NAME` that keep a
//! developer's passwords in the system's keychain. Only the configuration of who
//! types the command names them; what comes from a cluster or a project never
//! does. `access.rs` asks.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use artifact::ImageReference;
use registry::Credentials;
use serde::Deserialize;

use crate::failure::Failure;

/// What Docker Hub is called where its credentials are kept.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// An answer is a user name and a token.
const ANSWER_MAX: u64 = 64 * 1024;
/// The user name of a token that only Docker can turn into one for a registry.
const IDENTITY_TOKEN: &str = "<token>";
/// How a helper says that it has nothing (docker-credential-helpers, `errors.go`).
const NOTHING: &str = "credentials not found in native keychain";

/// A helper, and the registry it is to be asked about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Helper {
    name: String,
    server: String,
}

/// As much of Docker's configuration as names helpers.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that Docker would ask for an image: the registry's own, else the
    /// one for all. Nothing when the configuration names none, or is none.
    pub(crate) fn of(config: &[u8], image: &ImageReference) -> Option<Self> {
        let config: DockerConfig = serde_json::from_slice(config).ok()?;
        let (server, keys) = match image.registry() {
            "docker.io" | "index.docker.io" => {
                (DOCKER_HUB, [DOCKER_HUB, "index.docker.io", "docker.io"])
            }
            other => (other, [other; 3]),
        };
        let own = keys.iter().find_map(|key| config.cred_helpers.get(*key));
        let name = own.unwrap_or(&config.creds_store);
        (!name.is_empty()).then(|| Self {
            name: name.clone(),
            server: server.to_owned(),
        })
    }

    /// What it keeps for the registry, if it keeps something.
    ///
    /// # Errors
    /// When it cannot be started, fails, or answers with what it should not.
    pub(crate) fn ask(&self) -> Result<Option<Credentials>, Failure> {
        let program = format!("docker-credential-{}", self.name);
        let failed = |what: &dyn std::fmt::Display| {
            Failure::unavailable(
                format!("{program}, which Docker's config.json names, {what}"),
                "install it, or take its name out of credsStore and credHelpers and log in again with `docker login`",
            )
        };
        let failed_to = |error: std::io::Error| failed(&format!("cannot be asked ({error})"));
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A keychain may have to explain what it asks for.
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed_to)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its question may still answer.
            let _unread = stdin.write_all(self.server.as_bytes());
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut limited = stdout.take(ANSWER_MAX);
            limited.read_to_end(&mut answer).map_err(failed_to)?;
        }
        let status = child.wait().map_err(failed_to)?;
        if !status.success() {
            return if String::from_utf8_lossy(&answer).trim() == NOTHING {
                Ok(None)
            } else {
                // Its words are not shown: nobody knows what is among them.
                Err(failed(&format!("ended with {status}")))
            };
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(&answer) else {
            return Err(failed(&"did not answer with a user name and a secret"));
        };
        if answer.username == IDENTITY_TOKEN {
            return Err(failed(
                &"gave an identity token, which only Docker itself can use",
            ));
        }
        Ok(Some(Credentials::basic(answer.username, answer.secret)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_own_helper_comes_before_the_one_for_all() {
        let config = br#"{"credsStore": "keychain", "credHelpers": {"a.example:5000": "own", "https://index.docker.io/v1/": "hub"}}"#;
        let named = |image: &str| {
            let helper = Helper::of(config, &image.parse().unwrap()).unwrap();
            (helper.name, helper.server)
        };
        let of = |name: &str, server: &str| (name.to_owned(), server.to_owned());
        assert_eq!(named("a.example:5000/x:1"), of("own", "a.example:5000"));
        assert_eq!(named("b.example/x:1"), of("keychain", "b.example"));
        assert_eq!(named("docker.io/shop/x:1"), of("hub", DOCKER_HUB));
        for config in ["{}", "nonsense", r#"{"auths": {"b.example": {}}}"#] {
            let image = "b.example/x:1".parse().unwrap();
            assert_eq!(Helper::of(config.as_bytes(), &image), None, "{config}");
        }
    }
}
