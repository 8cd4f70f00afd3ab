//! The hand-over's certificates: a CA of our own in a Secret, and a leaf per
//! process that lives in memory only.
//!
//! No cert-manager is needed. The leaf is made anew long before it ends, so a
//! replica that runs for months keeps answering; its key never leaves the process.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Key of the Secret: the CA's certificate, PEM.
pub const CERTIFICATE: &str = "ca.crt";
/// Key of the Secret: the CA's private key, PKCS#8 PEM.
pub const PRIVATE_KEY: &str = "ca.key";

/// Days a CA lasts.
const CA_DAYS: i64 = 3_650;
/// Days a leaf lasts; it is renewed every `RENEW`.
const LEAF_DAYS: i64 = 30;
/// The longest that a leaf is valid, which is how long its CA has to be trusted.
pub const LEAF_LIFE: Duration = Duration::from_secs(LEAF_DAYS.unsigned_abs() * 24 * 3600);
/// Certificates start a day early, for nodes whose clocks are behind.
const EARLY_DAYS: i64 = 1;
/// Age, in seconds, at which the leaf is made anew.
const RENEW: i64 = 24 * 3600;

/// What cannot be done with a certificate or key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The Secret does not hold a CA.
    #[error(
        "a Secret lighterman-ca or lighterman-ca-N does not hold a CA under ca.crt and ca.key: restore it, or delete all of them and restart operator and agents"
    )]
    InvalidAuthority(#[source] rcgen::Error),
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// rustls does not take what was made.
    #[error("the certificate cannot be used")]
    Use(#[source] rustls::Error),
}

/// The CA: signs leaves. `Debug` shows nothing of its key.
pub struct CertificateAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The leaf that is served now.
#[derive(Debug)]
pub struct Leaf {
    names: Vec<String>,
    issued: RwLock<Issued>,
}

#[derive(Debug)]
struct Issued {
    key: Arc<CertifiedKey>,
    /// The certificate of its CA.
    by: String,
    at: Timestamp,
}

/// A new CA as the Secret keeps it: certificate and key in PEM.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn generate(now: Timestamp) -> Result<(String, String), TlsError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TlsError::Make)?;
    let mut params = params(now, CA_DAYS, "lighterman hand-over CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let private = key.serialize_pem();
    let issuer = CertifiedIssuer::self_signed(params, key).map_err(TlsError::Make)?;
    Ok((issuer.pem(), private))
}

impl CertificateAuthority {
    /// Reads what the Secret keeps.
    ///
    /// # Errors
    /// When it is no CA.
    pub fn from_pem(certificate: &str, private_key: &str) -> Result<Self, TlsError> {
        let key = KeyPair::from_pem(private_key).map_err(TlsError::InvalidAuthority)?;
        let issuer =
            Issuer::from_ca_cert_pem(certificate, key).map_err(TlsError::InvalidAuthority)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            issuer,
        })
    }

    /// The certificate that agents trust, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A leaf for `names`, DNS names or addresses, with a key of its own.
    ///
    /// # Errors
    /// When a name is neither, or no randomness is to be had.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TlsError::Make)?;
        let mut params = params(now, LEAF_DAYS, "lighterman hand-over");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(TlsError::Make)?),
            });
        }
        let leaf = params
            .signed_by(&key, &self.issuer)
            .map_err(TlsError::Make)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer =
            rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&private).map_err(TlsError::Use)?;
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        Ok(CertifiedKey::new(chain, signer))
    }
}

impl Leaf {
    /// A first leaf for `names`.
    ///
    /// # Errors
    /// As `CertificateAuthority::issue`.
    pub fn new(
        authority: &CertificateAuthority,
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<Arc<Self>, TlsError> {
        let issued = Issued::new(authority, &names, now)?;
        Ok(Arc::new(Self {
            names,
            issued: RwLock::new(issued),
        }))
    }

    /// The server side of TLS with whatever leaf is current.
    ///
    /// # Errors
    /// When rustls was built without the protocols we need.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Use)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Makes the leaf anew when it is a day old, or when another CA issues by now.
    ///
    /// # Errors
    /// As `CertificateAuthority::issue`; the present leaf stays then.
    pub fn renew(&self, authority: &CertificateAuthority, now: Timestamp) -> Result<(), TlsError> {
        let is_current = {
            let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
            issued.by == authority.certificate() && now.duration_since(issued.at).as_secs() < RENEW
        };
        if !is_current {
            let issued = Issued::new(authority, &self.names, now)?;
            *self.issued.write().unwrap_or_else(PoisonError::into_inner) = issued;
        }
        Ok(())
    }
}

impl Issued {
    fn new(
        authority: &CertificateAuthority,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            key: Arc::new(authority.issue(names, now)?),
            by: authority.certificate().to_owned(),
            at: now,
        })
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&issued.key))
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateAuthority")
    }
}

fn params(now: Timestamp, days: i64, common_name: &str) -> CertificateParams {
    let day = |offset: i64| {
        let seconds = now
            .as_second()
            .saturating_add(offset.saturating_mul(86_400));
        let date = Timestamp::from_second(seconds)
            .unwrap_or(now)
            .to_zoned(TimeZone::UTC)
            .date();
        let part = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = day(-EARLY_DAYS);
    params.not_after = day(days);
    params.use_authority_key_identifier_extension = true;
    params
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn a_leaf_is_good_for_its_names_under_the_ca_that_was_kept() {
        let (certificate, key) = generate(Timestamp::now()).unwrap();
        let authority = CertificateAuthority::from_pem(&certificate, &key).unwrap();
        let names = [
            "lighterman-operator.lighterman-system.svc".to_owned(),
            "10.99.0.1".to_owned(),
        ];
        let leaf = authority.issue(&names, Timestamp::now()).unwrap();

        let mut roots = rustls::RootCertStore::empty();
        let root = pem_to_der(&certificate);
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let verify = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&leaf.cert[0], &[], &name, &[], UnixTime::now())
        };
        assert!(verify("lighterman-operator.lighterman-system.svc").is_ok());
        assert!(verify("10.99.0.1").is_ok());
        assert!(verify("another.svc").is_err());
    }

    #[test]
    fn the_leaf_is_made_anew_every_day_and_when_another_ca_issues() {
        let authority = || {
            let (certificate, key) = generate(Timestamp::now()).unwrap();
            CertificateAuthority::from_pem(&certificate, &key).unwrap()
        };
        let (first, second, now) = (authority(), authority(), Timestamp::now());
        let leaf = Leaf::new(&first, vec!["operator.svc".to_owned()], now).unwrap();
        let served = || leaf.issued.read().unwrap().key.cert[0].clone();
        let made = served();
        leaf.renew(&first, now).unwrap();
        assert_eq!(served(), made);
        leaf.renew(&second, now).unwrap();
        let by_the_second = served();
        assert_ne!(by_the_second, made);
        let tomorrow = Timestamp::from_second(now.as_second() + RENEW + 1).unwrap();
        leaf.renew(&second, tomorrow).unwrap();
        assert_ne!(served(), by_the_second);
    }

    #[test]
    fn what_is_no_ca_is_refused_with_its_mend() {
        let error = CertificateAuthority::from_pem("nonsense", "nonsense").unwrap_err();
        assert!(error.to_string().contains("lighterman-ca"), "{error}");
    }

    fn pem_to_der(pem: &str) -> CertificateDer<'static> {
        use rustls_pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }
}
