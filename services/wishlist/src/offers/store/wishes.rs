//! The table of wishes, bounded in wishes and offers.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use spoor_proto::spoor::{marketplace::v1::Offer, offers::v1::Found};
use uuid::Uuid;

use crate::{WishName, wishlist::MAX_WISHES};

/// The most offers in total, so that all fit in one gRPC message. Further ones are not kept.
pub(crate) const MAX_OFFERS: u16 = 2000;
/// The number of rounds that link to the request which added a wish.
pub(super) const LINKED_ROUNDS: u32 = 3;

/// A wish for which offers are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::offers) struct Wish {
    pub(in crate::offers) id: Uuid,
    pub(in crate::offers) name: WishName,
}

/// The searches of a round.
#[derive(Debug, Default)]
pub(in crate::offers) struct Round {
    pub(in crate::offers) wishes: Vec<Wish>,
    /// The requests that added these wishes, as long as the wishes are new.
    pub(in crate::offers) links: Vec<SpanContext>,
}

/// The table of wishes.
#[derive(Debug, Default)]
pub(in crate::offers) struct Wishes {
    pub(super) entries: HashMap<Uuid, Entry>,
    /// Wishes removed since the last synchronization began, which its response may still contain.
    pub(super) removed: HashSet<Uuid>,
    offer_count: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    name: WishName,
    request: Option<LinkedRequest>,
    searched: Option<Instant>,
    offers: Vec<Found>,
}

/// The request that added a wish.
#[derive(Debug)]
struct LinkedRequest {
    context: SpanContext,
    rounds_left: u32,
}

impl Wishes {
    /// Adds a wish with the span of the request that created it. If `searched` is `None`, a new wish
    /// is among the next round's first.
    pub(in crate::offers) fn add_linked(
        &mut self,
        wish: &Wish,
        request: SpanContext,
        searched: Option<Instant>,
    ) {
        self.add(wish);
        if let Some(entry) = self.entries.get_mut(&wish.id) {
            entry.searched = searched.or(entry.searched);
            entry.request = request.is_valid().then_some(LinkedRequest {
                context: request,
                rounds_left: LINKED_ROUNDS,
            });
        }
    }

    fn add(&mut self, wish: &Wish) {
        if self.entries.contains_key(&wish.id) || self.entries.len() >= usize::from(MAX_WISHES) {
            return;
        }
        let entry = Entry {
            name: wish.name.clone(),
            request: None,
            searched: None,
            offers: Vec::new(),
        };
        self.entries.insert(wish.id, entry);
    }

    pub(in crate::offers) fn remove(&mut self, id: Uuid) {
        self.remove_entry(id);
        // Beyond the bound, a removed wish may come back until the next synchronization.
        if self.removed.len() < usize::from(MAX_WISHES) {
            self.removed.insert(id);
        }
    }

    fn remove_entry(&mut self, id: Uuid) {
        if let Some(entry) = self.entries.remove(&id) {
            self.offer_count -= entry.offers.len();
        }
    }

    /// Starts a synchronization with wishlist and returns the known wishes. Wishes that are removed
    /// from now on are not added again by [`Wishes::finish_sync`].
    pub(in crate::offers) fn begin_sync(&mut self) -> Vec<Uuid> {
        self.removed.clear();
        self.entries.keys().copied().collect()
    }

    /// Adds the wishes that are new in wishlist's response, and removes those that were known `before`
    /// the request and are not in it.
    pub(in crate::offers) fn finish_sync(&mut self, before: &[Uuid], wishes: &[Wish]) {
        let removed = std::mem::take(&mut self.removed);
        // A wish that was added during the request may be missing from the response, and stays.
        for id in before {
            if !wishes.iter().any(|wish| wish.id == *id) {
                self.remove_entry(*id);
            }
        }
        for wish in wishes {
            if !removed.contains(&wish.id) {
                self.add(wish);
            }
        }
    }

    /// Returns up to `max` wishes, those searched least recently, and marks them as searched.
    pub(in crate::offers) fn next_round(&mut self, max: usize) -> Round {
        // `None` compares less than any time, so that wishes without a search come first.
        let mut by_age: Vec<_> = self.entries.iter_mut().collect();
        by_age.sort_unstable_by_key(|(_, entry)| entry.searched);
        let mut round = Round::default();
        for (id, entry) in by_age.into_iter().take(max) {
            entry.searched = Some(Instant::now());
            round.links.extend(entry.next_link());
            round.wishes.push(Wish {
                id: *id,
                name: entry.name.clone(),
            });
        }
        round
    }

    /// Replaces the offers of a marketplace for a wish, and returns those that are new.
    pub(super) fn replace_offers(
        &mut self,
        id: Uuid,
        marketplace: &str,
        offers: Vec<Offer>,
    ) -> Vec<Found> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Vec::new();
        };
        let (mut before, others): (Vec<Found>, Vec<Found>) = entry
            .offers
            .drain(..)
            .partition(|found| found.marketplace == marketplace);
        self.offer_count -= before.len();
        entry.offers = others;
        let mut new = Vec::new();
        for offer in offers {
            let known = before.iter().position(|found| has_id(found, &offer.id));
            let found = match known {
                // An offer that was found before keeps the time at which it was first found.
                Some(index) => Found {
                    offer: Some(offer),
                    ..before.swap_remove(index)
                },
                // A marketplace may repeat an ID in one response.
                None if self.offer_count < usize::from(MAX_OFFERS)
                    && !entry.has(marketplace, &offer.id) =>
                {
                    let found = Found {
                        wish_id: id.to_string(),
                        marketplace: marketplace.to_owned(),
                        offer: Some(offer),
                        found_unix_millis: Timestamp::now().as_millisecond(),
                    };
                    new.push(found.clone());
                    found
                }
                None => continue,
            };
            self.offer_count += 1;
            entry.offers.push(found);
        }
        new
    }

    pub(super) fn offers(&self) -> impl Iterator<Item = &Found> {
        self.entries.values().flat_map(|entry| &entry.offers)
    }

    pub(in crate::offers) fn offer_count(&self) -> usize {
        self.offer_count
    }
}

impl Entry {
    fn next_link(&mut self) -> Option<SpanContext> {
        let request = self.request.as_mut()?;
        request.rounds_left -= 1;
        let context = request.context.clone();
        if request.rounds_left == 0 {
            self.request = None;
        }
        Some(context)
    }

    fn has(&self, marketplace: &str, id: &str) -> bool {
        let mut offers = self.offers.iter();
        offers.any(|found| found.marketplace == marketplace && has_id(found, id))
    }
}

fn has_id(found: &Found, id: &str) -> bool {
    found.offer.as_ref().is_some_and(|offer| offer.id == id)
}
