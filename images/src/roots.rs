//! The certificate authorities of Mozilla's root programme as a PEM file. An image
//! made from scratch has none, and the registry client takes the system's; these are
//! of the version that Cargo.lock names, not of the machine that builds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where programs that use OpenSSL's conventions look.
pub(crate) const PATH: &str = "etc/ssl/certs/ca-certificates.crt";
/// Characters in a line of PEM (RFC 7468).
const LINE: usize = 64;

/// All of them, one after another.
pub(crate) fn pem() -> String {
    let mut text = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (position, character) in STANDARD.encode(root).chars().enumerate() {
            if position > 0 && position % LINE == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_client_accepts_them() {
        let config = registry::Config {
            ca_bundles: vec![pem().into_bytes()],
            ..registry::Config::default()
        };
        assert!(registry::Client::new(config).is_ok());
        assert!(pem().matches("BEGIN").count() > 100);
    }
}
