//! The known offers: for each wish, the results of the last search on each marketplace.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use spoor_proto::spoor::{
    marketplace::v1::Offer,
    offers::v1::{Found, Missing, MissingMarketplace, watch_reply::News},
};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{WishName, wishlist::MAX_WISHES};

/// The most offers in total. Further ones are not kept.
const MAX_OFFERS: usize = 2000;
/// The most events that a reader can lag behind.
const MAX_LAG: usize = 256;
/// The number of rounds that link to the request which added a wish.
const LINKED_ROUNDS: u32 = 3;

/// The wishes and their offers. They are in memory only, and searched for again after a restart.
#[derive(Debug)]
pub(super) struct Known {
    inner: Mutex<Inner>,
    news: broadcast::Sender<News>,
}

#[derive(Debug, Default)]
struct Inner {
    wishes: HashMap<Uuid, Wish>,
    /// Wishes that were let go since all of them were asked for: the answer may still have them.
    forgotten: HashSet<Uuid>,
    missing: BTreeMap<String, MissingMarketplace>,
    count: usize,
}

#[derive(Debug)]
struct Wish {
    what: WishName,
    cause: Option<Cause>,
    looked: Option<Instant>,
    offers: Vec<Found>,
}

/// The request that a wish came with.
#[derive(Debug)]
struct Cause {
    context: SpanContext,
    rounds_left: u32,
}

/// A wish to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: Uuid,
    pub(super) what: WishName,
}

/// The searches of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) wanted: Vec<Wanted>,
    /// The requests that these wishes came with, while they are new.
    pub(super) causes: Vec<SpanContext>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            news: broadcast::channel(MAX_LAG).0,
        }
    }

    /// A wish was made, by the request of this span. It is `looked` for then; at none, it is the
    /// next round's first.
    pub(super) fn wished(&self, wanted: &Wanted, cause: SpanContext, looked: Option<Instant>) {
        let mut inner = self.inner.lock();
        inner.add(wanted);
        if let Some(wish) = inner.wishes.get_mut(&wanted.id) {
            wish.looked = looked.or(wish.looked);
            wish.cause = cause.is_valid().then_some(Cause {
                context: cause,
                rounds_left: LINKED_ROUNDS,
            });
        }
    }

    /// Removes a wish.
    pub(super) fn forget(&self, id: Uuid) {
        let mut inner = self.inner.lock();
        inner.forget(id);
        inner.remember_forgotten(id);
    }

    /// The known wishes, before the wishes are listed. From now on, removed ones are remembered.
    pub(super) fn before_asking(&self) -> Vec<Uuid> {
        let mut inner = self.inner.lock();
        inner.forgotten.clear();
        inner.wishes.keys().copied().collect()
    }

    /// Takes over what is wished for now. Only what was known `before` the question can be gone:
    /// the answer may be older than a wish that was made meanwhile, or than one's end.
    pub(super) fn take_over(&self, before: &[Uuid], wishes: &[Wanted]) {
        let mut inner = self.inner.lock();
        let forgotten = std::mem::take(&mut inner.forgotten);
        for id in before {
            if !wishes.iter().any(|wish| wish.id == *id) {
                inner.forget(*id);
            }
        }
        for wish in wishes {
            if !forgotten.contains(&wish.id) {
                inner.add(wish);
            }
        }
    }

    /// The wishes that nobody has looked for longest, at most so many, as looked for now.
    pub(super) fn next_round(&self, most: usize) -> Round {
        let mut inner = self.inner.lock();
        let mut by_age: Vec<_> = inner.wishes.iter_mut().collect();
        by_age.sort_unstable_by_key(|(_, wish)| wish.looked);
        let mut round = Round::default();
        for (id, wish) in by_age.into_iter().take(most) {
            wish.looked = Some(Instant::now());
            round.causes.extend(wish.take_cause());
            round.wanted.push(Wanted {
                id: *id,
                what: wish.what.clone(),
            });
        }
        round
    }

    /// Records the offers of a marketplace for a wish, and returns the number of new ones.
    pub(super) fn answered(&self, id: Uuid, marketplace: &str, offers: Vec<Offer>) -> usize {
        let mut inner = self.inner.lock();
        if inner.missing.remove(marketplace).is_some() {
            tracing::info!(
                marketplace.name = marketplace,
                "marketplace available again"
            );
            self.send(News::Missing(inner.missing()));
        }
        let new = inner.replace(id, marketplace, offers);
        let count = new.len();
        for found in new {
            self.send(News::Offer(found));
        }
        count
    }

    /// Records that a marketplace did not respond.
    pub(super) fn unanswered(&self, marketplace: &str, why: String) {
        let mut inner = self.inner.lock();
        if let Some(missing) = inner.missing.get_mut(marketplace) {
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
        let offers = inner.wishes.values().flat_map(|wish| &wish.offers);
        (offers.cloned().collect(), inner.missing())
    }

    /// Subscribes to events from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// The number of offers.
    pub(super) fn count(&self) -> usize {
        self.inner.lock().count
    }

    fn send(&self, news: News) {
        // Sending fails if there are no readers.
        let _ = self.news.send(news);
    }
}

impl Inner {
    fn add(&mut self, wanted: &Wanted) {
        if self.wishes.contains_key(&wanted.id) || is_full(self.wishes.len()) {
            return;
        }
        let wish = Wish {
            what: wanted.what.clone(),
            cause: None,
            looked: None,
            offers: Vec::new(),
        };
        self.wishes.insert(wanted.id, wish);
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(wish) = self.wishes.remove(&id) {
            self.count -= wish.offers.len();
        }
    }

    /// Beyond the bound it is not: then a wish that is gone comes back for one round.
    fn remember_forgotten(&mut self, id: Uuid) {
        if !is_full(self.forgotten.len()) {
            self.forgotten.insert(id);
        }
    }

    /// Puts a marketplace's answer in the place of its last one; what is new of it.
    fn replace(&mut self, id: Uuid, marketplace: &str, offers: Vec<Offer>) -> Vec<Found> {
        let Some(wish) = self.wishes.get_mut(&id) else {
            return Vec::new();
        };
        let (mut before, others): (Vec<Found>, Vec<Found>) = wish
            .offers
            .drain(..)
            .partition(|found| found.marketplace == marketplace);
        self.count -= before.len();
        wish.offers = others;
        let mut new = Vec::new();
        for offer in offers {
            let known = before.iter().position(|found| is(found, &offer.id));
            let found = match known {
                Some(at) => Found {
                    offer: Some(offer),
                    ..before.swap_remove(at)
                },
                None if self.count < MAX_OFFERS && !wish.has(marketplace, &offer.id) => {
                    let found = Found {
                        wish_id: id.to_string(),
                        marketplace: marketplace.to_owned(),
                        offer: Some(offer),
                        found_unix_millis: now(),
                    };
                    new.push(found.clone());
                    found
                }
                None => continue,
            };
            self.count += 1;
            wish.offers.push(found);
        }
        new
    }

    fn missing(&self) -> Missing {
        Missing {
            marketplaces: self.missing.values().cloned().collect(),
        }
    }
}

impl Wish {
    fn take_cause(&mut self) -> Option<SpanContext> {
        let cause = self.cause.as_mut()?;
        cause.rounds_left -= 1;
        let context = cause.context.clone();
        if cause.rounds_left == 0 {
            self.cause = None;
        }
        Some(context)
    }

    fn has(&self, marketplace: &str, id: &str) -> bool {
        let mut of_it = self.offers.iter();
        of_it.any(|found| found.marketplace == marketplace && is(found, id))
    }
}

/// True if the number has reached the maximum number of wishes.
fn is_full(count: usize) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= MAX_WISHES)
}

fn is(found: &Found, id: &str) -> bool {
    found.offer.as_ref().is_some_and(|offer| offer.id == id)
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    fn wanted(id: u128) -> Wanted {
        Wanted {
            id: Uuid::from_u128(id),
            what: WishName::new("a bike").unwrap(),
        }
    }

    fn offer(id: &str, price_hundredths: i64) -> Offer {
        Offer {
            id: id.to_owned(),
            title: "a bike".to_owned(),
            price_hundredths,
            currency: "EUR".to_owned(),
            seller: "Ada".to_owned(),
        }
    }

    fn span() -> SpanContext {
        let (trace, span) = (TraceId::from(7), SpanId::from(7));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE)
    }

    fn wish_ids(known: &Known) -> Vec<Uuid> {
        let mut ids: Vec<_> = known.inner.lock().wishes.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn ids(known: &Known) -> Vec<String> {
        let offers = known.list().0.into_iter();
        let mut ids: Vec<_> = offers.map(|found| found.offer.unwrap().id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn an_answer_takes_the_place_of_the_last_and_only_what_is_new_is_news() {
        let known = Known::new();
        let bike = wanted(1);
        known.wished(&bike, SpanContext::NONE, None);
        let mut news = known.watch();
        let answer = |offers| known.answered(bike.id, "attic", offers);
        assert_eq!(answer(vec![offer("a", 1), offer("b", 2)]), 2);
        assert_eq!(answer(vec![offer("b", 3), offer("c", 4), offer("c", 5)]), 1);
        assert_eq!(known.answered(bike.id, "corner", vec![offer("b", 1)]), 1);
        assert_eq!(ids(&known), ["b", "b", "c"]);
        assert_eq!(known.count(), 3);
        let mut found = Vec::new();
        while let Ok(News::Offer(offer)) = news.try_recv() {
            found.push((offer.marketplace, offer.offer.unwrap().id));
        }
        let found: Vec<_> = found
            .iter()
            .map(|(at, id)| (at.as_str(), id.as_str()))
            .collect();
        let expected = [
            ("attic", "a"),
            ("attic", "b"),
            ("attic", "c"),
            ("corner", "b"),
        ];
        assert_eq!(found, expected);
        known.forget(bike.id);
        assert_eq!((known.count(), answer(vec![offer("a", 1)])), (0, 0));
    }

    #[test]
    fn a_wish_made_while_the_wishlist_was_asked_stays() {
        let known = Known::new();
        known.wished(&wanted(1), SpanContext::NONE, None);
        let before = known.before_asking();
        known.wished(&wanted(2), SpanContext::NONE, None);
        known.take_over(&before, &[wanted(3)]);
        assert_eq!(wish_ids(&known), [wanted(2).id, wanted(3).id]);
    }

    #[test]
    fn a_wish_deleted_while_the_wishlist_was_asked_does_not_come_back() {
        let known = Known::new();
        let all = [wanted(1), wanted(2), wanted(3)];
        known.wished(&wanted(1), SpanContext::NONE, None);
        let before = known.before_asking();
        known.forget(wanted(1).id);
        // Nobody had told of this one.
        known.forget(wanted(2).id);
        known.take_over(&before, &all);
        assert_eq!(wish_ids(&known), [wanted(3).id]);
        assert!(known.inner.lock().forgotten.is_empty());
    }

    #[test]
    fn what_was_forgotten_before_the_wishlist_was_asked_is_not_remembered() {
        let known = Known::new();
        for id in 0..2000 {
            known.forget(wanted(id).id);
        }
        let remembered = known.inner.lock().forgotten.len();
        assert_eq!(i64::try_from(remembered).unwrap(), MAX_WISHES);
        let before = known.before_asking();
        known.take_over(&before, &[wanted(1)]);
        assert_eq!(wish_ids(&known), [wanted(1).id]);
    }

    #[test]
    fn a_wish_that_nobody_looked_for_is_the_next_rounds_first() {
        let known = Known::new();
        known.wished(&wanted(1), SpanContext::NONE, Some(Instant::now()));
        known.wished(&wanted(2), SpanContext::NONE, None);
        assert_eq!(known.next_round(1).wanted, [wanted(2)]);
        assert_eq!(known.next_round(1).wanted, [wanted(1)]);
    }

    #[test]
    fn each_wish_has_its_turn() {
        let known = Known::new();
        let all: Vec<_> = (0..10).map(wanted).collect();
        known.take_over(&[], &all);
        let mut turns: Vec<_> = (0..5).flat_map(|_| known.next_round(2).wanted).collect();
        turns.sort_unstable_by_key(|wanted| wanted.id);
        assert_eq!(turns, all);
    }

    #[test]
    fn the_first_rounds_are_linked_to_the_request() {
        let known = Known::new();
        known.wished(&wanted(1), span(), None);
        for _ in 0..LINKED_ROUNDS {
            assert_eq!(known.next_round(9).causes, [span()]);
        }
        let later = known.next_round(9);
        assert_eq!((later.wanted.len(), later.causes.len()), (1, 0));
    }

    #[test]
    fn who_is_missing_is_told_once_until_it_is_back() {
        let known = Known::new();
        let mut news = known.watch();
        known.unanswered("attic", "first".to_owned());
        known.unanswered("attic", "second".to_owned());
        assert_eq!(known.list().1.marketplaces[0].why, "second");
        known.answered(Uuid::nil(), "attic", vec![]);
        let told = [news.try_recv(), news.try_recv()].map(|news| match news.unwrap() {
            News::Missing(missing) => missing.marketplaces.len(),
            News::Offer(offer) => panic!("{offer:?}"),
        });
        assert_eq!(told, [1, 0]);
        assert!(news.try_recv().is_err());
    }

    #[test]
    fn it_is_bounded() {
        let known = Known::new();
        let all: Vec<_> = (0..2000).map(wanted).collect();
        known.take_over(&[], &all);
        assert_eq!(i64::try_from(wish_ids(&known).len()).unwrap(), MAX_WISHES);
        for wish in &all {
            let offers = (0..5).map(|id| offer(&id.to_string(), 1)).collect();
            known.answered(wish.id, "attic", offers);
        }
        assert_eq!(known.count(), MAX_OFFERS);
    }
}
