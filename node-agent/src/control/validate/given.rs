//! What was handed over for a revision, held against what the revision names: no value, file or
//! credential comes in beside the seal. Plain functions over values; called by `provide`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use capability::Protocol;
use crds::component::{EnvVar, KeyToPath, OutboundGrant, Volume};
use crds::handover::{Values, credential_key};
use crds::revision::RevisionDocument;
use http::{HeaderName, HeaderValue, Method};

use super::Invalid;
use crate::message::CredentialOrder;

/// The content of volumes: bytes by relative path, by the name of the volume.
pub type Files = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Whether the revision takes anything from Secrets or ConfigMaps. One that does not starts
/// without the operator.
pub fn needs_values(document: &RevisionDocument) -> bool {
    let mut variables = document.env.iter().chain(&document.config);
    !document.env_from.is_empty()
        || variables.any(|variable| variable.value_from.is_some())
        || document
            .volumes
            .iter()
            .any(|volume| contents(volume).is_some())
        || credentials_of(document).next().is_some()
}

/// Whether any of the values come from a Secret: such may be kept in memory only.
pub fn names_secrets(document: &RevisionDocument) -> bool {
    let from_sources = document
        .env_from
        .iter()
        .any(|source| source.secret_ref.is_some());
    let mut variables = document.env.iter().chain(&document.config);
    from_sources
        || document
            .volumes
            .iter()
            .any(|volume| volume.secret.is_some())
        || credentials_of(document).next().is_some()
        || variables.any(|variable| {
            let source = variable.value_from.as_ref();
            source.is_some_and(|source| source.secret_key_ref.is_some())
        })
}

/// The values of a revision: its own plain ones, and for what it takes from elsewhere the
/// values that were handed over. A value that the revision does not ask for is refused, so that
/// nobody can slip one in beside the seal.
pub fn values(
    document: &RevisionDocument,
    handed_over: Values,
) -> Result<capability::Values, Invalid> {
    let prefixes: Vec<&str> = document
        .env_from
        .iter()
        .map(|source| source.prefix.as_deref().unwrap_or_default())
        .collect();
    let from_a_source = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    Ok(capability::Values {
        args: document.args.clone(),
        env: select(&document.env, handed_over.env, from_a_source)?,
        config: select(&document.config, handed_over.config, |_| false)?,
    })
}

/// The content of every volume that is one of a ConfigMap or a Secret.
pub fn files(
    document: &RevisionDocument,
    handed_over: &BTreeMap<String, BTreeMap<String, String>>,
) -> Result<Files, Invalid> {
    let mut files = Files::new();
    for volume in &document.volumes {
        let Some(Contents { items, optional }) = contents(volume) else {
            continue;
        };
        let given = handed_over.get(&volume.name);
        if given.is_none() && !optional {
            return Err(Invalid::MissingValue(format!("the volume {}", volume.name)));
        }
        let mut content = BTreeMap::new();
        for (path, encoded) in given.into_iter().flatten() {
            let place = || format!("the file {path} of the volume {}", volume.name);
            if !items.is_empty() && !items.iter().any(|item| item.path == *path) {
                return Err(Invalid::ForeignValue(place()));
            }
            let bytes = BASE64.decode(encoded).map_err(|_| Invalid::UnusableValue {
                name: place(),
                problem: "it is not base64",
            })?;
            content.insert(path.clone(), bytes);
        }
        files.insert(volume.name.clone(), content);
    }
    match handed_over.keys().find(|name| !files.contains_key(*name)) {
        Some(foreign) => Err(Invalid::ForeignValue(format!("the volume {foreign}"))),
        None => Ok(files),
    }
}

/// The headers that the host adds to requests, with their values. One whose value is missing and
/// optional is not added.
pub fn credentials(
    document: &RevisionDocument,
    handed_over: &BTreeMap<String, String>,
) -> Result<Vec<CredentialOrder>, Invalid> {
    let named: Vec<String> = credentials_of(document)
        .map(|(_, credentials)| key_of(credentials))
        .collect();
    if let Some(foreign) = handed_over.keys().find(|key| !named.contains(key)) {
        return Err(Invalid::ForeignValue(format!("the credential {foreign}")));
    }
    let mut orders = Vec::new();
    for (grant, credentials) in credentials_of(document) {
        let key = key_of(credentials);
        let Some(value) = handed_over.get(&key) else {
            if credentials.secret_key_ref.optional.unwrap_or(false) {
                continue;
            }
            return Err(Invalid::MissingValue(format!("the credential {key}")));
        };
        orders.push(credential(grant, credentials, value)?);
    }
    Ok(orders)
}

fn credential(
    grant: &OutboundGrant,
    credentials: &crds::component::Credentials,
    secret: &str,
) -> Result<CredentialOrder, Invalid> {
    let unusable = |problem| Invalid::UnusableValue {
        name: format!("the credential {}", key_of(credentials)),
        problem,
    };
    let rule = grant.rule().filter(|rule| rule.protocol == Protocol::Https);
    let rule = rule.ok_or_else(|| unusable("its host is none that HTTPS is spoken with"))?;
    let host = rule.host.as_exact().cloned();
    // One line feed at the end is the editor's.
    let secret = secret.strip_suffix('\n').unwrap_or(secret);
    let value = credentials.format.replacen("{}", secret, 1);
    // Before it reaches the worker: a line break in a Secret would be a header of its own.
    if HeaderValue::from_str(&value).is_err() {
        return Err(unusable("it has characters that a header cannot have"));
    }
    if HeaderName::try_from(&credentials.header).is_err() {
        return Err(unusable("its header has no name of a header"));
    }
    if credentials
        .methods
        .iter()
        .any(|method| Method::try_from(method.as_str()).is_err())
    {
        return Err(unusable("it names a method that is none"));
    }
    let paths = credentials.paths.iter().map(|glob| glob.parse());
    Ok(CredentialOrder {
        host: host.ok_or_else(|| unusable("its host is not one exact host"))?,
        port: rule.ports.first(),
        header: credentials.header.clone(),
        format: credentials.format.clone(),
        secret: secret.to_owned(),
        methods: credentials.methods.clone(),
        paths: paths
            .collect::<Result<_, _>>()
            .map_err(|_| unusable("it names a path that is no glob"))?,
    })
}

/// What a volume takes from a ConfigMap or a Secret.
struct Contents<'a> {
    items: &'a [KeyToPath],
    optional: bool,
}

fn contents(volume: &Volume) -> Option<Contents<'_>> {
    let from_map = volume
        .config_map
        .as_ref()
        .map(|map| (&map.items, map.optional));
    let from_secret = || {
        volume
            .secret
            .as_ref()
            .map(|secret| (&secret.items, secret.optional))
    };
    let (items, optional) = from_map.or_else(from_secret)?;
    Some(Contents {
        items,
        optional: optional.unwrap_or(false),
    })
}

fn credentials_of(
    document: &RevisionDocument,
) -> impl Iterator<Item = (&OutboundGrant, &crds::component::Credentials)> {
    let outbound = document.capabilities.network.outbound.iter();
    outbound.filter_map(|grant| Some((grant, grant.credentials.as_ref()?)))
}

fn key_of(credentials: &crds::component::Credentials) -> String {
    let reference = &credentials.secret_key_ref;
    credential_key(&reference.name, &reference.key)
}

fn select(
    variables: &[EnvVar],
    mut handed_over: BTreeMap<String, String>,
    from_a_source: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Invalid> {
    let mut selected = BTreeMap::new();
    for variable in variables {
        let given = handed_over.remove(&variable.name);
        match (&variable.value, given) {
            (Some(value), _) => {
                selected.insert(variable.name.clone(), value.clone());
            }
            (None, Some(value)) => {
                selected.insert(variable.name.clone(), value);
            }
            (None, None) if is_optional(variable) => {}
            (None, None) => return Err(Invalid::MissingValue(variable.name.clone())),
        }
    }
    for (name, value) in handed_over {
        if !from_a_source(&name) {
            return Err(Invalid::ForeignValue(name));
        }
        selected.insert(name, value);
    }
    Ok(selected)
}

fn is_optional(variable: &EnvVar) -> bool {
    variable.value_from.as_ref().is_some_and(|source| {
        let secret = source.secret_key_ref.as_ref().and_then(|key| key.optional);
        let config_map = source
            .config_map_key_ref
            .as_ref()
            .and_then(|key| key.optional);
        secret.or(config_map).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests;
