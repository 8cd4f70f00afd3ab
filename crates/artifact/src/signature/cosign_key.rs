//! cosign's encrypted key file, as go-securesystemslib writes it: JSON that
//! names scrypt and NaCl's secretbox, with salt and nonce. Called by
//! [`super::SigningKey`].

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::generic_array::GenericArray;
use crypto_secretbox::aead::{AeadInPlace as _, KeyInit as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;

/// What is in the PEM block.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    kdf: Kdf,
    cipher: Cipher,
    /// base64
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    /// base64
    salt: String,
}

/// scrypt's cost: N (a power of two), r and p.
#[derive(Serialize, Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    /// base64
    nonce: String,
}

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;
/// log2 of N that we write: go-securesystemslib's standard strength, 64 MiB.
const LOG_N: u8 = 16;
/// log2 of N that we read: its legacy, standard and OWASP strengths. A key
/// file from elsewhere must not choose how much memory a derivation takes.
const LOG_N_READ: std::ops::RangeInclusive<u8> = 15..=17;
const R: u32 = 8;
const P: u32 = 1;

/// The PKCS#8 DER in the JSON of a key file.
pub(super) fn open(json: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let malformed = |what: &str| KeyError::PrivateKey(what.to_owned());
    let file: KeyFile =
        serde_json::from_slice(json).map_err(|error| KeyError::PrivateKey(error.to_string()))?;
    if file.kdf.name != KDF || file.cipher.name != CIPHER {
        return Err(malformed(
            "it is encrypted with something else than scrypt and nacl/secretbox",
        ));
    }
    let log_n = LOG_N_READ
        .clone()
        .find(|log_n| 1_u32.checked_shl(u32::from(*log_n)) == Some(file.kdf.params.n))
        .filter(|_| file.kdf.params.r == R && file.kdf.params.p == P)
        .ok_or_else(|| malformed("its scrypt parameters are none that cosign writes"))?;
    let decode = |text: &str| {
        STANDARD
            .decode(text)
            .map_err(|_| malformed("it has a field that is not base64"))
    };
    let nonce: [u8; NONCE_LENGTH] = decode(&file.cipher.nonce)?
        .try_into()
        .map_err(|_| malformed("its nonce is not 24 bytes"))?;
    let mut contents = Zeroizing::new(decode(&file.ciphertext)?);
    secretbox(password, &decode(&file.kdf.salt)?, log_n)?
        .decrypt_in_place(GenericArray::from_slice(&nonce), b"", &mut *contents)
        .map_err(|_| KeyError::Password)?;
    Ok(contents)
}

/// The JSON of a key file for a PKCS#8 DER.
pub(super) fn seal(der: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let salt: [u8; SALT_LENGTH] = random()?;
    let nonce: [u8; NONCE_LENGTH] = random()?;
    let mut contents = Zeroizing::new(der.to_vec());
    secretbox(password, &salt, LOG_N)?
        .encrypt_in_place(GenericArray::from_slice(&nonce), b"", &mut *contents)
        .map_err(|_| KeyError::Library("encrypt the key"))?;
    let file = KeyFile {
        kdf: Kdf {
            name: KDF.to_owned(),
            params: ScryptParams {
                n: 1 << LOG_N,
                r: R,
                p: P,
            },
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher {
            name: CIPHER.to_owned(),
            nonce: STANDARD.encode(nonce),
        },
        ciphertext: STANDARD.encode(&*contents),
    };
    serde_json::to_vec(&file).map_err(|_| KeyError::Library("write the key file"))
}

fn secretbox(password: &[u8], salt: &[u8], log_n: u8) -> Result<XSalsa20Poly1305, KeyError> {
    let derive = || KeyError::Library("derive a key from the password");
    let params = scrypt::Params::new(log_n, R, P, KEY_LENGTH).map_err(|_| derive())?;
    let mut key = Zeroizing::new([0_u8; KEY_LENGTH]);
    scrypt::scrypt(password, salt, &params, &mut *key).map_err(|_| derive())?;
    Ok(XSalsa20Poly1305::new(GenericArray::from_slice(&*key)))
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], KeyError> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| KeyError::Library("draw random bytes"))?;
    Ok(bytes)
}
