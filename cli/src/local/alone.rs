//! One local build by itself: verified as `run --set-image` would verify it, and run by nobody.
//!
//! Called by `invoke`, which needs a component and no cluster.

use std::path::Path;

use artifact::VerifiedComponent;
use artifact::root::Roots;
use artifact::trust::{Scope, Trust};
use jiff::Timestamp;
use operator::component::resolve;

use super::DEFAULT_NAMESPACE;
use super::admit::Refused;
use super::workshop::Workshop;
use crate::access;
use crate::args::{Access, Local};
use crate::documents;
use crate::failure::Failure;

/// What the build is called where it needs a name.
const NAME: &str = "build";

/// Signs a build with the development key, and verifies it.
pub(crate) async fn verified(file: &Path) -> Result<VerifiedComponent, Failure> {
    let client = access::client(&Access::default())?;
    let build = Local {
        name: NAME.to_owned(),
        file: file.to_owned(),
    };
    let mut workshop = Workshop::open(&[build], &[]).await?;
    workshop.refresh(&client).await?;
    let image = workshop.image(NAME).ok_or_else(|| {
        Failure::unavailable(format!("{} is not where it was put", file.display()), "")
    })?;
    let labels = documents::namespace_labels(DEFAULT_NAMESPACE);
    let policies = [workshop.policy()?];
    let scope = Scope {
        image,
        namespace: DEFAULT_NAMESPACE,
        labels: &labels,
    };
    let trust = Trust {
        policies: &policies,
        roots: &Roots::new(),
        now: Timestamp::now(),
    };
    let refused = |error| Refused::from(error).failure(&file.display().to_string());
    let digest = resolve::digest(&client, &[], &scope, &policies, image).await;
    let digest = digest.map_err(refused)?;
    let parcel = resolve::pull(&client, &[], image, &digest).await;
    let resolved = resolve::verify(&scope, &trust, &digest, &parcel.map_err(refused)?);
    Ok(resolved.map_err(refused)?.verified)
}
