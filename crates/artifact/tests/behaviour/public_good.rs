//! The public-good root over TUF: a relay that lies, keeps back or goes back is found out.

use std::collections::BTreeMap;
use std::convert::Infallible;

use artifact::Digest;
use artifact::limits::{TRUSTED_ROOT_MAX, TUF_METADATA_MAX, TUF_ROOTS_MAX};
use artifact::root::{Believed, GatherError, PublicGoodError, PublicGoodMetadata, RootOfTrust};
use artifact::trust::Policy;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sigstore::Sigstore;
use crate::support::Key;
use crate::tuf::{Tuf, files, hex};

fn now() -> Timestamp {
    "2025-06-01T00:00:00Z".parse().unwrap()
}

fn tuf() -> Tuf {
    Tuf::new("2025-07-01T00:00:00Z".parse().unwrap())
}

fn trusted_root() -> Vec<u8> {
    Sigstore::new().root_json().to_string().into_bytes()
}

/// Who is refused, and why.
#[track_caller]
fn refused(result: Result<Believed, PublicGoodError>) -> (&'static str, String) {
    match result.unwrap_err() {
        PublicGoodError::Refused { role, source } => (role, source.to_string()),
        error => panic!("refused in another way: {error}"),
    }
}

#[test]
fn metadata_that_hangs_together_gives_the_root_in_it() {
    let (tuf, wanted) = (tuf(), trusted_root());
    let metadata = tuf.metadata(7, &wanted);
    let believed = metadata.check(&tuf.start(), None, now()).unwrap();
    let root = believed.trusted_root().unwrap();
    assert_eq!(*root.digest(), Digest::of(&wanted));
    assert_eq!(believed.root_version(), 1);
    assert_eq!(believed.expires(), tuf.expires);
    // The same again is no step back, and JSON carries it unharmed.
    let wire = serde_json::to_string(&metadata).unwrap();
    let metadata: PublicGoodMetadata = serde_json::from_str(&wire).unwrap();
    let again = metadata.check(&tuf.start(), Some(&believed), now());
    assert_eq!(again.unwrap(), believed);
    let kept = serde_json::to_string(&believed).unwrap();
    let kept: Believed = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, believed);
}

#[test]
fn a_relay_cannot_swap_or_mix_any_part() {
    let (tuf, stranger) = (tuf(), tuf());
    let good = tuf.metadata(1, &trusted_root());
    // Of a stranger, and of the same repository a version later.
    for other in [
        stranger.metadata(1, &trusted_root()),
        tuf.metadata(2, &trusted_root()),
    ] {
        let mixed = |mix: fn(&mut PublicGoodMetadata, &PublicGoodMetadata)| {
            let mut metadata = good.clone();
            mix(&mut metadata, &other);
            metadata.check(&tuf.start(), None, now()).unwrap_err()
        };
        mixed(|metadata, other| metadata.timestamp = other.timestamp.clone());
        mixed(|metadata, other| metadata.snapshot = other.snapshot.clone());
        mixed(|metadata, other| metadata.targets = other.targets.clone());
        let error = mixed(|metadata, other| metadata.trusted_root = other.trusted_root.clone());
        assert!(matches!(error, PublicGoodError::OtherTarget), "{error}");
    }
    let forged = stranger.metadata(1, &trusted_root());
    let (role, _) = refused(forged.check(&tuf.start(), None, now()));
    assert_eq!(role, "timestamp");
}

#[test]
fn fewer_signatures_than_the_threshold_are_none() {
    let (tuf, root) = (tuf(), trusted_root());
    let target = json!({"length": root.len(), "hashes": {"sha256": hex(&root)}});
    let targets = |signers: &[&Key]| {
        let targets = json!({"targets": {"trusted_root.json": target}});
        let targets = tuf.role("targets", 1, targets, signers);
        let metadata = tuf.naming(1, targets, &root);
        metadata.check(&tuf.start(), None, now())
    };
    let [first, second, _] = &tuf.offline[..] else {
        panic!("three keys")
    };
    targets(&[first, second]).unwrap();
    let stranger = Key::new();
    for signers in [
        &[first][..],
        &[first, &tuf.online],
        &[first, &stranger],
        &[],
    ] {
        let (role, why) = refused(targets(signers));
        assert_eq!(role, "targets");
        assert!(why.contains("threshold"), "{why}");
    }
}

#[test]
fn what_has_expired_is_not_believed_anew_and_goes_on_counting() {
    let tuf = tuf();
    let metadata = tuf.metadata(1, &trusted_root());
    let late = "2025-07-02T00:00:00Z".parse().unwrap();
    let (role, why) = refused(metadata.check(&tuf.start(), None, late));
    assert_eq!(role, "timestamp");
    assert!(why.contains("expired"), "{why}");
    let believed = metadata.check(&tuf.start(), None, now()).unwrap();
    assert!(believed.expires() < late);
    // What was believed is handed out again by a relay that keeps updates back.
    refused(metadata.check(&tuf.start(), Some(&believed), late));
    // A restart checks what it kept as it was when it was first believed.
    assert_eq!(believed.check_again(&tuf.start()).unwrap(), believed);
    believed.check_again(&self::tuf().start()).unwrap_err();
}

#[test]
fn a_relay_cannot_go_back_behind_what_was_believed() {
    let tuf = tuf();
    let seven = tuf.metadata(7, &trusted_root());
    let believed = seven.check(&tuf.start(), None, now()).unwrap();
    let old = tuf.metadata(6, &trusted_root());
    let (role, why) = refused(old.check(&tuf.start(), Some(&believed), now()));
    assert_eq!(role, "timestamp");
    assert!(why.contains("rollback"), "{why}");

    // A timestamp that goes on, around targets that go back.
    let online = [&tuf.online];
    let snapshot = json!({"meta": {"targets.json": {"version": 6}}});
    let snapshot = tuf.role("snapshot", 8, snapshot, &online);
    let meta = json!({"meta": {"snapshot.json": {"version": 8}}});
    let back = PublicGoodMetadata {
        timestamp: tuf.role("timestamp", 8, meta, &online),
        snapshot,
        ..old
    };
    back.check(&tuf.start(), None, now()).unwrap();
    let (role, why) = refused(back.check(&tuf.start(), Some(&believed), now()));
    assert_eq!(role, "snapshot");
    assert!(why.contains("rollback"), "{why}");
}

#[test]
fn a_new_root_has_to_be_signed_by_the_old_one_and_by_itself() {
    let (old, new) = (tuf(), tuf());
    let mut metadata = new.metadata(1, &trusted_root());
    metadata.roots = vec![new.next_root(2, &old)];
    let believed = metadata.check(&old.start(), None, now()).unwrap();
    assert_eq!(believed.root_version(), 2);
    for signers in [
        new.signers(),
        old.signers(),
        [&old.signers()[..1], &new.signers()].concat(),
    ] {
        metadata.roots = vec![new.root(2, &signers)];
        let (role, _) = refused(metadata.check(&old.start(), None, now()));
        assert_eq!(role, "root");
    }
    metadata.roots = vec![new.next_root(3, &old)];
    refused(metadata.check(&old.start(), None, now()));
}

#[test]
fn roots_that_were_followed_stay_followed_whatever_a_relay_leaves_out() {
    let (old, new) = (tuf(), tuf());
    let mut rotated = new.metadata(1, &trusted_root());
    rotated.roots = vec![new.next_root(2, &old)];
    let believed = rotated.check(&old.start(), None, now()).unwrap();

    // The old keys count no more, though the relay says nothing of the new root.
    let withheld = old.metadata(9, &trusted_root());
    withheld.check(&old.start(), None, now()).unwrap();
    refused(withheld.check(&old.start(), Some(&believed), now()));
    // Nor does a relay that starts at another root stop the next update.
    let mut next = new.metadata(2, &trusted_root());
    next.roots = Vec::new();
    let next = next.check(&old.start(), Some(&believed), now()).unwrap();
    assert_eq!((next.root_version(), next.metadata().roots.len()), (2, 1));
    // A program whose root of trust is newer passes over what it is past.
    let start = RootOfTrust::from_json(new.next_root(2, &old)).unwrap_or_else(|_| {
        panic!("a root that its predecessor has signed, too, is a root of trust")
    });
    assert_eq!(start.version(), 2);
    rotated.check(&start, None, now()).unwrap();
}

#[test]
fn a_root_that_replaces_the_keys_of_a_role_starts_its_versions_again() {
    let (old, new) = (tuf(), tuf());
    let nine = old.metadata(9, &trusted_root());
    let believed = nine.check(&old.start(), None, now()).unwrap();
    // Recovery from a key that was stolen and used to count very far (TUF 5.3.11).
    let mut first = new.metadata(1, &trusted_root());
    first.roots = vec![new.next_root(2, &old)];
    first.check(&old.start(), Some(&believed), now()).unwrap();
    // A root that keeps the keys keeps the versions.
    let mut kept = old.metadata(8, &trusted_root());
    kept.roots = vec![old.next_root(2, &old)];
    kept.check(&old.start(), None, now()).unwrap();
    let (role, _) = refused(kept.check(&old.start(), Some(&believed), now()));
    assert_eq!(role, "timestamp");
}

#[test]
fn what_is_too_large_is_not_even_parsed() {
    let tuf = tuf();
    let good = tuf.metadata(1, &trusted_root());
    let large = |change: fn(&mut PublicGoodMetadata)| {
        let mut metadata = good.clone();
        change(&mut metadata);
        match metadata.check(&tuf.start(), None, now()).unwrap_err() {
            PublicGoodError::TooLarge(what) => what,
            error => panic!("{error}"),
        }
    };
    let spaces = |length: usize| Bytes::from(vec![b' '; length]);
    assert_eq!(
        large(|of| of.snapshot = vec![b' '; TUF_METADATA_MAX + 1].into()),
        "snapshot"
    );
    assert_eq!(
        large(|of| of.trusted_root = vec![b' '; TRUSTED_ROOT_MAX + 1].into()),
        "trusted_root.json"
    );
    assert_eq!(
        large(|of| of.roots = vec![Bytes::new(); TUF_ROOTS_MAX + 1]),
        "list of roots"
    );
    assert_eq!(
        large(|of| of.roots = vec![vec![b' '; TUF_METADATA_MAX].into(); TUF_ROOTS_MAX]),
        "set of files"
    );
    let error = RootOfTrust::from_json(spaces(TUF_METADATA_MAX + 1)).unwrap_err();
    assert!(matches!(error, PublicGoodError::TooLarge(_)), "{error}");
}

#[test]
fn a_root_that_cannot_be_used_replaces_none() {
    let tuf = tuf();
    let metadata = tuf.metadata(1, b"{}");
    let error = metadata.check(&tuf.start(), None, now()).unwrap_err();
    assert!(matches!(error, PublicGoodError::Root(_)), "{error}");
    let targets = tuf.role("targets", 1, json!({"targets": {}}), &tuf.signers());
    let metadata = tuf.naming(1, targets, b"{}");
    let error = metadata.check(&tuf.start(), None, now()).unwrap_err();
    assert!(matches!(error, PublicGoodError::NoTarget), "{error}");
}

/// Gathers from a repository that is all in memory.
async fn gather(
    start: &RootOfTrust,
    files: &BTreeMap<String, Bytes>,
) -> Result<PublicGoodMetadata, GatherError<Infallible>> {
    let get = |file: String, most: usize| async move {
        assert!(!file.contains(".."), "{file} leads out of the repository");
        Ok(files.get(&file).filter(|of| of.len() <= most).cloned())
    };
    PublicGoodMetadata::gather(start, get).await
}

#[test]
fn a_relay_finds_the_files_by_what_names_them() {
    let (old, new) = (tuf(), tuf());
    let mut metadata = new.metadata(7, &trusted_root());
    metadata.roots = vec![new.next_root(2, &old)];
    let repository = files(&metadata, 7);
    let found = ready(gather(&old.start(), &repository)).unwrap();
    assert_eq!(found, metadata);

    for missing in repository.keys().filter(|file| !file.contains("root.json")) {
        let mut incomplete = repository.clone();
        incomplete.remove(missing);
        let error = ready(gather(&old.start(), &incomplete)).unwrap_err();
        assert!(error.to_string().contains(missing.as_str()), "{error}");
    }
    for wrong in [
        &b""[..],
        b"{}",
        br#"{"signed":{"meta":{"snapshot.json":{"version":-1}}}}"#,
        br#"{"signed":{"meta":{"snapshot.json":{"version":"../../x"}}}}"#,
    ] {
        let mut unreadable = repository.clone();
        unreadable.insert("timestamp.json".to_owned(), Bytes::from_static(wrong));
        let error = ready(gather(&old.start(), &unreadable)).unwrap_err();
        assert!(matches!(error, GatherError::Unreadable(_)), "{error}");
    }
    let mut evil = repository.clone();
    evil.insert(
        "7.targets.json".to_owned(),
        Bytes::from_static(
            br#"{"signed":{"targets":{"trusted_root.json":{"hashes":{"sha256":"../../x"}}}}}"#,
        ),
    );
    let error = ready(gather(&old.start(), &evil)).unwrap_err();
    assert!(matches!(error, GatherError::Unreadable(_)), "{error}");
}

/// What nothing has to be waited for is there at the first look.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("something was waited for"),
    }
}

#[test]
fn the_built_in_root_of_trust_is_one_and_accepts_no_stranger() {
    let start = RootOfTrust::public_good().unwrap();
    assert_eq!(start.version(), 16);
    let stranger = tuf().metadata(1, &trusted_root());
    let (role, _) = refused(stranger.check(&start, None, now()));
    assert_eq!(role, "timestamp");
}

#[test]
fn a_policy_says_whether_it_needs_the_public_root() {
    let key = Key::new();
    let needs = |authority: Value| {
        let spec = json!({"images": [{"glob": "registry.example/**"}], "authorities": [authority]});
        Policy::parse("shop", &spec).unwrap().needs_public_good()
    };
    let keyless = |more: Value| {
        let mut keyless = json!({"identities": [{"issuer": "https://a.example", "subject": "b"}]});
        if let (Some(keyless), Value::Object(more)) = (keyless.as_object_mut(), more) {
            keyless.extend(more);
        }
        json!({"name": "ci", "ctlog": "Required", "keyless": keyless})
    };
    let own = json!({"trustedRoot": {"configMapKeyRef": {"name": "sigstore", "key": "root"}}});
    assert!(needs(keyless(json!({}))));
    assert!(!needs(keyless(own)));
    let by_key = |ctlog: &str| json!({"name": "ci", "ctlog": ctlog, "key": {"data": key.pem()}});
    assert!(needs(by_key("Required")));
    assert!(!needs(by_key("Ignore")));
}
