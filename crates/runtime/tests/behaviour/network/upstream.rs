//! Servers that a component calls, real ones: HTTP/1.1 and 2, in TLS and without, and TCP.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    /// `:authority` or `Host`.
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    pub(crate) body: Bytes,
    /// Which of the server's connections it came on.
    pub(crate) connection: usize,
}

/// A server, until the test ends.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// The authority that signs the certificates of these servers.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
});

/// What has to be trusted.
pub(crate) fn root() -> CertificateDer<'static> {
    AUTHORITY.der().clone()
}

fn tls(
    names: &[&str],
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(names).unwrap();
    let certificate = parameters.signed_by(&key, &AUTHORITY).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}

impl Upstream {
    /// Plain HTTP on an address of its own.
    pub(crate) async fn http(ip: &str) -> Upstream {
        Upstream::start(ip, None).await
    }

    /// HTTPS for one name, HTTP/2 and 1.1.
    pub(crate) async fn https(ip: &str, name: &str) -> Upstream {
        let tls = tls(&[name], &["h2", "http/1.1"], rustls::ALL_VERSIONS);
        Upstream::start(ip, Some(tls)).await
    }

    /// HTTPS with HTTP/1.1 alone.
    pub(crate) async fn https_1_1(ip: &str, name: &str) -> Upstream {
        let tls = tls(&[name], &["http/1.1"], rustls::ALL_VERSIONS);
        Upstream::start(ip, Some(tls)).await
    }

    async fn start(ip: &str, tls: Option<TlsAcceptor>) -> Upstream {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let upstream = Upstream {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        tokio::spawn(upstream.clone().accept(listener, tls));
        upstream
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Connections that were ever accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn accept(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        while let Ok((stream, _)) = listener.accept().await {
            let number = self.connections.fetch_add(1, Ordering::SeqCst);
            let (upstream, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            upstream.serve(stream, number).await;
                        }
                    }
                    None => upstream.serve(stream, number).await,
                }
            });
        }
    }

    async fn serve<S>(self, stream: S, connection: usize)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let upstream = self.clone();
            async move { Ok::<_, Infallible>(upstream.answer(request, connection).await) }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: usize,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await;
        let trailers = body.as_ref().ok().and_then(|body| body.trailers().cloned());
        let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
        let host = head.headers.get("host").and_then(|host| host.to_str().ok());
        let authority = head.uri.authority().map(ToString::to_string);
        self.seen.lock().unwrap().push(Seen {
            version: head.version,
            authority: authority.or(host.map(str::to_owned)).unwrap_or_default(),
            headers: head.headers.clone(),
            trailers: trailers.unwrap_or_default(),
            body: bytes,
            connection,
        });
        respond(head.uri.path(), &head.headers).await
    }
}

async fn respond(path: &str, headers: &HeaderMap) -> Response<BoxBody<Bytes, Infallible>> {
    let token = headers.get("authorization").cloned();
    let token = token.unwrap_or(HeaderValue::from_static("none"));
    let whole = |text: String| Full::new(Bytes::from(text)).boxed();
    let mut response = Response::new(whole(format!("this is {path}\n")));
    match path {
        "/redirect" => {
            *response.status_mut() = StatusCode::FOUND;
            let target = HeaderValue::from_static("http://169.254.169.254/latest/meta-data");
            response.headers_mut().insert("location", target);
        }
        "/echo" => {
            response.headers_mut().insert("x-echo", token.clone());
            let text = token.to_str().unwrap().to_owned();
            // In two pieces, cut in the middle of it, and again in the trailers.
            let (start, end) = text.split_at(text.len() - 5);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-last", token);
            let frames = [
                Frame::data(Bytes::copy_from_slice(start.as_bytes())),
                Frame::data(Bytes::copy_from_slice(end.as_bytes())),
                Frame::trailers(trailers),
            ];
            let frames = futures::stream::iter(frames.into_iter().map(Ok));
            *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        }
        "/late" => tokio::time::sleep(Duration::from_secs(60)).await,
        "/stall" => {
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
            let frames = futures::StreamExt::chain(first, futures::stream::pending());
            *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        }
        "/soon" => tokio::time::sleep(Duration::from_millis(300)).await,
        "/big-head" => {
            let value = HeaderValue::from_str(&"x".repeat(16 << 10)).unwrap();
            for _ in 0..8 {
                response.headers_mut().append("x-big", value.clone());
            }
        }
        _ => {}
    }
    response
}

/// A TCP server that sends everything back.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Echo {
    pub(crate) async fn start(ip: &str) -> Echo {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Echo {
            address,
            connections,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
