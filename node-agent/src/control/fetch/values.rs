//! Values over the hand-over: asked for again and again while a component runs, and mostly the
//! same. They are kept with the tag that the operator knows them by, and come again only when
//! they are others.

use crds::handover::{Values, values_path};
use crds::revision::RevisionDocument;
use reqwest::StatusCode;
use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use serde::{Deserialize, Serialize};

use super::{HandOver, is_absence, parsed};
use crate::control::validate;
use crate::source::SourceError;

/// Values as they are kept. An agent that knows no tags reads and writes them without.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(flatten)]
    values: Values,
}

impl HandOver {
    /// The values of a revision. The kept ones serve while the operator is away; those with
    /// secrets only until the node is rebooted, for they are never on its disk.
    pub async fn values(&self, document: &RevisionDocument) -> Result<Values, SourceError> {
        let (namespace, revision) = (&document.component.namespace, document.revision_name());
        let name = format!("values-{namespace}_{revision}");
        let is_secret = validate::names_secrets(document);
        let store = if is_secret {
            &self.values
        } else {
            &self.documents
        };
        let kept: Option<Kept> = store.load(name.clone()).await;
        let path = values_path(namespace, &revision);
        match self.unless_kept(&path, kept.as_ref()).await {
            Ok(None) => kept.map(|kept| kept.values).ok_or_else(|| {
                SourceError::Malformed("nothing has changed, and nothing is kept".to_owned())
            }),
            Ok(Some(others)) => {
                if kept.as_ref() != Some(&others) {
                    store.save(name, &others).await;
                }
                Ok(others.values)
            }
            Err(error) if is_absence(&error) => kept.map(|kept| kept.values).ok_or(if is_secret {
                SourceError::SecretsUnavailable
            } else {
                error
            }),
            Err(error) => Err(error),
        }
    }

    /// What the operator has, unless that is what is kept.
    async fn unless_kept(
        &self,
        path: &str,
        kept: Option<&Kept>,
    ) -> Result<Option<Kept>, SourceError> {
        let tag = kept.and_then(|kept| HeaderValue::from_str(kept.tag.as_deref()?).ok());
        let asked = self.exchange(&self.connection, path, |client, url| {
            let tag = tag.map(|tag| (IF_NONE_MATCH, tag));
            client.get(url).headers(tag.into_iter().collect())
        });
        let response = asked.await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let tag = response.headers().get(ETAG);
        let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        let values = parsed(response).await?;
        Ok(Some(Kept { tag, values }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_an_agent_without_tags_has_kept_is_read_and_the_other_way_round() {
        let values = Values {
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            ..Values::default()
        };
        let earlier = serde_json::to_string(&values).unwrap();
        let read: Kept = serde_json::from_str(&earlier).unwrap();
        assert!(read.tag.is_none() && read.values == values);
        let kept = Kept {
            tag: Some("\"t\"".to_owned()),
            values: values.clone(),
        };
        let written = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Values>(&written).unwrap(), values);
        assert!(serde_json::from_str::<Kept>(&written).unwrap() == kept);
    }
}
