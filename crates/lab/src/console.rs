//! The lab as the console shows and changes it.

#[cfg(test)]
mod tests;
mod traces;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison, Document},
};
use spoor_console::{
    Backend, BackendError, FoundTraces, Source, SourceKind, TraceSpans, lessons::Lessons,
};
use spoor_control::Control;
use spoor_policy::PolicyKey;
use spoor_traces::{Search, TraceId, figures::ServiceFigures, query::Queries};
use tokio::sync::watch;

use crate::{
    admin::{Permits, blocking},
    policies::{PolicyStore, PolicyStoreError},
    wire::{Documents, MAX_FILE_BYTES},
};
use traces::LabTraces;

/// A lab, for the console.
pub(crate) struct LabBackend {
    source: Source,
    policies: PolicyStore,
    control: Control,
    /// Those of the lab's API, since all operations need the same lock.
    permits: Permits,
    traces: LabTraces,
    lessons: Option<Arc<dyn Lessons>>,
}

impl LabBackend {
    /// The lab whose API has this address.
    pub(crate) fn new(
        url: &str,
        policies: PolicyStore,
        control: Control,
        permits: Permits,
        queries: Queries,
        lessons: Option<Arc<dyn Lessons>>,
    ) -> Self {
        Self {
            source: Source {
                kind: SourceKind::Lab,
                name: url.to_owned(),
                namespace: None,
            },
            policies,
            control,
            permits,
            traces: LabTraces::new(queries),
            lessons,
        }
    }

    /// Runs an operation of the store on a thread that may block, once it has a permit.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&PolicyStore) -> Result<T, PolicyStoreError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let store = self.policies.clone();
        let done = blocking(&self.permits.operations, move || operation(&store)).await;
        let result = done.map_err(|problem| BackendError::Reach(problem.detail))?;
        result.map_err(BackendError::from)
    }
}

#[async_trait]
impl Backend for LabBackend {
    fn source(&self) -> &Source {
        &self.source
    }

    fn policy_changes(&self) -> watch::Receiver<u64> {
        // Every change of policies is a publication: one that is sent, that of the folder, an expiry.
        self.control.changed()
    }

    async fn policies(&self) -> Result<Vec<SamplingPolicy>, BackendError> {
        self.run(|store| Ok(store.list(None))).await
    }

    async fn policy(&self, key: &PolicyKey) -> Result<SamplingPolicy, BackendError> {
        let key = key.clone();
        self.run(move |store| store.get(&key)).await
    }

    async fn diff(&self, document: Document) -> Result<Comparison, BackendError> {
        let documents = documents(document)?;
        self.run(move |store| store.diff(&documents)).await
    }

    async fn apply(&self, document: Document) -> Result<Vec<Change>, BackendError> {
        let documents = documents(document)?;
        let applied = self.run(move |store| store.apply(&documents)).await?;
        Ok(applied.policies)
    }

    async fn delete(&self, key: &PolicyKey) -> Result<Change, BackendError> {
        let key = key.clone();
        self.run(move |store| store.delete(&key)).await
    }

    async fn services(&self) -> Result<Vec<String>, BackendError> {
        self.traces.services().await
    }

    async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError> {
        self.traces.operations(service).await
    }

    async fn find_traces(&self, search: Search) -> Result<FoundTraces, BackendError> {
        self.traces.find(search).await
    }

    async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        self.traces.trace(id).await
    }

    async fn figures(&self, window: Duration) -> Result<ServiceFigures, BackendError> {
        self.traces.figures(window).await
    }

    fn lessons(&self) -> Option<&dyn Lessons> {
        self.lessons.as_deref()
    }
}

/// The document, which must not be larger than a file that the lab's API accepts.
fn documents(document: Document) -> Result<Documents, BackendError> {
    if document.text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("send at most {} MiB at once", MAX_FILE_BYTES >> 20);
        return Err(BackendError::TooLarge(message));
    }
    Ok(Documents {
        documents: vec![document],
    })
}

impl From<PolicyStoreError> for BackendError {
    fn from(error: PolicyStoreError) -> Self {
        match error {
            PolicyStoreError::Validate(errors) => Self::Validate(errors),
            PolicyStoreError::Find { .. } => Self::Find(error.to_string()),
            PolicyStoreError::DeleteFromFolder { .. } => Self::Refuse(error.to_string()),
            PolicyStoreError::Save(_) => Self::Reach(spoor_runtime::with_causes(&error)),
        }
    }
}
