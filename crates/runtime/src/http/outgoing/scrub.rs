//! Keeps secrets out of what comes back: an upstream that echoes its request, a page that
//! shows the header it did not like.
//!
//! Looks for the secret's bytes as they were sent, in headers, trailers and the beginning of
//! the body, also where two pieces of the body meet, and puts stars in their place. What an
//! upstream encodes in another way it can tell the guest anyhow. Pure; used by `response`.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;

/// Bytes of a body that are looked at. Error pages and echoes are short; downloads are not.
const LOOKED_AT: usize = 64 * 1024;
const STAR: u8 = b'*';

/// What must not come back, and how far the body has been looked at.
#[derive(Clone)]
pub(super) struct Scrubber {
    secrets: Vec<Arc<[u8]>>,
    left: usize,
    /// The end of what came: it may be the beginning of a secret.
    held: BytesMut,
}

impl Scrubber {
    /// None when there is nothing to look for.
    pub(super) fn new(mut secrets: Vec<Arc<[u8]>>) -> Option<Scrubber> {
        secrets.retain(|secret| !secret.is_empty());
        // A longer secret first: it may begin with a shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        (!secrets.is_empty()).then(|| Scrubber {
            secrets,
            left: LOOKED_AT,
            held: BytesMut::new(),
        })
    }

    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let mut bytes = BytesMut::from(value.as_bytes());
            if self.strike_out(&mut bytes) {
                // Stars are valid wherever the secret was.
                *value = HeaderValue::from_maybe_shared(bytes.freeze())
                    .unwrap_or_else(|_| HeaderValue::from_static("*"));
            }
        }
    }

    /// Takes a piece of the body, gives what of it may go on.
    pub(super) fn push(&mut self, data: Bytes) -> Bytes {
        if self.left == 0 && self.held.is_empty() {
            return data;
        }
        self.left = self.left.saturating_sub(data.len());
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(&data);
        self.strike_out(&mut text);
        let keep = self
            .secrets
            .iter()
            .map(|secret| overlap(&text, secret))
            .max();
        let keep = keep.filter(|_| self.left > 0).unwrap_or(0);
        self.held = text.split_off(text.len().saturating_sub(keep));
        text.freeze()
    }

    /// What was held back, at the end of the body.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        self.left = 0;
        let held = std::mem::take(&mut self.held);
        (!held.is_empty()).then(|| held.freeze())
    }

    /// Bytes that are held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    fn strike_out(&self, text: &mut [u8]) -> bool {
        let mut found = false;
        for secret in &self.secrets {
            let mut from = 0;
            while let Some(at) = find(text.get(from..).unwrap_or_default(), secret) {
                let end = from + at + secret.len();
                if let Some(place) = text.get_mut(from + at..end) {
                    place.fill(STAR);
                }
                found = true;
                from = end;
            }
        }
        found
    }
}

fn find(text: &[u8], secret: &[u8]) -> Option<usize> {
    // A secret is not empty: `windows` of 0 would panic.
    let length = secret.len().max(1);
    text.windows(length).position(|window| window == secret)
}

/// How many bytes at the end of the text could begin the secret.
fn overlap(text: &[u8], secret: &[u8]) -> usize {
    let longest = secret.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| {
            let end = text.get(text.len() - length..);
            end.is_some() && end == secret.get(..*length)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let secrets = secrets.iter().map(|secret| secret.as_bytes().into());
        Scrubber::new(secrets.collect()).unwrap()
    }

    fn run(scrubber: &mut Scrubber, pieces: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(piece)));
        }
        all.extend_from_slice(&scrubber.finish().unwrap_or_default());
        all
    }

    #[test]
    fn a_secret_is_struck_out_wherever_it_stands_and_lengths_stay() {
        for (pieces, expected) in [
            (vec!["token=hunter2hunter2!"], "token=**************!"),
            (vec!["a hunter2h", "unter2 b"], "a ************** b"),
            (
                vec!["hunter2hunter2hunter2hunter2"],
                "****************************",
            ),
            (vec!["hunter2hunter"], "hunter2hunter"),
            (vec!["hunter2hunter", "3"], "hunter2hunter3"),
            (vec!["h", "u", "n", "t", "er2hunter", "2"], "**************"),
            (vec![], ""),
        ] {
            let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            let found = run(&mut scrubber(&["hunter2hunter2"]), &pieces);
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{pieces:?}");
        }
    }

    #[test]
    fn what_can_not_be_the_secret_is_not_held_back() {
        let mut scrubber = scrubber(&["hunter2hunter2"]);
        assert_eq!(
            scrubber.push(Bytes::from_static(b"event: 1\n\n")),
            "event: 1\n\n"
        );
        assert_eq!(scrubber.held(), 0);
    }

    #[test]
    fn headers_are_looked_at_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("Bearer hunter2hunter2"));
        headers.insert("x-other", HeaderValue::from_static("plain"));
        scrubber(&["hunter2hunter2"]).headers(&mut headers);
        assert_eq!(headers["x-echo"], "Bearer **************");
        assert_eq!(headers["x-other"], "plain");
    }

    #[test]
    fn a_long_body_passes_after_its_beginning() {
        let mut scrubber = scrubber(&["hunter2hunter2"]);
        let start = vec![b'x'; LOOKED_AT];
        let found = run(&mut scrubber, &[&start, b"hunter2hunter2"]);
        assert!(found.ends_with(b"hunter2hunter2"));
        assert!(Scrubber::new(Vec::new()).is_none());
    }

    proptest! {
        #[test]
        fn no_cut_of_the_body_lets_a_secret_through(
            before in "[ab]{0,12}", after in "[ab]{0,12}", cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let secret = "abbabaab";
            let text = format!("{before}{secret}{after}");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            let found = String::from_utf8(run(&mut scrubber(&[secret]), &pieces)).unwrap();
            prop_assert_eq!(found.len(), text.len());
            prop_assert!(!found.contains(secret), "{found}");
        }
    }
}
