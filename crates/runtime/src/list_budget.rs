//! A limit on the lists that are being built, which take memory before a listener counts them.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{ConnectionTurn, Problem};

/// The longest wait for entries. Lists take milliseconds, so a longer wait would only collect
/// requests that cannot be served.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A limit on the total entries of the lists that are being built at the same time. Clones share
/// it.
///
/// A listener limits the responses that are built and not read. Before that, each request in
/// progress may hold a list while its handler awaits a database.
#[derive(Clone, Debug)]
pub struct ListBudget {
    free: Arc<Semaphore>,
    max_entries: u32,
}

/// The error for entries that did not become free within the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many long lists at once; try again in a moment")]
pub struct ListBudgetSpent;

impl ListBudget {
    /// Creates a budget of this many entries.
    #[must_use]
    pub fn new(max_entries: u16) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max_entries.into())),
            max_entries: max_entries.into(),
        }
    }

    /// Reserves entries until the permit is dropped. Drop it once the list is in the response. Only
    /// one request of each connection waits at a time.
    ///
    /// # Errors
    /// [`ListBudgetSpent`] after a second.
    pub async fn reserve(
        &self,
        connection: &ConnectionTurn,
        entries: u32,
    ) -> Result<OwnedSemaphorePermit, ListBudgetSpent> {
        // A list longer than the whole budget is built alone; otherwise it would always be refused.
        let entries = entries.min(self.max_entries);
        let reserving = async {
            // The requests of one connection could otherwise fill the queue.
            let _own = connection.take().await;
            Arc::clone(&self.free).acquire_many_owned(entries).await
        };
        let reserved = tokio::time::timeout(MAX_WAIT, reserving).await;
        // The semaphore is never closed, so only the wait can fail.
        reserved.ok().and_then(Result::ok).ok_or(ListBudgetSpent)
    }
}

impl From<ListBudgetSpent> for Problem {
    fn from(error: ListBudgetSpent) -> Self {
        tracing::warn!("{error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use std::{future::ready, pin::pin};

    use super::*;

    async fn reserve(
        budget: &ListBudget,
        entries: u32,
    ) -> Result<OwnedSemaphorePermit, ListBudgetSpent> {
        budget.reserve(&ConnectionTurn::default(), entries).await
    }

    #[tokio::test]
    async fn spent_budget_refuses() {
        let budget = ListBudget::new(3);
        let _reserved = reserve(&budget, 2).await.unwrap();
        assert!(reserve(&budget, 1).await.is_ok());
        let refused = reserve(&budget, 2).await.unwrap_err();
        assert_eq!(Problem::from(refused).status, 503);
    }

    #[tokio::test]
    async fn dropped_reservation_is_free_again() {
        let budget = ListBudget::new(1);
        drop(reserve(&budget, 1).await.unwrap());
        assert!(reserve(&budget, 1).await.is_ok());
    }

    #[tokio::test]
    async fn list_beyond_the_budget_is_built_alone() {
        let budget = ListBudget::new(3);
        let reserved = reserve(&budget, 4).await.unwrap();
        assert!(reserve(&budget, 1).await.is_err());
        drop(reserved);
        assert!(reserve(&budget, 1).await.is_ok());
    }

    #[tokio::test]
    async fn connections_take_turns() {
        let budget = ListBudget::new(1);
        let (busy, other) = (ConnectionTurn::default(), ConnectionTurn::default());
        let reserved = reserve(&budget, 1).await.unwrap();
        let mut first = pin!(budget.reserve(&busy, 1));
        let mut second = pin!(budget.reserve(&busy, 1));
        let mut third = pin!(budget.reserve(&other, 1));
        tokio::select! {
            biased;
            _ = &mut first => panic!("nothing is free"),
            _ = &mut second => panic!("nothing is free"),
            _ = &mut third => panic!("nothing is free"),
            () = ready(()) => {}
        }
        drop(reserved);
        drop(first.await.unwrap());
        tokio::select! {
            biased;
            _ = &mut second => panic!("the other connection waits longer"),
            reserved = &mut third => assert!(reserved.is_ok()),
        }
    }
}
