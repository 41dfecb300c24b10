//! A model that is loaded when it is first asked.

use std::sync::Arc;

use tokio::{sync::OnceCell, task};
use tracing::{Instrument, info_span};

use super::{
    facts::Facts,
    file::Source,
    network::{LoadError, Network},
};

/// A model, loaded or not yet.
#[derive(Clone)]
pub(super) struct Cold(Arc<Inner>);

struct Inner {
    source: Source,
    facts: Facts,
    network: OnceCell<Arc<Network>>,
}

/// Why there is no model yet.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// It can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The thread that loaded it is gone.
    #[error("the loading did not come to an end")]
    Lost(#[from] task::JoinError),
}

impl Cold {
    pub(super) fn new(source: Source, facts: Facts) -> Self {
        Self(Arc::new(Inner {
            source,
            facts,
            network: OnceCell::new(),
        }))
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The loaded model. Whoever has to wait for it has a span that says so.
    pub(super) async fn warm(&self) -> Result<Arc<Network>, WarmError> {
        if let Some(network) = self.0.network.get() {
            return Ok(Arc::clone(network));
        }
        let span = info_span!(
            "load model",
            model.source = self.0.source.name(),
            model.cold = true
        );
        self.load().instrument(span).await
    }

    /// Once, however many wait; and to its end, even when none does any more.
    async fn load(&self) -> Result<Arc<Network>, WarmError> {
        let inner = Arc::clone(&self.0);
        task::spawn(async move {
            let network = inner.network.get_or_try_init(|| read(Arc::clone(&inner)));
            network.await.cloned()
        })
        .await?
    }
}

async fn read(inner: Arc<Inner>) -> Result<Arc<Network>, WarmError> {
    let load = move || Network::load(&inner.source, &inner.facts);
    Ok(Arc::new(task::spawn_blocking(load).await??))
}
