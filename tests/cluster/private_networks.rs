//! An image name cannot steer the operator into the cluster's own network, not
//! even one that a trust policy covers.

use anyhow::{Result, ensure};
use e2e::suite::shared;
use serde_json::json;

#[test]
fn an_image_in_the_clusters_network_is_refused_with_the_flag_that_would_allow_it() -> Result<()> {
    shared("private-networks", async |tenant| {
        // Addresses of services, of a neighbour's network, and of a cloud's metadata.
        let listable = ["10.96.0.1:6443", "192.168.1.1:8080"];
        let never = "169.254.169.254:80";
        let registries: Vec<_> = listable.iter().chain([&never]).collect();
        let registries = registries.iter().map(|address| address.parse());
        tenant
            .trust(
                &tenant.suite.signer.public_key(),
                &registries.collect::<Result<Vec<_>, _>>()?,
            )
            .await?;
        for (name, address) in ["service", "neighbour"].into_iter().zip(listable) {
            let image = format!("{address}/shop/orders:1");
            tenant.component(name, json!({ "image": image })).await?;
            let message = tenant.refused(name, "RegistryAddressRefused").await?;
            let mend = format!("--registry-private={address}");
            ensure!(message.contains(&mend), "{message}");
        }
        let image = format!("{never}/latest/meta-data:1");
        tenant
            .component("metadata", json!({ "image": image }))
            .await?;
        let message = tenant.refused("metadata", "RegistryAddressRefused").await?;
        ensure!(message.contains("never contacted"), "{message}");
        Ok(())
    })
}
