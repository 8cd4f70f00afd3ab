//! A timestamp authority: RFC 3161 tokens over signatures.

use jiff::Timestamp;
use rcgen::ExtendedKeyUsagePurpose;
use sha2::{Digest as _, Sha256};

use super::authority::{Authority, Keys};
use super::der;

pub(crate) struct TimestampAuthority {
    root: Authority,
    leaf: Vec<u8>,
    keys: Keys,
}

impl TimestampAuthority {
    pub(crate) fn new(name: &str) -> Self {
        let root = Authority::new(name);
        let keys = Keys::new();
        let mut params = root.leaf_params();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2034, 1, 1);
        let leaf = root.issue(&params, &keys);
        Self { root, leaf, keys }
    }

    /// From leaf to root, as a trusted root lists them.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.leaf.clone(), self.root.certificate().to_vec()]
    }

    /// A token that says that `signature` was there at `time`.
    pub(crate) fn token(&self, signature: &[u8], time: Timestamp) -> Vec<u8> {
        let sha256 = der::algorithm(der::SHA256);
        let info = der::sequence(&[
            &der::integer(1),
            &der::oid(&[0x2a, 0x03, 0x04]),
            &der::sequence(&[&sha256, &der::octets(&Sha256::digest(signature))]),
            &der::integer(7),
            &der::tagged(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()),
        ]);
        let mut attributes = [
            der::sequence(&[
                &der::oid(der::CONTENT_TYPE),
                &der::set(&[&der::oid(der::TST_INFO)]),
            ]),
            der::sequence(&[
                &der::oid(der::MESSAGE_DIGEST),
                &der::set(&[&der::octets(&Sha256::digest(&info))]),
            ]),
        ];
        attributes.sort();
        let attributes = attributes.concat();
        let signed = self.keys.sign(&der::tagged(0x31, &attributes));
        // Version, serial number, algorithm and issuer lead a certificate's body.
        let certificate = der::members(&self.leaf);
        let body = der::members(certificate[0]);
        let signer = der::sequence(&[
            &der::integer(1),
            &der::sequence(&[body[3], body[1]]),
            &sha256,
            &der::tagged(0xa0, &attributes),
            &der::algorithm(der::ECDSA_WITH_SHA256),
            &der::octets(&signed),
        ]);
        let data = der::sequence(&[
            &der::integer(3),
            &der::set(&[&sha256]),
            &der::sequence(&[
                &der::oid(der::TST_INFO),
                &der::tagged(0xa0, &der::octets(&info)),
            ]),
            &der::set(&[&signer]),
        ]);
        der::sequence(&[&der::oid(der::SIGNED_DATA), &der::tagged(0xa0, &data)])
    }
}
