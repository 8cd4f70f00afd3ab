//! Answers that need not be sent again: agents ask for values every minute, and have them.
//!
//! Pure. The tag stands for the whole content, so that it changes with any value; it goes
//! to the agent alone, over the connection that the values go over. `server` calls it.

use artifact::Digest;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use crds::Reason;
use crds::handover::{Problem, Values};

use super::problem;

/// `values` as an answer to a request with `headers`: 304 without a body if the request
/// names the tag of these very values (RFC 9110, `If-None-Match`).
pub(super) fn answer(values: &Values, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let unsendable = |error: String| problem(Reason::InvalidValue, error);
    let body = serde_json::to_vec(values).map_err(|error| unsendable(error.to_string()))?;
    let tag = HeaderValue::try_from(format!("\"{}\"", Digest::of(&body)))
        .map_err(|error| unsendable(error.to_string()))?;
    let mut response = if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    };
    let answered = response.headers_mut();
    answered.insert(header::ETAG, tag);
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn values(token: &str) -> Values {
        Values {
            env: BTreeMap::from([("TOKEN".to_owned(), token.to_owned())]),
            ..Values::default()
        }
    }

    async fn asked(values: &Values, tag: Option<&HeaderValue>) -> (u16, HeaderValue, Vec<u8>) {
        let known = tag.map(|tag| (header::IF_NONE_MATCH, tag.clone()));
        let response = answer(values, &known.into_iter().collect()).unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let (status, tag) = (
            response.status().as_u16(),
            response.headers()[header::ETAG].clone(),
        );
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, tag, body.unwrap().to_vec())
    }

    #[tokio::test]
    async fn values_are_sent_once_and_again_when_they_change() {
        let (status, tag, body) = asked(&values("old"), None).await;
        assert_eq!(status, 200);
        assert_eq!(
            serde_json::from_slice::<Values>(&body).unwrap(),
            values("old")
        );
        let (status, same, body) = asked(&values("old"), Some(&tag)).await;
        assert_eq!((status, &same, body.len()), (304, &tag, 0));
        let (status, other, _) = asked(&values("new"), Some(&tag)).await;
        assert_eq!(status, 200);
        assert_ne!(other, tag);
    }
}
