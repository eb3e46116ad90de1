//! Hugging Face's hub, or what speaks as it does, through the crate `hf-hub`.
//!
//! Of hf-hub we take requests, redirects, tries and the token (`HF_TOKEN`, `HF_TOKEN_PATH`, or the
//! file of `hf auth login`). What it doesn't do is done here and in the other files: it heeds no
//! `HF_HUB_OFFLINE`, checks no hash, waits without end, and writes to paths made of what the hub says
//! in its headers; so nothing of it writes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use hf_hub::repository::{HFRepository, RepoTreeEntry, RepoTypeModel};
use hf_hub::{HFClient, HFError};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Hub, HubSettings, Identity, PullError, RemoteFile, Wanted};

/// How long a hub may be silent.
const PATIENCE: Duration = Duration::from_mins(1);
/// The most files of a repository.
const MOST_FILES: usize = 10_000;

/// A hub, and what waits for it.
pub(super) struct HfHub {
    client: HFClient,
    runtime: Runtime,
}

impl HfHub {
    /// Asks nothing yet.
    pub(super) fn connect(settings: &HubSettings) -> Result<Self, PullError> {
        let failed = |problem: String| PullError::Failed { what: "anything".to_owned(), problem };
        let mut builder = HFClient::builder()
            .cache_enabled(false)
            .user_agent(concat!("troupe/", env!("CARGO_PKG_VERSION")));
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.endpoint(endpoint.as_str());
        }
        let client = builder.build().map_err(|error| failed(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, runtime })
    }

    fn repository(&self, repository: &str) -> HFRepository<RepoTypeModel> {
        let (owner, name) = hf_hub::split_id(repository);
        self.client.model(owner, name)
    }
}

/// Waits for an answer, though not without end.
async fn answer<T>(
    what: &str,
    asked: impl Future<Output = Result<T, HFError>>,
) -> Result<T, PullError> {
    let silent = |_| {
        let problem = format!("it was silent for {} seconds", PATIENCE.as_secs());
        PullError::Failed { what: what.to_owned(), problem }
    };
    timeout(PATIENCE, asked).await.map_err(silent)?.map_err(|error| told(what, &error))
}

async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> Option<T> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

impl Hub for HfHub {
    fn commit(&mut self, repository: &str, revision: &str) -> Result<String, PullError> {
        let what = format!("`{repository}` at `{revision}`");
        let handle = self.repository(repository);
        let info = async { handle.info().revision(revision).send().await };
        let info = self.runtime.block_on(answer(&what, info))?;
        let problem = "it names no commit".to_owned();
        info.sha.ok_or(PullError::Failed { what, problem })
    }

    fn files(&mut self, repository: &str, commit: &str) -> Result<Vec<RemoteFile>, PullError> {
        let what = format!("the files of `{repository}`");
        let handle = self.repository(repository);
        self.runtime.block_on(async {
            let listed = handle.list_tree().revision(commit).recursive(true).send();
            let mut listed = Box::pin(listed.map_err(|error| told(&what, &error))?);
            let mut files = Vec::new();
            while let Some(entry) =
                answer(&what, async { next(&mut listed).await.transpose() }).await?
            {
                if let RepoTreeEntry::File { oid, size, path, lfs, .. } = entry {
                    // In Git LFS the object is the pointer; hf-hub 1.0.0 looks for the SHA-256 under the name
                    // that another of the hub's answers has for it, and finds none.
                    let identity = match lfs {
                        None => Identity::Blob(oid),
                        Some(lfs) => lfs.sha256.map_or(Identity::Pointer(oid), Identity::Sha256),
                    };
                    files.push(RemoteFile { path, size, identity });
                }
                if MOST_FILES < files.len() {
                    let problem = format!("it lists more than {MOST_FILES}");
                    return Err(PullError::Failed { what, problem });
                }
            }
            Ok(files)
        })
    }

    fn fetch(
        &mut self,
        wanted: &Wanted<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), PullError>,
    ) -> Result<(), PullError> {
        let Wanted { repository, commit, file, from } = *wanted;
        let what = format!("`{}` of `{repository}`", file.path);
        let handle = self.repository(repository);
        self.runtime.block_on(async {
            let range = (0 < from).then_some(from..file.size);
            let asked = handle.download_file_stream().filename(file.path.as_str());
            let asked = asked.revision(commit).maybe_range(range).send();
            let (_, mut stream) = answer(&what, asked).await?;
            loop {
                match timeout(PATIENCE, next(&mut stream)).await {
                    Ok(Some(Ok(bytes))) => sink(&bytes)?,
                    Ok(Some(Err(error))) => return Err(PullError::Broken(error.to_string())),
                    Ok(None) => return Ok(()),
                    Err(_) => {
                        let seconds = PATIENCE.as_secs();
                        return Err(PullError::Broken(format!("silence for {seconds} seconds")));
                    }
                }
            }
        })
    }
}

/// What an error of hf-hub's means to a user.
#[expect(clippy::wildcard_enum_match_arm, reason = "hf-hub keeps its list of errors open")]
fn told(what: &str, error: &HFError) -> PullError {
    let what = what.to_owned();
    let status = match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context } => context.status.as_u16(),
        HFError::RepoNotFound { .. }
        | HFError::RevisionNotFound { .. }
        | HFError::EntryNotFound { .. } => 404,
        _ => 0,
    };
    match status {
        401 | 403 => PullError::Denied { what, status },
        404 => PullError::NotFound(what),
        _ => PullError::Failed { what, problem: error.to_string() },
    }
}
