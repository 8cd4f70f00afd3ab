//! The kubelet's credential provider plugins (`CredentialProviderConfig` v1, and
//! the exec protocol `credentialprovider.kubelet.k8s.io/v1`): programs of the
//! platform that give short-lived credentials for the registries of a cloud.
//! Configuration and programs are the platform's alone; a tenant chooses nothing
//! but the image that is asked about. The operator calls it.

mod answers;
mod config;
mod exec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact::ImageReference;
use tokio::sync::Semaphore;

use crate::credentials::Credentials;
use answers::Answers;
use config::Plugin;
pub use config::{ConfigError, CredentialProviderConfig};

/// Runs of one plugin at once: most answers serve a whole registry, so that the
/// others find theirs when it is their turn.
const RUNS: usize = 2;

/// The plugins of one configuration, and what they have answered lately.
#[derive(Debug)]
pub struct CredentialProviders {
    plugins: Vec<Running>,
}

/// Why a plugin gave nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "the credential provider {plugin} gave no credentials: {fault}; its own words are in the operator's log"
)]
pub struct ProviderError {
    plugin: String,
    #[source]
    fault: exec::Fault,
}

#[derive(Debug)]
struct Running {
    plugin: Plugin,
    program: PathBuf,
    answers: Answers,
    runs: Semaphore,
}

impl CredentialProviders {
    /// The plugins of `config`, whose programs are in `folder`.
    ///
    /// # Errors
    /// What in the configuration cannot be used, or which program is not there.
    pub fn new(config: CredentialProviderConfig, folder: &Path) -> Result<Self, ConfigError> {
        let running = |plugin: Plugin| {
            let program = folder.join(&plugin.name);
            if !program.is_file() {
                return Err(ConfigError::NoProgram { program });
            }
            Ok(Running {
                plugin,
                program,
                answers: Answers::default(),
                runs: Semaphore::new(RUNS),
            })
        };
        let plugins = config.validate()?.into_iter().map(running);
        Ok(Self {
            plugins: plugins.collect::<Result<_, _>>()?,
        })
    }

    /// What every plugin that is for `image` has to give, in the order of the
    /// configuration. One that fails does not keep the others from answering.
    pub async fn for_image(
        &self,
        image: &ImageReference,
    ) -> Vec<Result<Vec<Credentials>, Arc<ProviderError>>> {
        let asked = self
            .plugins
            .iter()
            .filter(|running| running.plugin.is_for(image))
            .map(|running| running.ask(image));
        futures::future::join_all(asked).await
    }
}

impl Running {
    async fn ask(&self, image: &ImageReference) -> Result<Vec<Credentials>, Arc<ProviderError>> {
        if let Some(answer) = self.answers.get(image) {
            return answer;
        }
        // Never closed; were it, running on would be right.
        let _run = self.runs.acquire().await.ok();
        if let Some(answer) = self.answers.get(image) {
            return answer;
        }
        let outcome = exec::run(&self.program, &self.plugin, image).await;
        match outcome {
            Ok(response) => {
                let lasts = response.lasts.unwrap_or(self.plugin.default_lasts);
                self.answers
                    .keep(image, response.scope, response.secret, lasts);
                Ok(response.credentials)
            }
            Err(fault) => {
                let error = Arc::new(ProviderError {
                    plugin: self.plugin.name.clone(),
                    fault,
                });
                tracing::warn!(
                    provider = self.plugin.name,
                    image = %image.without_tag(),
                    error = &*error as &dyn std::error::Error,
                    "a credential provider failed"
                );
                self.answers.keep_failure(image, Arc::clone(&error));
                Err(error)
            }
        }
    }
}
