//! The store of wishes and their offers: for each wish, the results of the last search on each
//! marketplace.

#[cfg(test)]
mod tests;
mod wishes;

use std::{collections::BTreeMap, time::Instant};

use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use spoor_proto::spoor::{
    marketplace::v1::Offer,
    offers::v1::{Found, Missing, MissingMarketplace, watch_reply::News},
};
use tokio::sync::broadcast;
use uuid::Uuid;

use wishes::{Wishes, now};

pub(super) use wishes::{Round, Wish};

/// The most updates that a reader can lag behind.
const MAX_LAG: usize = 256;

/// The wishes and their offers. They are in memory only, and searched for again after a restart.
#[derive(Debug)]
pub(super) struct OfferStore {
    // Updates are sent while this is locked, so that readers receive them in the order of the changes.
    inner: Mutex<Inner>,
    updates: broadcast::Sender<News>,
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
            updates: broadcast::channel(MAX_LAG).0,
        }
    }

    /// Adds a wish that the request of this span made. If `searched` is `None`, the wish is the next
    /// round's first.
    pub(super) fn add(&self, wish: &Wish, request: SpanContext, searched: Option<Instant>) {
        self.inner.lock().wishes.add_linked(wish, request, searched);
    }

    /// Removes a wish.
    pub(super) fn remove(&self, id: Uuid) {
        self.inner.lock().wishes.remove(id);
    }

    /// Starts a synchronization with wishlist and returns the known wishes. Wishes that are removed
    /// from now on are not added again by [`OfferStore::finish_sync`].
    pub(super) fn begin_sync(&self) -> Vec<Uuid> {
        self.inner.lock().wishes.begin_sync()
    }

    /// Adds the wishes that are new in wishlist's response, and removes those that were known `before`
    /// the request and are not in it.
    pub(super) fn finish_sync(&self, before: &[Uuid], wishes: &[Wish]) {
        self.inner.lock().wishes.finish_sync(before, wishes);
    }

    /// The wishes whose last search is the longest ago, up to a number, which are marked as searched.
    pub(super) fn next_round(&self, max: usize) -> Round {
        self.inner.lock().wishes.next_round(max)
    }

    /// Records the offers of a marketplace for a wish, and returns the number of new ones.
    pub(super) fn record_offers(&self, id: Uuid, marketplace: &str, offers: Vec<Offer>) -> usize {
        let mut inner = self.inner.lock();
        if inner.missing.remove(marketplace).is_some() {
            tracing::info!(
                marketplace.name = marketplace,
                "marketplace available again"
            );
            self.send(News::Missing(inner.missing()));
        }
        let new = inner.wishes.replace_offers(id, marketplace, offers);
        let count = new.len();
        for found in new {
            self.send(News::Offer(found));
        }
        count
    }

    /// Records that a marketplace did not respond.
    pub(super) fn record_failure(&self, marketplace: &str, why: String) {
        let mut inner = self.inner.lock();
        if let Some(missing) = inner.missing.get_mut(marketplace) {
            // Without an update: each failed search would send one, and pages list the latest reason.
            missing.why = why;
            return;
        }
        tracing::warn!(
            marketplace.name = marketplace,
            why,
            "marketplace unavailable"
        );
        let missing = MissingMarketplace {
            name: marketplace.to_owned(),
            why,
            since_unix_millis: now(),
        };
        inner.missing.insert(marketplace.to_owned(), missing);
        self.send(News::Missing(inner.missing()));
    }

    /// All offers, and the marketplaces that did not respond.
    pub(super) fn list(&self) -> (Vec<Found>, Missing) {
        let inner = self.inner.lock();
        (inner.wishes.offers().cloned().collect(), inner.missing())
    }

    /// Subscribes to updates from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<News> {
        self.updates.subscribe()
    }

    /// The number of offers.
    pub(super) fn offer_count(&self) -> usize {
        self.inner.lock().wishes.offer_count()
    }

    fn send(&self, update: News) {
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
