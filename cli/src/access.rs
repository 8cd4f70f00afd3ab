//! How this machine reaches registries: the client, and whose credentials it uses.
//!
//! Credentials are those of `docker login` (`$DOCKER_CONFIG/config.json`): what a
//! credential helper keeps, else what is in the file, matched to an image by the
//! cluster's own rules. Called by `store.rs` and by the local cluster.

use std::path::PathBuf;

use artifact::ImageReference;
use registry::{Client, Config, Credentials, PullSecret};

use crate::args::Access;
use crate::credential_helper::Helper;
use crate::failure::Failure;

/// A client with the bounds of the cluster's.
pub(crate) fn client(access: &Access) -> Result<Client, Failure> {
    let mut ca_bundles = Vec::new();
    for file in &access.registry_ca {
        ca_bundles.push(std::fs::read(file).map_err(|error| Failure::file(file, "read", &error))?);
    }
    let config = Config {
        plain_http: access.plain_http.clone(),
        ca_bundles,
        ..Config::default()
    };
    Client::new(config).map_err(|error| Failure::usage(error, ""))
}

/// The most specific credentials for an image; anonymous when there are none.
pub(crate) fn credentials(image: &ImageReference) -> Result<Credentials, Failure> {
    let Some(file) = docker_config() else {
        return Ok(Credentials::anonymous());
    };
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Credentials::anonymous());
        }
        Err(error) => return Err(Failure::file(&file, "read", &error)),
    };
    let unusable = |error: registry::pull_secret::PullSecretError| {
        Failure::unavailable(
            format!("{}: {error}", file.display()),
            "log in again with `docker login`",
        )
    };
    if let Some(helper) = Helper::of(&text, image)
        && let Some(credentials) = helper.ask()?
    {
        return Ok(credentials);
    }
    let secret = PullSecret::parse(&text).map_err(unusable)?;
    let credentials = PullSecret::for_image(&[secret], image).map_err(unusable)?;
    Ok(credentials
        .into_iter()
        .next()
        .unwrap_or_else(Credentials::anonymous))
}

/// A registry's failure: a refusal of the artifact is a verdict, everything else is none.
pub(crate) fn failure(error: registry::Error) -> Failure {
    match error {
        registry::Error::Refused(refusal) => Failure::refused(refusal, ""),
        registry::Error::Unreachable { .. } => Failure::unavailable(
            sentence(&error),
            "for a registry on this machine, start `lighterman registry`; for one that speaks http, add --plain-http",
        ),
        other => Failure::unavailable(sentence(&other), ""),
    }
}

/// An error with its innermost cause, which names what the network said.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let (outer, inner) = (error.to_string(), cause.to_string());
    if outer.contains(&inner) {
        outer
    } else {
        format!("{outer} ({inner})")
    }
}

fn docker_config() -> Option<PathBuf> {
    std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"))
}
