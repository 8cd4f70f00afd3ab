//! `lighterman sign`: a signature, as cosign writes it, beside what was pushed.
//!
//! Signs the digest that the reference stands for now, and says which that was.

use std::fmt;

use artifact::Digest;
use artifact::signature::{self, SigningKey};
use bytes::Bytes;
use serde::Serialize;

use crate::args::Sign;
use crate::failure::Failure;
use crate::key;
use crate::store::Store;

/// What was signed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Signed {
    reference: String,
    digest: Digest,
    key_id: String,
}

/// Signs what is there.
pub(crate) async fn run(args: &Sign) -> Result<Signed, Failure> {
    let key = key::read_private(&args.key)?;
    let store = Store::open(&args.target, &args.access)?;
    let digest = store.resolve().await?;
    attach(&store, &digest, &key).await?;
    Ok(Signed {
        reference: store.to_string(),
        digest,
        key_id: key.public_key().key_id(),
    })
}

/// Puts a signature by `key` beside `digest`.
pub(crate) async fn attach(
    store: &Store,
    digest: &Digest,
    key: &SigningKey,
) -> Result<(), Failure> {
    let bundle = signature::sign(key, digest).map_err(|error| Failure::unavailable(error, ""))?;
    store.attach(digest, Bytes::from(bundle)).await
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "signed  {}", self.reference)?;
        writeln!(f, "digest  {}", self.digest)?;
        write!(f, "by key  {}", self.key_id)
    }
}
