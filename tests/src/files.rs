//! A web server of files in memory, which a test changes as it goes: the mirror of a
//! TUF repository. Answers `GET` and nothing else, one request for each connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The server; ends with the runtime.
pub struct Files {
    /// Where it listens.
    pub address: SocketAddr,
    files: Contents,
}

type Contents = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

impl Files {
    /// Serves nothing yet.
    pub async fn start() -> Result<Files> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let files = Files {
            address: listener.local_addr()?,
            files: Contents::default(),
        };
        let contents = Arc::clone(&files.files);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&contents)));
            }
        });
        Ok(files)
    }

    /// Serves these files, by path, in place of all others.
    pub fn serve(&self, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let mut contents = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        *contents = files.into_iter().collect();
    }
}

/// A client that goes away has what it wanted.
async fn answer(stream: TcpStream, contents: Contents) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    // To the empty line that ends the head.
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
    }
    let found = {
        let contents = contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.get(&path).cloned()
    };
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&body).await.ok()?;
    stream.flush().await.ok()
}
