//! The store of wishes and their offers: for each wish, the results of the last successful search on
//! each marketplace.

#[cfg(test)]
mod tests;
mod wishes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use spoor_proto::spoor::{
    marketplace::v1::Offer,
    offers::v1::{Found, Missing, MissingMarketplace, watch_reply::Update},
};
use tokio::sync::broadcast;
use uuid::Uuid;

pub(crate) use wishes::MAX_OFFERS;
pub(super) use wishes::{Wish, Wishes};

/// The most updates by which a reader can lag behind.
const MAX_LAG_UPDATES: usize = 256;

/// The wishes and their offers. They are in memory only, and searched for again after a restart.
#[derive(Debug)]
pub(super) struct OfferStore {
    // Updates are sent while this is locked, so that readers receive them in the order of the changes.
    inner: Mutex<Inner>,
    updates: broadcast::Sender<Update>,
}

#[derive(Debug, Default)]
struct Inner {
    wishes: Wishes,
    missing: BTreeMap<String, MissingMarketplace>,
}

impl OfferStore {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            updates: broadcast::channel(MAX_LAG_UPDATES).0,
        }
    }

    /// The wishes, which no other task can access while the result is held.
    pub(super) fn wishes(&self) -> MappedMutexGuard<'_, Wishes> {
        MutexGuard::map(self.inner.lock(), |inner| &mut inner.wishes)
    }

    /// Records the offers of a marketplace for a wish, and returns the number of new ones.
    pub(super) fn record_offers(&self, id: Uuid, marketplace: &str, offers: Vec<Offer>) -> usize {
        let mut inner = self.inner.lock();
        if inner.missing.remove(marketplace).is_some() {
            tracing::info!(
                marketplace.name = marketplace,
                "marketplace available again"
            );
            self.send(Update::Missing(inner.missing()));
        }
        let new = inner.wishes.replace_offers(id, marketplace, offers);
        let count = new.len();
        for found in new {
            self.send(Update::Offer(found));
        }
        count
    }

    /// Records that a search on a marketplace failed.
    pub(super) fn record_failure(&self, marketplace: &str, why: String) {
        let mut inner = self.inner.lock();
        if let Some(missing) = inner.missing.get_mut(marketplace) {
            // Without an update: each failed search would send one, and pages list the latest reason.
            missing.why = why;
            return;
        }
        tracing::warn!(
            marketplace.name = marketplace,
            reason = why,
            "marketplace unavailable"
        );
        let missing = MissingMarketplace {
            name: marketplace.to_owned(),
            why,
            since_unix_millis: Timestamp::now().as_millisecond(),
        };
        inner.missing.insert(marketplace.to_owned(), missing);
        self.send(Update::Missing(inner.missing()));
    }

    /// All offers, and the marketplaces whose last search failed.
    pub(super) fn list(&self) -> (Vec<Found>, Missing) {
        let inner = self.inner.lock();
        (inner.wishes.offers().cloned().collect(), inner.missing())
    }

    /// Subscribes to updates from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Update> {
        self.updates.subscribe()
    }

    fn send(&self, update: Update) {
        // Sending fails if there are no readers.
        let _ = self.updates.send(update);
    }
}

impl Inner {
    fn missing(&self) -> Missing {
        Missing {
            marketplaces: self.missing.values().cloned().collect(),
        }
    }
}
