//! A TUF repository over HTTPS, with every answer bounded. The platform names it, so it
//! may be anywhere; what it answers is believed by nobody before it is checked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, StatusCode, Url};

use super::PublicRootError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one file may take; the largest has a few hundred kilobytes.
const WHOLE: Duration = Duration::from_secs(20);

/// Where a TUF repository is: `https://`, or `http://` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUrl(Url);

/// Why a text is no such URL.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no place of a TUF repository; write https://HOST/PATH, such as https://tuf-repo-cdn.sigstore.dev"
)]
pub struct NotARepository(String);

/// Asks one repository.
#[derive(Debug)]
pub(super) struct Repository {
    url: Url,
    client: Client,
}

/// Why a file could not be had. That there is none is no error.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{url} does not answer")]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answers {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url} has more than {most} bytes")]
    TooLarge { url: Url, most: usize },
    #[error("{0:?} is no path below the repository")]
    Path(String),
}

impl FromStr for RepositoryUrl {
    type Err = NotARepository;

    fn from_str(text: &str) -> Result<Self, NotARepository> {
        let wrong = || NotARepository(text.to_owned());
        // With a slash at the end, so that files are joined below it.
        let url = format!("{}/", text.trim_end_matches('/'));
        let url: Url = url.parse().map_err(|_| wrong())?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        (plain && secure).then_some(Self(url)).ok_or_else(wrong)
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Repository {
    /// `authorities` are files with certificates besides the system's.
    pub(super) async fn new(
        RepositoryUrl(url): RepositoryUrl,
        authorities: &[PathBuf],
    ) -> Result<Self, PublicRootError> {
        let mut trusted = Vec::new();
        for path in authorities {
            // Whoever reads these files for registries says what is wrong with them.
            let pem = tokio::fs::read(path).await.unwrap_or_default();
            trusted.extend(reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default());
        }
        let mut client = Client::builder()
            .user_agent(concat!("lighterman/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .tls_certs_merge(trusted);
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(PublicRootError::Client)?;
        Ok(Self { url, client })
    }

    /// One file below the repository, if there is one.
    pub(super) async fn get(&self, file: String, most: usize) -> Result<Option<Bytes>, FetchError> {
        let url = self.url.join(&file).ok();
        let below = url.filter(|url| url.as_str().starts_with(self.url.as_str()));
        let Some(url) = below else {
            return Err(FetchError::Path(file));
        };
        let unreachable = |source| FetchError::Unreachable {
            url: url.clone(),
            source,
        };
        let answer = self.client.get(url.clone()).send().await;
        let mut answer = answer.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            // Object stores that may not be listed say 403 of what is not there.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(None),
            status => return Err(FetchError::Status { url, status }),
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > most {
                return Err(FetchError::TooLarge { url, most });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.freeze()))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = literal.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_repository_is_at_https_or_on_this_machine() {
        for good in [
            "https://tuf-repo-cdn.sigstore.dev",
            "https://mirror.example/tuf/",
            "http://127.0.0.1:8080/x",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            good.parse::<RepositoryUrl>().unwrap();
        }
        for wrong in [
            "http://mirror.example",
            "http://127.0.0.1.evil.example",
            "ftp://mirror.example",
            "https://user:pass@mirror.example",
            "https://mirror.example/?a=b",
            "mirror.example",
            "",
        ] {
            let error = wrong.parse::<RepositoryUrl>().unwrap_err();
            assert!(error.to_string().contains("https://"), "{error}");
        }
    }

    /// A server of one answer for every request.
    async fn answering(head: &'static str, body: Vec<u8>) -> Repository {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tuf", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await;
                let _head = stream.write_all(head.as_bytes()).await;
                let _body = stream.write_all(&body).await;
            }
        });
        Repository::new(url.parse().unwrap(), &[]).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_its_bound_whatever_its_head_promises() {
        let endless = answering(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            vec![b'a'; 99],
        );
        let repository = endless.await;
        let file = repository.get("1.root.json".to_owned(), 99).await.unwrap();
        assert_eq!(file.unwrap().len(), 99);
        let error = repository.get("1.root.json".to_owned(), 98).await;
        assert!(matches!(error, Err(FetchError::TooLarge { most: 98, .. })));
    }

    #[tokio::test]
    async fn what_is_not_there_is_none_and_a_redirect_is_not_followed() {
        for head in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
        ] {
            let repository = answering(head, Vec::new()).await;
            let found = repository.get("9.root.json".to_owned(), 1).await.unwrap();
            assert_eq!(found, None);
        }
        let head =
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
        let repository = answering(head, Vec::new()).await;
        let error = repository.get("timestamp.json".to_owned(), 1).await;
        assert!(matches!(error, Err(FetchError::Status { .. })));
        for outside in [
            "../secret",
            "/secret",
            "//other.example/x",
            "https://other.example/",
        ] {
            let error = repository.get(outside.to_owned(), 1).await;
            assert!(matches!(error, Err(FetchError::Path(_))), "{outside}");
        }
    }
}
