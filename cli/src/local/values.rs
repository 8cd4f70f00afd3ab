//! The Secrets and ConfigMaps in the files, for the operator's own look-up of values.
//!
//! Stands for the API server's `get`: what is looked up and what a missing key means is the
//! operator's to say. Values are never printed.

use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use operator::reader::ReadError;
use operator::values::{Data, Kind, Objects};

use crate::documents::Documents;

/// The objects that hold values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a>(pub(super) &'a Documents);

impl Objects for Files<'_> {
    fn data<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Data>, ReadError>> {
        let data = match kind {
            Kind::Secret => self.secret(namespace, name),
            Kind::ConfigMap => self.config_map(namespace, name),
        };
        future::ready(Ok(data)).boxed()
    }
}

impl Files<'_> {
    /// The data of a Secret; as with an API server, `stringData` goes over `data`.
    pub(super) fn secret(&self, namespace: &str, name: &str) -> Option<Data> {
        let mut secrets = self.0.secrets.iter();
        let secret = secrets.find(|secret| is_named(&secret.metadata, namespace, name))?;
        let data = secret.data.clone().unwrap_or_default().into_iter();
        let text = secret.string_data.clone().unwrap_or_default().into_iter();
        Some(
            data.map(|(key, value)| (key, value.0))
                .chain(text.map(|(key, value)| (key, value.into_bytes())))
                .collect(),
        )
    }

    fn config_map(&self, namespace: &str, name: &str) -> Option<Data> {
        let mut maps = self.0.config_maps.iter();
        let map = maps.find(|map| is_named(&map.metadata, namespace, name))?;
        let text = map.data.clone().unwrap_or_default().into_iter();
        let binary = map.binary_data.clone().unwrap_or_default().into_iter();
        Some(
            text.map(|(key, value)| (key, value.into_bytes()))
                .chain(binary.map(|(key, value)| (key, value.0)))
                .collect(),
        )
    }
}

fn is_named(metadata: &ObjectMeta, namespace: &str, name: &str) -> bool {
    let default = super::DEFAULT_NAMESPACE;
    metadata.name.as_deref() == Some(name)
        && metadata.namespace.as_deref().unwrap_or(default) == namespace
}

#[cfg(test)]
mod tests {
    use crds::document::{self, Document};

    use super::*;

    const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: info}
binaryData: {raw: /w==}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
data: {token: b2xk, key: a2V5}
stringData: {token: new}
"#;

    fn documents() -> Documents {
        let mut documents = Documents::default();
        for document in document::parse(OBJECTS).unwrap() {
            match document {
                Document::ConfigMap(map) => documents.config_maps.push(*map),
                Document::Secret(secret) => documents.secrets.push(*secret),
                other => panic!("{other:?}"),
            }
        }
        documents
    }

    fn data(kind: Kind, namespace: &str, name: &str) -> Option<Data> {
        let documents = documents();
        Files(&documents)
            .data(kind, namespace, name)
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    #[test]
    fn string_data_goes_over_data_and_binary_data_is_data() {
        let secret = data(Kind::Secret, "default", "hidden").unwrap();
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(secret.get("token").cloned(), bytes("new"));
        assert_eq!(secret.get("key").cloned(), bytes("key"));
        let map = data(Kind::ConfigMap, "default", "settings").unwrap();
        assert_eq!(map.get("raw").cloned(), Some(vec![0xff]));
    }

    #[test]
    fn another_namespace_or_kind_gives_nothing() {
        assert_eq!(data(Kind::Secret, "shop", "hidden"), None);
        assert_eq!(data(Kind::ConfigMap, "default", "hidden"), None);
    }
}
