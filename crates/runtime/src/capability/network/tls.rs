//! TLS to upstreams: whom it trusts, which versions it speaks, what it offers.
//!
//! The authorities of the public web and the caller's; never a guest's choice, and there is
//! no way to switch verification off. Called by `uplink` once, and by `client` per connection.

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// HTTP/2 first, RFC 7301.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Servers of a component whose sessions are resumed.
const SESSIONS: usize = 64;

/// Verification and versions, TLS 1.2 and 1.3.
///
/// # Errors
/// When the cryptography of this build lacks what TLS needs.
pub(crate) fn client(own: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let (_, unusable) = roots.add_parsable_certificates(own.iter().cloned());
    if unusable > 0 {
        tracing::warn!(unusable, "certificates of the bundle are no authorities");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// The same with sessions of its own: a resumed one would tell a server that two components
/// share a node.
pub(crate) fn connector(shared: &ClientConfig) -> TlsConnector {
    let mut config = shared.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands; `host` is a name or an address without brackets.
pub(crate) async fn handshake(
    connector: &TlsConnector,
    host: String,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    connector.connect(name, stream).await
}

/// Whether HTTP/2 was agreed on.
pub(crate) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    let (_, session) = stream.get_ref();
    session.alpn_protocol() == PROTOCOLS.first().copied()
}
