//! What the Service of the hand-over does in a cluster: one address that leads
//! to whichever operator answers. It forwards bytes and knows nothing of TLS.
//! Called by the suite; agents connect to it.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// One address in front of several.
pub struct Forwarder {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Forwarder {
    /// Starts forwarding to the first of `targets` that accepts a connection.
    pub async fn start(targets: Vec<SocketAddr>) -> Result<Forwarder> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let targets = targets.clone();
                tokio::spawn(forward(client, targets));
            }
        });
        Ok(Forwarder { address })
    }
}

async fn forward(mut client: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        if let Ok(mut server) = TcpStream::connect(target).await {
            // Either side may end it, as in any forwarder: there is nobody to tell.
            let _ended = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
