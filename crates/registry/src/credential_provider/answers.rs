//! What a credential provider plugin has answered, for as long as it said, and
//! for the images that it said. In memory only, and bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use artifact::ImageReference;

use super::ProviderError;
use super::exec::Scope;
use crate::credentials::Credentials;
use crate::pull_secret::PullSecret;

/// A plugin that failed is not started again at once for every image of its
/// registry: it may have taken a minute to fail.
const FAILURE_LASTS: Duration = Duration::from_secs(20);
/// Answers kept for one plugin; the one that ends first gives way.
const MOST: usize = 1024;
/// No answer is kept longer, whatever the plugin says: it is no key.
const LASTS_MAX: Duration = Duration::from_secs(24 * 3600);

/// The answers of one plugin.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<BTreeMap<For, Kept>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Image(String),
    Registry(String),
    All,
}

#[derive(Clone, Debug)]
struct Kept {
    until: Instant,
    answer: Result<PullSecret, Arc<ProviderError>>,
}

impl Answers {
    /// The answer for `image`, if there is one that is still good: the closest
    /// first, as the kubelet looks.
    pub(super) fn get(
        &self,
        image: &ImageReference,
    ) -> Option<Result<Vec<Credentials>, Arc<ProviderError>>> {
        let now = Instant::now();
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = [Scope::Image, Scope::Registry, Scope::Global]
            .into_iter()
            .filter_map(|scope| answers.get(&For::new(scope, image)))
            .find(|kept| kept.until > now)?;
        Some(match &kept.answer {
            Ok(secret) => Ok(PullSecret::for_image([secret], image).unwrap_or_default()),
            Err(error) => Err(Arc::clone(error)),
        })
    }

    /// Keeps an answer; one that lasts no time is not kept.
    pub(super) fn keep(
        &self,
        image: &ImageReference,
        scope: Scope,
        secret: PullSecret,
        lasts: Duration,
    ) {
        let answer = Kept {
            until: Instant::now() + lasts.min(LASTS_MAX),
            answer: Ok(secret),
        };
        self.insert(For::new(scope, image), answer);
    }

    /// Keeps a failure for a short while.
    pub(super) fn keep_failure(&self, image: &ImageReference, error: Arc<ProviderError>) {
        let answer = Kept {
            until: Instant::now() + FAILURE_LASTS,
            answer: Err(error),
        };
        self.insert(For::new(Scope::Registry, image), answer);
    }

    fn insert(&self, scope: For, answer: Kept) {
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, kept| kept.until > now);
        if answers.len() >= MOST && !answers.contains_key(&scope) {
            let first = answers.iter().min_by_key(|(_, kept)| kept.until);
            if let Some(first) = first.map(|(scope, _)| scope.clone()) {
                answers.remove(&first);
            }
        }
        answers.insert(scope, answer);
    }
}

impl For {
    fn new(scope: Scope, image: &ImageReference) -> Self {
        match scope {
            Scope::Image => Self::Image(image.without_tag().to_string()),
            Scope::Registry => Self::Registry(image.registry().to_owned()),
            Scope::Global => Self::All,
        }
    }
}
