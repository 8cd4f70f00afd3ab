//! The stage of `quickstart` and `demo`: a registry, a key, and the hello component in two versions.
//!
//! Everything is inside this program, so that a first try needs nothing installed. The
//! components are the ones under `examples/` and `tests/guests/`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use artifact::signature::{self, SigningKey};
use artifact::{Digest, ImageReference, manifest_section};
use bytes::Bytes;
use capability::ImageGlob;
use registry::development::{DevelopmentRegistry, Faults, Options};
use registry::{Client, Credentials};

use crate::access;
use crate::args::Access;
use crate::command::keygen;
use crate::failure::Failure;
use crate::key;

/// Version 1 of the hello component.
pub(crate) const HELLO: &[u8] = include_bytes!("../../examples/hello/hello.wasm");
/// Version 2 of it.
pub(crate) const HELLO_V2: &[u8] = include_bytes!("../../examples/hello/hello-v2.wasm");
/// A component with a route that opens a connection.
const PROBE: &[u8] = include_bytes!("../../tests/guests/probe/probe.wasm");
/// A component that works on files, what it asks for, and what it is granted.
const DATA_PROCESSOR: &[u8] = include_bytes!("../../examples/data-processor/data-processor.wasm");
const DATA_PROCESSOR_MANIFEST: &str = include_str!("../../examples/data-processor/Component.toml");
const DATA_PROCESSOR_YAML: &str = include_str!("../../examples/data-processor.yaml");
/// The image in that YAML.
const DATA_PROCESSOR_IMAGE: &str = "registry.example/data-processor:1";

/// [`HELLO`] as it is.
pub(crate) fn hello() -> Bytes {
    Bytes::from_static(HELLO)
}

/// [`HELLO_V2`] as it is.
pub(crate) fn hello_v2() -> Bytes {
    Bytes::from_static(HELLO_V2)
}

/// The component that opens a connection when it is asked to.
pub(crate) fn probe() -> Bytes {
    Bytes::from_static(PROBE)
}

/// The same component with a note of at most 100 bytes in a custom section: other bytes,
/// so that no signature made earlier covers them.
pub(crate) fn noted(wasm: &[u8], note: &'static str) -> Bytes {
    const NAME: &str = "note";
    // Id 0, the section's length, its name with a length, its content. Below 128 a LEB128
    // number is the byte itself.
    let length = u8::try_from(1 + NAME.len() + note.len()).unwrap_or(u8::MAX);
    let name_length = u8::try_from(NAME.len()).unwrap_or(u8::MAX);
    let section = [&[0, length, name_length], NAME.as_bytes(), note.as_bytes()].concat();
    Bytes::from([wasm, &section].concat())
}

/// The registry, the key, and where files go.
#[derive(Debug)]
pub(crate) struct Showcase {
    registry: DevelopmentRegistry,
    client: Client,
    key: SigningKey,
    folder: PathBuf,
    private_key: PathBuf,
}

impl Showcase {
    /// Starts the registry and makes the key; files go to `folder`.
    pub(crate) async fn open(address: SocketAddr, folder: &Path) -> Result<Showcase, Failure> {
        let registry = DevelopmentRegistry::start(address, Options::default())
            .await
            .map_err(|error| {
                Failure::unavailable(
                    format!("cannot listen on {address}: {error}"),
                    "name another address with --registry",
                )
            })?;
        let key = SigningKey::generate().map_err(|error| Failure::unavailable(error, ""))?;
        let private_key = folder.join("cosign.key");
        key::write(&key, "", &private_key, &folder.join("cosign.pub"))?;
        Ok(Showcase {
            registry,
            client: access::client(&Access::default())?,
            key,
            folder: folder.to_owned(),
            private_key,
        })
    }

    /// Where the registry listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.registry.addr()
    }

    /// The private key, without a password: it is gone with the folder.
    pub(crate) fn private_key(&self) -> &Path {
        &self.private_key
    }

    /// Lets the registry misbehave.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.registry.set_faults(faults);
    }

    /// The image that the YAML runs.
    pub(crate) fn image(&self) -> Result<ImageReference, Failure> {
        self.image_of("hello")
    }

    fn image_of(&self, name: &str) -> Result<ImageReference, Failure> {
        format!("{}/{name}:1", self.address())
            .parse()
            .map_err(|error| Failure::unavailable(error, ""))
    }

    /// Moves the tag to these bytes.
    pub(crate) async fn push(&self, wasm: Bytes, signed: bool) -> Result<Digest, Failure> {
        self.push_to(&self.image()?, wasm, signed).await
    }

    /// Pushes the component that works on files, signed and with its manifest, and adds what
    /// it is granted to the YAML.
    pub(crate) async fn add_data_processor(&self) -> Result<(), Failure> {
        let wasm = manifest_section::embed(DATA_PROCESSOR, DATA_PROCESSOR_MANIFEST)
            .map_err(|refusal| Failure::refused(refusal, ""))?;
        let image = self.image_of("data-processor")?;
        self.push_to(&image, Bytes::from(wasm), true).await?;
        let more = DATA_PROCESSOR_YAML.replace(DATA_PROCESSOR_IMAGE, &image.to_string());
        let file = self.yaml();
        let text =
            std::fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?;
        std::fs::write(&file, format!("{text}---\n{more}"))
            .map_err(|error| Failure::file(&file, "write", &error))
    }

    async fn push_to(
        &self,
        image: &ImageReference,
        wasm: Bytes,
        signed: bool,
    ) -> Result<Digest, Failure> {
        let anonymous = Credentials::anonymous();
        let digest = self
            .client
            .push(image, wasm, &BTreeMap::new(), &anonymous)
            .await
            .map_err(access::failure)?;
        if signed {
            let bundle = signature::sign(&self.key, &digest)
                .map_err(|error| Failure::unavailable(error, ""))?;
            self.client
                .attach_bundle(image, &digest, Bytes::from(bundle), &anonymous)
                .await
                .map_err(access::failure)?;
        }
        Ok(digest)
    }

    fn yaml(&self) -> PathBuf {
        self.folder.join("hello.yaml")
    }

    /// Writes what a user would: the component, and the policy that trusts the key.
    pub(crate) fn write_yaml(&self) -> Result<PathBuf, Failure> {
        let images: ImageGlob = format!("{}/**", self.address())
            .parse()
            .map_err(|error| Failure::unavailable(error, ""))?;
        let text = format!(
            "apiVersion: lighterman.dev/v1alpha1
kind: WasmComponent
metadata:
  name: hello
spec:
  image: {image}
  triggers:
  - name: web
    http: {{}}
---
{policy}
",
            image = self.image()?,
            policy = keygen::policy("quickstart", &images, &self.key.public_key().to_pem()),
        );
        let file = self.yaml();
        std::fs::write(&file, text).map_err(|error| Failure::file(&file, "write", &error))?;
        Ok(file)
    }
}
