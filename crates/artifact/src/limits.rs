//! How large the parts of an artifact may be. Everything that fetches, stores
//! or reads one uses these figures, so that a part is refused before it is
//! held in memory.

/// Bytes of an OCI manifest. One config and one layer take under 2 KiB; the
/// rest is room for annotations.
pub const MANIFEST_MAX: usize = 64 * 1024;

/// Bytes of an OCI config. The CNCF config lists every import and export.
pub const CONFIG_MAX: usize = 256 * 1024;

/// Bytes of the component itself.
pub const WASM_MAX: usize = 64 * 1024 * 1024;

/// Bytes of one sigstore bundle. A key-signed one takes about 700 bytes, a
/// keyless one about 8 KiB; attestations carry whole SBOMs.
pub const BUNDLE_MAX: usize = 256 * 1024;

/// Bundles that are looked at for one digest. Anybody who may push to a
/// repository can add bundles, so their number has to be bounded.
pub const BUNDLES_MAX: usize = 16;

/// Imports and exports of a component together.
pub const INTERFACES_MAX: usize = 512;

/// Bytes of a component's own name and version, which end up in status fields.
pub const NAME_MAX: usize = 256;

/// Bytes of a PEM file with a key in it.
pub const KEY_MAX: usize = 16 * 1024;

/// Authorities of one trust policy: each costs a signature check per bundle.
pub const AUTHORITIES_MAX: usize = 64;

/// Image globs of one trust policy.
pub const GLOBS_MAX: usize = 256;

/// Bytes of an image reference. The OCI distribution specification allows 255
/// for host and repository together; tag and digest follow.
pub const REFERENCE_MAX: usize = 512;

/// Bytes of a `trusted_root.json`. The public-good one takes 7 KiB, GitHub's 32.
pub const TRUSTED_ROOT_MAX: usize = 256 * 1024;

/// Bytes of one file of TUF metadata. sigstore's largest takes under 16 KiB.
pub const TUF_METADATA_MAX: usize = 128 * 1024;

/// Roots that may follow the built-in one. sigstore makes two or three a year.
pub const TUF_ROOTS_MAX: usize = 32;

/// Bytes of all relayed TUF metadata together, so that as base64 it stays below what one
/// answer of the hand-over may take.
pub const TUF_RELAYED_MAX: usize = 2 * 1024 * 1024;

/// Identities of one keyless authority.
pub const IDENTITIES_MAX: usize = 16;

/// Characters of an issuer, a subject, or an expression for one.
pub const IDENTITY_TEXT_MAX: usize = 512;

/// Bytes that a compiled regular expression may take: repetitions such as
/// `(a{1000}){1000}` are short to write.
pub const EXPRESSION_MAX: usize = 256 * 1024;

/// Attestations that one trust policy demands.
pub const ATTESTATIONS_MAX: usize = 16;

/// Conditions of one demanded attestation, and values of one condition.
pub const CONDITIONS_MAX: usize = 16;

/// Characters of a field's path or of a value in a condition.
pub const CONDITION_TEXT_MAX: usize = 512;

/// Digests that one trust policy denies.
pub const DENIED_MAX: usize = 256;

/// Least versions in one trust policy.
pub const MIN_VERSIONS_MAX: usize = 64;

/// Keys that one trust policy revokes.
pub const REVOKED_MAX: usize = 64;
