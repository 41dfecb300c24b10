#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::{
    wishes::{LINKED_ROUNDS, MAX_OFFERS},
    *,
};
use crate::{WishName, wishlist::MAX_WISHES};

fn wish(id: u128) -> Wish {
    Wish {
        id: Uuid::from_u128(id),
        name: WishName::new("a bike").unwrap(),
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

fn wish_ids(store: &OfferStore) -> Vec<Uuid> {
    let mut ids: Vec<_> = store.inner.lock().wishes.entries.keys().copied().collect();
    ids.sort_unstable();
    ids
}

fn ids(store: &OfferStore) -> Vec<String> {
    let offers = store.list().0.into_iter();
    let mut ids: Vec<_> = offers.map(|found| found.offer.unwrap().id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn only_new_offers_are_sent() {
    let store = OfferStore::new();
    let bike = wish(1);
    store.wishes().add_linked(&bike, SpanContext::NONE, None);
    let mut updates = store.watch();
    let record = |offers| store.record_offers(bike.id, "attic", offers);
    assert_eq!(record(vec![offer("a", 1), offer("b", 2)]), 2);
    assert_eq!(record(vec![offer("b", 3), offer("c", 4), offer("c", 5)]), 1);
    assert_eq!(
        store.record_offers(bike.id, "corner", vec![offer("b", 1)]),
        1
    );
    assert_eq!(ids(&store), ["b", "b", "c"]);
    assert_eq!(store.wishes().offer_count(), 3);
    let mut found = Vec::new();
    while let Ok(Update::Offer(offer)) = updates.try_recv() {
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
    store.wishes().remove(bike.id);
    assert_eq!(store.wishes().offer_count(), 0);
    assert_eq!(record(vec![offer("a", 1)]), 0);
}

#[test]
fn a_wish_added_during_a_sync_stays() {
    let store = OfferStore::new();
    store.wishes().add_linked(&wish(1), SpanContext::NONE, None);
    let before = store.wishes().begin_sync();
    store.wishes().add_linked(&wish(2), SpanContext::NONE, None);
    store.wishes().finish_sync(&before, &[wish(3)]);
    assert_eq!(wish_ids(&store), [wish(2).id, wish(3).id]);
}

#[test]
fn a_wish_removed_during_a_sync_stays_removed() {
    let store = OfferStore::new();
    let all = [wish(1), wish(2), wish(3)];
    store.wishes().add_linked(&wish(1), SpanContext::NONE, None);
    let before = store.wishes().begin_sync();
    store.wishes().remove(wish(1).id);
    // The store did not know this one.
    store.wishes().remove(wish(2).id);
    store.wishes().finish_sync(&before, &all);
    assert_eq!(wish_ids(&store), [wish(3).id]);
    assert!(store.inner.lock().wishes.removed.is_empty());
}

#[test]
fn removals_before_a_sync_are_forgotten() {
    let store = OfferStore::new();
    for id in 0..2000 {
        store.wishes().remove(wish(id).id);
    }
    let remembered = store.inner.lock().wishes.removed.len();
    assert_eq!(remembered, usize::from(MAX_WISHES));
    let before = store.wishes().begin_sync();
    store.wishes().finish_sync(&before, &[wish(1)]);
    assert_eq!(wish_ids(&store), [wish(1).id]);
}

#[test]
fn a_wish_without_search_is_first() {
    let store = OfferStore::new();
    store
        .wishes()
        .add_linked(&wish(1), SpanContext::NONE, Some(Instant::now()));
    store.wishes().add_linked(&wish(2), SpanContext::NONE, None);
    assert_eq!(store.wishes().next_round(1).wishes, [wish(2)]);
    assert_eq!(store.wishes().next_round(1).wishes, [wish(1)]);
}

#[test]
fn every_wish_has_its_turn() {
    let store = OfferStore::new();
    let all: Vec<_> = (0..10).map(wish).collect();
    store.wishes().finish_sync(&[], &all);
    let mut turns: Vec<_> = (0..5)
        .flat_map(|_| store.wishes().next_round(2).wishes)
        .collect();
    turns.sort_unstable_by_key(|wish| wish.id);
    assert_eq!(turns, all);
}

#[test]
fn the_first_rounds_are_linked_to_the_request() {
    let store = OfferStore::new();
    store.wishes().add_linked(&wish(1), span(), None);
    for _ in 0..LINKED_ROUNDS {
        assert_eq!(store.wishes().next_round(9).links, [span()]);
    }
    let later = store.wishes().next_round(9);
    assert_eq!((later.wishes.len(), later.links.len()), (1, 0));
}

#[test]
fn a_missing_marketplace_is_sent_once() {
    let store = OfferStore::new();
    let mut updates = store.watch();
    store.record_failure("attic", "first".to_owned());
    store.record_failure("attic", "second".to_owned());
    assert_eq!(store.list().1.marketplaces[0].why, "second");
    store.record_offers(Uuid::nil(), "attic", vec![]);
    let counts = [updates.try_recv(), updates.try_recv()].map(|update| match update.unwrap() {
        Update::Missing(missing) => missing.marketplaces.len(),
        Update::Offer(offer) => panic!("{offer:?}"),
    });
    assert_eq!(counts, [1, 0]);
    assert!(updates.try_recv().is_err());
}

#[test]
fn wishes_and_offers_are_bounded() {
    let store = OfferStore::new();
    let all: Vec<_> = (0..2000).map(wish).collect();
    store.wishes().finish_sync(&[], &all);
    assert_eq!(wish_ids(&store).len(), usize::from(MAX_WISHES));
    for wish in &all {
        let offers = (0..5).map(|id| offer(&id.to_string(), 1)).collect();
        store.record_offers(wish.id, "attic", offers);
    }
    assert_eq!(store.wishes().offer_count(), usize::from(MAX_OFFERS));
}
