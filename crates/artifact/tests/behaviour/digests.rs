//! Digests: sha256 only, one spelling.

use artifact::{Digest, DigestError};
use proptest::prelude::*;

#[test]
fn the_digest_of_nothing_is_the_well_known_one() {
    assert_eq!(
        Digest::of(b"").to_string(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn another_algorithm_is_refused_by_name() {
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let error = sha512.parse::<Digest>().unwrap_err();
    assert!(matches!(error, DigestError::Algorithm(_)));
    assert!(error.to_string().contains("not sha256"), "{error}");
}

#[test]
fn texts_that_are_no_digest_are_refused_with_the_form_it_should_have() {
    let upper = Digest::of(b"")
        .to_string()
        .to_uppercase()
        .replace("SHA256", "sha256");
    let long = format!("{}0", Digest::of(b""));
    for text in [
        "",
        "sha256:",
        "sha256",
        ":",
        "sha256:zz",
        "1.4",
        &upper,
        &long,
    ] {
        let error = text.parse::<Digest>().unwrap_err();
        assert!(
            matches!(error, DigestError::Malformed(_)),
            "{text:?}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn a_digest_is_read_as_it_was_written(content: Vec<u8>) {
        let digest = Digest::of(&content);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }
}
