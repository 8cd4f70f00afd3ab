//! One run of a credential provider plugin: the question on its standard input,
//! the answer from its standard output, in a time and a size. It gets the
//! environment that the configuration declares and nothing else: the operator's
//! own holds what is no plugin's business.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use artifact::ImageReference;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::config::{PROTOCOL_VERSION, Plugin, duration};
use crate::credentials::Credentials;
use crate::pull_secret::PullSecret;

/// The kubelet gives a plugin a minute.
const TIME_MAX: Duration = Duration::from_secs(60);
/// An answer is a few tokens.
const ANSWER_MAX: u64 = 1024 * 1024;
/// Of what a plugin says about its failure, as much is logged.
const WORDS_MAX: u64 = 2048;

/// What a plugin has answered.
pub(super) struct Response {
    pub(super) scope: Scope,
    /// How long it may be kept, if the plugin says so.
    pub(super) lasts: Option<Duration>,
    /// All of the answer: it may be for more images than the one asked about.
    pub(super) secret: PullSecret,
    /// Of these, what is for the image.
    pub(super) credentials: Vec<Credentials>,
}

/// For what an answer is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Scope {
    Image,
    Registry,
    Global,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it cannot be started")]
    Start(#[source] std::io::Error),
    #[error("it cannot be spoken to")]
    Speak(#[source] std::io::Error),
    #[error("it took longer than {} s", TIME_MAX.as_secs())]
    Time,
    #[error("it ended with {0}")]
    Ended(ExitStatus),
    #[error("it answered with more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error("its answer is no CredentialProviderResponse of {PROTOCOL_VERSION}")]
    Malformed(#[source] Option<serde_json::Error>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'a str,
    kind: &'a str,
    image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: String,
    kind: String,
    cache_key_type: Scope,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<BTreeMap<String, Auth>>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Asks `plugin` about `image`.
pub(super) async fn run(
    program: &Path,
    plugin: &Plugin,
    image: &ImageReference,
) -> Result<Response, Fault> {
    let answer = tokio::time::timeout(TIME_MAX, answer(program, plugin, image))
        .await
        .map_err(|_| Fault::Time)??;
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|source| Fault::Malformed(Some(source)))?;
    if answer.api_version != PROTOCOL_VERSION || answer.kind != "CredentialProviderResponse" {
        return Err(Fault::Malformed(None));
    }
    let lasts = match answer.cache_duration {
        Some(text) => Some(duration(&text).ok_or(Fault::Malformed(None))?),
        None => None,
    };
    let given = answer.auth.unwrap_or_default().into_iter();
    let secret = PullSecret::of(
        given
            .map(|(key, auth)| (key, Credentials::basic(auth.username, auth.password)))
            .collect(),
    );
    Ok(Response {
        scope: answer.cache_key_type,
        lasts,
        // It fails for identity tokens only, which a plugin cannot give.
        credentials: PullSecret::for_image([&secret], image).unwrap_or_default(),
        secret,
    })
}

/// The bytes on the standard output of a run that ended well.
async fn answer(program: &Path, plugin: &Plugin, image: &ImageReference) -> Result<Vec<u8>, Fault> {
    let question = Question {
        api_version: PROTOCOL_VERSION,
        kind: "CredentialProviderRequest",
        // As the kubelet asks: without tag and digest.
        image: image.without_tag().to_string(),
    };
    let question =
        serde_json::to_vec(&question).map_err(|source| Fault::Malformed(Some(source)))?;
    let mut child = Command::new(program)
        .args(&plugin.args)
        .env_clear()
        .envs(plugin.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A run that is given up must not go on.
        .kill_on_drop(true)
        .spawn()
        .map_err(Fault::Start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async move {
        if let Some(mut stdin) = stdin {
            // One that does not read its question may still answer.
            let _unread = stdin.write_all(&question).await;
        }
    };
    let ((), answer, words) = tokio::join!(ask, read(stdout, ANSWER_MAX), read(stderr, WORDS_MAX));
    let (answer, words) = (answer.map_err(Fault::Speak)?, words.map_err(Fault::Speak)?);
    let status = child.wait().await.map_err(Fault::Speak)?;
    if !status.success() {
        tracing::warn!(
            provider = plugin.name,
            %status,
            words = ?String::from_utf8_lossy(&words.read),
            "a credential provider says why it failed"
        );
        return Err(Fault::Ended(status));
    }
    if answer.more {
        return Err(Fault::TooLarge);
    }
    Ok(answer.read)
}

/// What came from a pipe, and whether there was more of it.
#[derive(Default)]
struct Words {
    read: Vec<u8>,
    more: bool,
}

/// Reads up to `limit` bytes and lets the rest pass: a pipe that nobody empties
/// would hold the program up.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Words> {
    let Some(pipe) = pipe else {
        return Ok(Words::default());
    };
    let mut read = Vec::new();
    let mut limited = pipe.take(limit);
    limited.read_to_end(&mut read).await?;
    let mut rest = limited.into_inner();
    let more = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await? > 0;
    Ok(Words { read, more })
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({:?}, redacted)", self.scope)
    }
}
