//! A list of relayed files, each as [`super::base64_text`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize as _, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(files: &[Bytes], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(files.iter().map(|file| STANDARD.encode(file)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Bytes>, D::Error> {
    let decode = |text: String| {
        STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(serde::de::Error::custom)
    };
    Vec::<String>::deserialize(from)?
        .into_iter()
        .map(decode)
        .collect()
}
