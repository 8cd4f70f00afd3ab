//! Every rule that the API server applies to a `TrustPolicy` through its schema
//! and CEL, in plain Rust and each with its mend. Pure; for files, which meet no
//! API server. Whether keys and expressions can be read is for `artifact`.

use capability::ImageGlob;

use super::{
    Attestation, Authority, Identity, Keyless, MayGrant, MinVersion, PolicyMode,
    PredicateCondition, PublicKey, Revocation, TransparencyLog, TrustPolicy, TrustPolicySpec,
    TrustedRoot, WhenRunning,
};
use crate::bound;
use crate::problem::{Problem, Problems};

/// How a public key in PEM begins.
const PUBLIC_KEY_HEADER: &str = "-----BEGIN PUBLIC KEY-----";

/// Every fault of a policy that the schema and its CEL rules would refuse.
pub fn problems(policy: &TrustPolicy) -> Vec<Problem> {
    let mut problems = Problems::default();
    let TrustPolicySpec {
        images,
        namespace_selector: _,
        mode,
        when_running,
        authorities,
        minimum_matches,
        attestations,
        deny,
        min_versions,
        not_before: _,
        revoked,
    } = &policy.spec;
    self::images(&mut problems, images);
    if *mode == PolicyMode::Unknown {
        problems.add("spec.mode", "is not known", "write Enforce or Audit");
    }
    if *when_running == WhenRunning::Unknown {
        problems.add("spec.whenRunning", "is not known", "write Report or Stop");
    }
    if authorities.is_empty() {
        problems.add(
            "spec.authorities",
            "is empty",
            "add who may sign, with name, ctlog, and key or keyless",
        );
    }
    problems.entries("spec.authorities", authorities.len(), bound::AUTHORITIES);
    problems.distinct(
        "spec.authorities",
        "name",
        authorities.iter().map(|authority| authority.name.as_str()),
    );
    for (index, authority) in authorities.iter().enumerate() {
        self::authority(
            &mut problems,
            &format!("spec.authorities[{index}]"),
            authority,
        );
    }
    if let Some(minimum) = minimum_matches {
        problems.within("spec.minimumMatches", minimum, &1, &bound::MINIMUM_MATCHES);
    }
    self::attestations(&mut problems, attestations);
    for (index, digest) in deny.iter().flat_map(|deny| &deny.digests).enumerate() {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if !is_hex(hex) {
            problems.add(
                format!("spec.deny.digests[{index}]"),
                "is no digest",
                "write sha256: and 64 hexadecimal digits",
            );
        }
    }
    let denied = deny.as_ref().map_or(0, |deny| deny.digests.len());
    problems.entries("spec.deny.digests", denied, bound::DENIED_DIGESTS);
    self::min_versions(&mut problems, min_versions);
    self::revoked(&mut problems, revoked);
    problems.into_vec()
}

fn images(problems: &mut Problems, images: &[super::ImagePattern]) {
    if images.is_empty() {
        problems.add(
            "spec.images",
            "is empty",
            "add the images that the policy covers, such as - glob: registry.example/shop/**",
        );
    }
    problems.entries("spec.images", images.len(), bound::IMAGE_GLOBS);
    problems.distinct(
        "spec.images",
        "glob",
        images.iter().map(|image| image.glob.as_str()),
    );
    for (index, image) in images.iter().enumerate() {
        if let Err(error) = image.glob.parse::<ImageGlob>() {
            let text = error.to_string();
            let (message, mend) = text
                .split_once("; ")
                .unwrap_or((&text, "write for example registry.example/shop/**"));
            problems.add(
                format!("spec.images[{index}].glob"),
                format!("is refused: {message}"),
                mend,
            );
        }
    }
}

fn authority(problems: &mut Problems, field: &str, authority: &Authority) {
    let Authority {
        name,
        key,
        keyless,
        ctlog,
        may_grant,
    } = authority;
    problems.text(&format!("{field}.name"), name, bound::LABEL);
    if key.is_some() == keyless.is_some() {
        problems.add(
            field,
            "needs exactly one of key and keyless",
            "write the key, or the identities, or two authorities",
        );
    }
    if let Some(PublicKey { data, trusted_root }) = key {
        if !data.contains(PUBLIC_KEY_HEADER) {
            problems.add(
                format!("{field}.key.data"),
                "is no public key in PEM",
                "write the content of cosign.pub",
            );
        }
        problems.length(&format!("{field}.key.data"), data, bound::PEM);
        self::trusted_root(problems, &format!("{field}.key"), trusted_root.as_ref());
    }
    if let Some(Keyless {
        identities,
        trusted_root,
    }) = keyless
    {
        let list = format!("{field}.keyless.identities");
        if identities.is_empty() {
            problems.add(&list, "is empty", "add issuer and subject of who may sign");
        }
        problems.entries(&list, identities.len(), bound::IDENTITIES);
        for (index, identity) in identities.iter().enumerate() {
            self::identity(problems, &format!("{list}[{index}]"), identity);
        }
        self::trusted_root(problems, &format!("{field}.keyless"), trusted_root.as_ref());
    }
    if *ctlog == TransparencyLog::Unknown {
        problems.add(
            format!("{field}.ctlog"),
            "is a demand that this version does not know",
            "write Required or Ignore",
        );
    }
    if *may_grant == Some(MayGrant::Unknown) {
        problems.add(
            format!("{field}.mayGrant"),
            "is a right that this version does not know",
            "write Manifest, or leave it out",
        );
    }
}

fn identity(problems: &mut Problems, field: &str, identity: &Identity) {
    let Identity {
        issuer,
        issuer_reg_exp,
        subject,
        subject_reg_exp,
    } = identity;
    for (name, exact, expression) in [
        ("issuer", issuer, issuer_reg_exp),
        ("subject", subject, subject_reg_exp),
    ] {
        if exact.is_some() == expression.is_some() {
            problems.add(
                field,
                format!("needs exactly one of {name} and {name}RegExp"),
                "write the exact text, or the expression",
            );
        }
        if let Some(text) = exact {
            problems.text(&format!("{field}.{name}"), text, bound::IDENTITY);
        }
        if let Some(text) = expression {
            problems.text(&format!("{field}.{name}RegExp"), text, bound::IDENTITY);
        }
    }
}

fn trusted_root(problems: &mut Problems, field: &str, root: Option<&TrustedRoot>) {
    if let Some(TrustedRoot { config_map_key_ref }) = root {
        let field = format!("{field}.trustedRoot.configMapKeyRef");
        problems.text(
            &format!("{field}.name"),
            &config_map_key_ref.name,
            bound::NAME,
        );
        problems.text(
            &format!("{field}.key"),
            &config_map_key_ref.key,
            bound::VARIABLE_NAME,
        );
    }
}

fn attestations(problems: &mut Problems, attestations: &[Attestation]) {
    problems.entries("spec.attestations", attestations.len(), bound::ATTESTATIONS);
    let types = attestations
        .iter()
        .map(|wanted| wanted.predicate_type.as_str());
    problems.distinct("spec.attestations", "predicateType", types);
    for (index, wanted) in attestations.iter().enumerate() {
        let field = format!("spec.attestations[{index}]");
        problems.text(
            &format!("{field}.predicateType"),
            &wanted.predicate_type,
            bound::URL,
        );
        let list = format!("{field}.conditions");
        problems.entries(
            &list,
            wanted.conditions.len(),
            bound::CONDITIONS_ON_PREDICATE,
        );
        let fields = wanted
            .conditions
            .iter()
            .map(|condition| condition.field.as_str());
        problems.distinct(&list, "field", fields);
        for (index, condition) in wanted.conditions.iter().enumerate() {
            self::condition(problems, &format!("{list}[{index}]"), condition);
        }
    }
}

fn condition(problems: &mut Problems, at: &str, condition: &PredicateCondition) {
    let PredicateCondition {
        field,
        equals,
        matches,
    } = condition;
    let mut escapes = field.split('~').skip(1);
    if !field.starts_with('/') || !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        problems.add(
            format!("{at}.field"),
            "is no JSON pointer",
            "write for example /runDetails/builder/id",
        );
    }
    problems.length(&format!("{at}.field"), field, bound::URL);
    if equals.is_some() == matches.is_some() {
        problems.add(
            at,
            "needs exactly one of equals and matches",
            "write the values that the field may have",
        );
    }
    for (name, values) in [("equals", equals), ("matches", matches)] {
        let Some(values) = values else { continue };
        let list = format!("{at}.{name}");
        if values.is_empty() {
            problems.add(&list, "is empty", "add the values that the field may have");
        }
        problems.entries(&list, values.len(), bound::CONDITIONS_ON_PREDICATE);
        for (index, value) in values.iter().enumerate() {
            problems.text(&format!("{list}[{index}]"), value, bound::URL);
        }
    }
}

fn min_versions(problems: &mut Problems, min_versions: &[MinVersion]) {
    problems.entries("spec.minVersions", min_versions.len(), bound::MIN_VERSIONS);
    let names = min_versions.iter().map(|least| least.name.as_str());
    problems.distinct("spec.minVersions", "name", names);
    for (index, least) in min_versions.iter().enumerate() {
        let field = format!("spec.minVersions[{index}]");
        problems.text(&format!("{field}.name"), &least.name, bound::NAME);
        if !is_version(&least.version) {
            problems.add(
                format!("{field}.version"),
                "is no semantic version",
                "write for example 1.2.3",
            );
        }
        problems.length(&format!("{field}.version"), &least.version, bound::VERSION);
    }
}

fn revoked(problems: &mut Problems, revoked: &[Revocation]) {
    problems.entries("spec.revoked", revoked.len(), bound::REVOKED);
    let keys = revoked.iter().map(|revocation| revocation.key_id.as_str());
    problems.distinct("spec.revoked", "keyId", keys);
    for (index, revocation) in revoked.iter().enumerate() {
        if !is_hex(&revocation.key_id) {
            problems.add(
                format!("spec.revoked[{index}].keyId"),
                "is not the id of a key",
                "write the 64 hexadecimal digits that lighterman verify shows",
            );
        }
    }
}

/// The 64 lower-case hexadecimal digits of a sha256.
fn is_hex(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As the pattern in the schema: three numbers, and anything that may follow.
fn is_version(text: &str) -> bool {
    let (numbers, rest) = match text.find(['-', '+']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let tail = rest.get(1..).unwrap_or_default();
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && (rest.is_empty()
            || (!tail.is_empty()
                && tail
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'))))
}
