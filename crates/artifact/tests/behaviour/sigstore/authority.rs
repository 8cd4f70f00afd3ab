//! A certificate authority, and keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};

/// A P-256 key pair.
pub(crate) struct Keys {
    certificates: KeyPair,
    signatures: EcdsaKeyPair,
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    spki: Vec<u8>,
    certificate: Vec<u8>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let certificates = KeyPair::generate().unwrap();
        let signatures = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &certificates.serialize_der(),
        )
        .unwrap();
        Self {
            certificates,
            signatures,
        }
    }

    /// The public key as SPKI in DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.certificates.subject_public_key_info()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signatures
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec()
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let keys = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = named(name);
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2034, 1, 1);
        let certificate = params.self_signed(&keys).unwrap().der().to_vec();
        Self {
            spki: keys.subject_public_key_info(),
            issuer: Issuer::new(params, keys),
            certificate,
        }
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What every leaf has. The serial number stands still, so that a certificate can be
    /// issued twice, before and after a log has seen it.
    pub(crate) fn leaf_params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(vec![0x11, 0x22]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params
    }

    pub(crate) fn issue(&self, params: &CertificateParams, keys: &Keys) -> Vec<u8> {
        params
            .signed_by(&keys.certificates, &self.issuer)
            .unwrap()
            .der()
            .to_vec()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
