//! Finds the signatures of an image: what refers to it, through the referrers
//! API or the fallback tag (OCI distribution 1.1). "None" and "could not find
//! out" are kept apart: only a registry without the API leads to the fallback,
//! and only a fallback tag that does not exist means that nothing is attached.

use std::collections::BTreeSet;

use artifact::Digest;
use bytes::Bytes;
use http::Method;
use http::header::LINK;
use reqwest::Url;

use crate::document::{BUNDLE_PREFIX, Descriptor, Index, Manifest, OCI_EMPTY, OCI_INDEX};
use crate::error::Error;
use crate::repository::Repository;
use crate::simple_signing;
use crate::transport::Exchange;

/// Entries of a list that are kept to choose from.
const LISTED_MAX: usize = 1024;

/// What a registry says refers to an image.
struct Listed {
    descriptors: Vec<Descriptor>,
    /// Whether that is all of it.
    complete: bool,
}

/// The signatures of `subject`, each checked by digest: the bundles attached to it,
/// and those that cosign 2 left under a tag. Bundles
/// over the size limit are passed over, so that whoever may push cannot hide a
/// good signature behind a huge one.
///
/// # Errors
/// Whenever it could not be found out what is attached.
pub(crate) async fn bundles(
    repository: &Repository<'_>,
    subject: &Digest,
) -> Result<Vec<Bytes>, Error> {
    let limits = &repository.client().config().limits;
    let mut listed = list(repository, subject).await?;
    // What calls itself a signature is looked at first, but nothing is left out
    // for what it calls itself: registries fill `artifactType` differently.
    listed.descriptors.sort_by_key(likelihood);
    let mut complete = listed.complete && listed.descriptors.len() <= limits.referrers;

    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in listed.descriptors.iter().take(limits.referrers) {
        let manifest = match repository
            .manifest_by_digest(&entry.digest, limits.manifest)
            .await
        {
            Ok(manifest) => manifest,
            // A fallback index often outlives what it lists.
            Err(Error::NotFound { .. } | Error::TooLarge { .. }) => continue,
            Err(error) => return Err(error),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&manifest) else {
            continue;
        };
        // The list is the registry's claim; the manifest itself must agree.
        if manifest.subject.as_ref().map(|subject| &subject.digest) != Some(subject) {
            continue;
        }
        for bundle in manifest.bundles() {
            if bundle.size > limits.bundle as u64 || !seen.insert(bundle.digest) {
                continue;
            }
            if found.len() == limits.bundles {
                complete = false;
                break;
            }
            found.push(
                repository
                    .blob(&bundle.digest, bundle.size, limits.bundle)
                    .await?,
            );
        }
    }
    let room = limits.bundles.saturating_sub(found.len());
    found.extend(simple_signing::signatures(repository, subject, room).await?);
    if !complete {
        tracing::warn!(
            registry = repository.registry(),
            repository = repository.name(),
            digest = %subject,
            bundles = found.len(),
            "more is attached to the image than is looked at"
        );
        if found.is_empty() {
            return Err(Error::TooManyReferrers {
                limit: limits.referrers,
            });
        }
    }
    Ok(found)
}

/// The index under the fallback tag, or none when there is no such tag.
pub(crate) async fn fallback(
    repository: &Repository<'_>,
    subject: &Digest,
) -> Result<Option<Index>, Error> {
    let limit = repository.client().config().limits.index;
    match repository.manifest(&fallback_tag(subject), limit).await {
        Ok(body) => parse(repository, &body).map(Some),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tag that lists referrers where there is no API (OCI distribution 1.1).
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// Whether the registry answers to the referrers API.
pub(crate) async fn is_supported(
    repository: &Repository<'_>,
    subject: &Digest,
) -> Result<bool, Error> {
    Ok(
        page(repository, repository.url(&format!("referrers/{subject}"))?)
            .await?
            .is_some(),
    )
}

async fn list(repository: &Repository<'_>, subject: &Digest) -> Result<Listed, Error> {
    let limits = &repository.client().config().limits;
    let mut descriptors = Vec::new();
    let mut next = Some(repository.url(&format!("referrers/{subject}"))?);
    let mut pages = 0;
    while let Some(url) = next {
        if pages == limits.pages || descriptors.len() >= LISTED_MAX {
            return Ok(Listed {
                descriptors,
                complete: false,
            });
        }
        let Some((index, following)) = page(repository, url).await? else {
            if pages > 0 {
                return Err(malformed(repository, None));
            }
            let index = fallback(repository, subject).await?;
            return Ok(Listed {
                descriptors: index.iter().flat_map(Index::descriptors).collect(),
                complete: true,
            });
        };
        descriptors.extend(index.descriptors());
        next = following;
        pages += 1;
    }
    Ok(Listed {
        descriptors,
        complete: true,
    })
}

/// One page of the referrers API and the URL of the next; none when the
/// registry has no such API.
async fn page(
    repository: &Repository<'_>,
    url: Url,
) -> Result<Option<(Index, Option<Url>)>, Error> {
    let mut exchange = Exchange::new(Method::GET, url.clone());
    exchange.accept = Some(OCI_INDEX);
    let answer = repository.send(exchange).await?;
    match answer.status().as_u16() {
        200 => {}
        // How registries without the API say so. Everything else, and above
        // all 401, 403 and 5xx, is "could not check".
        400 | 404 | 405 | 501 => return Ok(None),
        _ => return Err(repository.error(answer, "the list of signatures").await),
    }
    let next = match answer.header(LINK).and_then(next_link) {
        None => None,
        // A list that continues at another host is not a list of this registry.
        Some(link) => Some(
            url.join(link)
                .ok()
                .filter(|next| next.origin() == url.origin())
                .ok_or_else(|| malformed(repository, None))?,
        ),
    };
    let limit = repository.client().config().limits.index;
    let body = answer.read("the list of signatures", limit).await?;
    Ok(Some((parse(repository, &body)?, next)))
}

fn parse(repository: &Repository<'_>, body: &[u8]) -> Result<Index, Error> {
    serde_json::from_slice(body).map_err(|source| malformed(repository, Some(source)))
}

fn malformed(repository: &Repository<'_>, source: Option<serde_json::Error>) -> Error {
    Error::Malformed {
        registry: repository.registry().to_owned(),
        what: "the list of signatures",
        source,
    }
}

/// Smaller is looked at earlier.
fn likelihood(entry: &Descriptor) -> u8 {
    match entry.artifact_type.as_deref() {
        Some(kind) if kind.starts_with(BUNDLE_PREFIX) => 0,
        Some(OCI_EMPTY) | None => 1,
        Some(_) => 2,
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let parameters = after.split(',').next().unwrap_or_default();
        let is_next = parameters.split(';').any(|parameter| {
            parameter
                .trim()
                .strip_prefix("rel=")
                .is_some_and(|relation| relation.trim_matches('"').eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        assert_eq!(
            next_link(r#"</v2/a/referrers/x?n=1>; rel="next""#),
            Some("/v2/a/referrers/x?n=1")
        );
        assert_eq!(
            next_link(r#"</first>; rel="first", </second>; rel=next"#),
            Some("/second")
        );
        for value in ["", "</a>", r#"</a>; rel="prev""#, "garbage", "<", "<a"] {
            assert_eq!(next_link(value), None, "{value}");
        }
    }
}
