//! `lighterman verify`: the cluster's verdict, by the cluster's own function.
//!
//! Fetches what a node would fetch and calls `artifact::judge`. With `--key` the
//! policy is one that wants that key for this image.

use std::path::Path;

use artifact::ImageReference;
use artifact::root::Roots;
use artifact::trust::{Policy, Scope, Trust};
use jiff::Timestamp;
use serde_json::json;

use crate::args::{Against, Verify};
use crate::documents;
use crate::failure::Failure;
use crate::key;
use crate::output::Output;
use crate::public_root;
use crate::roots::roots;
use crate::store::Store;
use crate::verdict::Verdict;

/// Judges what the reference stands for now, and shows why.
pub(crate) async fn run(args: &Verify, output: &Output) -> Result<(), Failure> {
    let store = Store::open(&args.target, &args.access)?;
    let image = match store.image() {
        Some(image) => image.clone(),
        None => args
            .image
            .parse()
            .map_err(|error| Failure::usage(format!("--image: {error}"), ""))?,
    };
    let (policies, mut roots) = against(&args.against, &image)?;
    if let Some(root) = public_root::read(&args.public_root).await? {
        roots = roots.with_public_good(Ok(root));
    }
    let mut labels = documents::namespace_labels(&args.namespace);
    labels.extend(args.namespace_label.iter().cloned());
    let scope = Scope {
        image: &image,
        namespace: &args.namespace,
        labels: &labels,
    };
    artifact::trust::admits_contact(&policies, &scope)
        .map_err(|refusal| Failure::refused(format!("{}: {refusal}", refusal.code()), ""))?;

    let digest = store.resolve().await?;
    let parcel = store.pull(&digest).await?;
    let trust = Trust {
        policies: &policies,
        roots: &roots,
        now: Timestamp::now(),
    };
    let judgement = artifact::judge(&scope, &digest, &parcel, &trust);
    let verdict = Verdict::new(store.to_string(), digest, &judgement);
    output.answer(&verdict);
    verdict.conclude()
}

fn against(against: &Against, image: &ImageReference) -> Result<(Vec<Policy>, Roots), Failure> {
    if let Some(file) = &against.key {
        return Ok((vec![key_policy(file, image)?], Roots::new()));
    }
    let documents = documents::read(&against.policy)?.complete()?;
    let policies = documents.trust()?;
    let roots = roots(&policies, &documents.config_maps);
    Ok((policies, roots))
}

fn key_policy(file: &Path, image: &ImageReference) -> Result<Policy, Failure> {
    let pem = key::read_public(file)?.to_pem();
    let spec = json!({
        "images": [{"glob": image.without_tag().to_string()}],
        "authorities": [{"name": file.display().to_string(), "key": {"data": pem}, "ctlog": "Ignore"}],
    });
    Policy::parse("--key", &spec).map_err(|error| Failure::usage(error, ""))
}
