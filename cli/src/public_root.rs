//! The root that counts where a trust policy names none: that of this build, a
//! `trusted_root.json` that is given, or what a copy of a TUF repository leads to, which is
//! checked as a node checks what the operator relays. Called by `verify`; fetches nothing.

use std::path::{Path, PathBuf};

use artifact::limits::{TRUSTED_ROOT_MAX, TUF_METADATA_MAX};
use artifact::root::{GatherError, PublicGoodMetadata, RootOfTrust, TrustedRoot};
use bytes::Bytes;
use jiff::Timestamp;

use crate::args::PublicRoot;
use crate::failure::Failure;

/// The root that `args` lead to; none when the one of this build counts.
pub(crate) async fn read(args: &PublicRoot) -> Result<Option<TrustedRoot>, Failure> {
    if let Some(file) = &args.trusted_root {
        let json = file_of(file, TRUSTED_ROOT_MAX).await?;
        let root = TrustedRoot::from_json(&json);
        return root.map(Some).map_err(|error| unusable(file, &error));
    }
    let Some(folder) = &args.tuf_repository else {
        return Ok(None);
    };
    let start = match &args.tuf_root {
        Some(file) => RootOfTrust::from_json(file_of(file, TUF_METADATA_MAX).await?)
            .map_err(|error| unusable(file, &error))?,
        None => RootOfTrust::public_good().map_err(|error| Failure::unavailable(error, ""))?,
    };
    let metadata = PublicGoodMetadata::gather(&start, |name, most| below(folder, name, most));
    let metadata = metadata.await.map_err(|error| match error {
        GatherError::File { source, .. } => source,
        error => unusable(folder, &error),
    })?;
    // Rollback is for those who saw it before; here is nobody who did.
    let believed = metadata.check(&start, None, Timestamp::now());
    let root = believed.and_then(|believed| believed.trusted_root());
    root.map(Some).map_err(|error| unusable(folder, &error))
}

/// One file of the copy, as its repository names it; none when there is none.
async fn below(folder: &Path, name: String, most: usize) -> Result<Option<Bytes>, Failure> {
    let path: PathBuf = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    file_of(&path, most).await.map(Some)
}

async fn file_of(path: &Path, most: usize) -> Result<Bytes, Failure> {
    let failed = |error: std::io::Error| Failure::file(path, "read", &error);
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if length > most as u64 {
        return Err(unusable(path, &format!("it has more than {most} bytes")));
    }
    tokio::fs::read(path).await.map(Bytes::from).map_err(failed)
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()), "")
}
