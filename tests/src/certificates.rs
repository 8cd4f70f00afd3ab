//! The throw-away certificate authority of one test run: certificates for the
//! API server, for the administrator and for the controller manager, and the key
//! that signs service account tokens. Called by `cluster`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate and its key, as files.
pub struct Identity {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

/// All of one run, in one folder.
pub struct Certificates {
    /// PEM of the authority that signed the others.
    pub authority: PathBuf,
    /// Of the API server.
    pub server: Identity,
    /// Of `system:masters`.
    pub administrator: Identity,
    /// Signs service account tokens; its certificate is a bare public key.
    pub service_accounts: Identity,
}

impl Certificates {
    /// Makes them all; `server_names` are the API server's DNS names and addresses.
    pub fn make(folder: &Path, server_names: &[String]) -> Result<Certificates> {
        std::fs::create_dir_all(folder)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "lighterman e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = folder.join("ca.crt");
        std::fs::write(&authority, issuer.pem())?;

        let mut server = CertificateParams::new(server_names.to_vec())?;
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let mut administrator = CertificateParams::default();
        administrator
            .distinguished_name
            .push(DnType::CommonName, "e2e");
        administrator
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        administrator.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

        let pair = KeyPair::generate()?;
        let service_accounts = Identity {
            certificate: folder.join("service-accounts.pub"),
            key: folder.join("service-accounts.key"),
        };
        std::fs::write(&service_accounts.certificate, pair.public_key_pem())?;
        std::fs::write(&service_accounts.key, pair.serialize_pem())?;
        Ok(Certificates {
            authority,
            server: identity(folder, "server", server, &issuer)?,
            administrator: identity(folder, "administrator", administrator, &issuer)?,
            service_accounts,
        })
    }
}

fn identity(
    folder: &Path,
    name: &str,
    mut params: CertificateParams,
    issuer: &CertifiedIssuer<'_, KeyPair>,
) -> Result<Identity> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pair = KeyPair::generate()?;
    let signed = params.signed_by(&pair, issuer)?;
    let certificate = folder.join(format!("{name}.crt"));
    let key = folder.join(format!("{name}.key"));
    std::fs::write(&certificate, signed.pem())?;
    std::fs::write(&key, pair.serialize_pem())?;
    Ok(Identity { certificate, key })
}
