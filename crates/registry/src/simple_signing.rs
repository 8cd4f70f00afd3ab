//! Signatures of cosign 2: an image of their own under the tag
//! `sha256-<hex>.sig`, one layer for each, the signature and what proves it in
//! annotations. They are wrapped as `artifact` reads them, and travel with the bundles.

use artifact::Digest;
use artifact::signature::{
    SIMPLE_SIGNING_ANNOTATION, SIMPLE_SIGNING_MEDIA_TYPE, simple_signing, simple_signing_tag,
};
use bytes::Bytes;

use crate::document::Manifest;
use crate::error::Error;
use crate::repository::Repository;

/// The signatures under the tag, up to `most`. What is no such signature, or too
/// large for one, is passed over: whoever may push must not hide a good one.
///
/// # Errors
/// Whenever it could not be found out whether there are any.
pub(crate) async fn signatures(
    repository: &Repository<'_>,
    subject: &Digest,
    most: usize,
) -> Result<Vec<Bytes>, Error> {
    let limits = &repository.client().config().limits;
    let tag = simple_signing_tag(subject);
    let manifest = match repository.manifest(&tag, limits.manifest).await {
        Ok(manifest) => manifest,
        Err(Error::NotFound { .. } | Error::TooLarge { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&manifest) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let signed = manifest.layers.iter().filter(|layer| {
        layer.media_type == SIMPLE_SIGNING_MEDIA_TYPE
            && layer.annotations.contains_key(SIMPLE_SIGNING_ANNOTATION)
            && layer.size <= limits.bundle as u64
    });
    for layer in signed.take(most) {
        let payload = match repository
            .blob(&layer.digest, layer.size, limits.bundle)
            .await
        {
            Ok(payload) => payload,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        let wrapped = simple_signing(&payload, &layer.annotations);
        found.extend(
            wrapped
                .filter(|of| of.len() <= limits.bundle)
                .map(Bytes::from),
        );
    }
    Ok(found)
}
