//! Which part of the distribution specification a path asks for. Repository
//! names contain slashes, so the path is read from its end. Pure.

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v2/`
    Base,
    /// `/token`
    Token,
    /// `/v2/<name>/…`
    In(&'a str, Part<'a>),
}

/// What it asks for in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// `blobs/uploads/`
    Uploads,
    /// `blobs/uploads/<id>`
    Upload(&'a str),
    /// `blobs/<digest>`
    Blob(&'a str),
    /// `manifests/<tag or digest>`
    Manifest(&'a str),
    /// `tags/list`
    Tags,
    /// `referrers/<digest>`
    Referrers(&'a str),
}

impl<'a> Route<'a> {
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        if path == "/token" {
            return Some(Self::Token);
        }
        let rest = path.strip_prefix("/v2")?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Base);
        }
        let (head, last) = rest.strip_prefix('/')?.rsplit_once('/')?;
        if let Some(repository) = head.strip_suffix("/blobs/uploads") {
            return Some(Self::In(
                repository,
                match last {
                    "" => Part::Uploads,
                    id => Part::Upload(id),
                },
            ));
        }
        let (repository, kind) = head.rsplit_once('/')?;
        let part = match (kind, last) {
            // Some clients leave the final slash out.
            ("blobs", "uploads") => Part::Uploads,
            ("blobs", digest) => Part::Blob(digest),
            ("manifests", reference) => Part::Manifest(reference),
            ("tags", "list") => Part::Tags,
            ("referrers", digest) => Part::Referrers(digest),
            _ => return None,
        };
        Some(Self::In(repository, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_may_be_deep_and_named_like_the_api() {
        for (path, expected) in [
            (
                "/v2/a/manifests/b/manifests/1.0",
                Some(Route::In("a/manifests/b", Part::Manifest("1.0"))),
            ),
            (
                "/v2/a/b/blobs/uploads/7",
                Some(Route::In("a/b", Part::Upload("7"))),
            ),
            ("/v2/a/blobs/uploads/", Some(Route::In("a", Part::Uploads))),
            ("/v2/a/blobs/uploads", Some(Route::In("a", Part::Uploads))),
            ("/v2", Some(Route::Base)),
            ("/v2/", Some(Route::Base)),
            ("/metrics", None),
            ("/v2/a/unknown/b", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
