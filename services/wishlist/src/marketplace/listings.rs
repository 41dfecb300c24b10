//! The offers of a marketplace, which are made up. The same search finds the same offers, and sometimes
//! a new one.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use spoor_proto::spoor::marketplace::v1::Offer;

use crate::WishName;

/// The time for which a new offer exists.
const FRESH_DURATION: Duration = Duration::from_secs(120);

const CONDITIONS: [&str; 8] = [
    "as good as new",
    "hardly used",
    "in its original box",
    "some scratches",
    "from a collection",
    "for tinkerers",
    "an unwanted gift",
    "well kept",
];
const SELLERS: [&str; 8] = [
    "Ada's barn",
    "Bo & daughters",
    "Corner shop",
    "Dusty shelf",
    "Eli",
    "Frida's finds",
    "Grandpa Joe",
    "Second spring",
];

/// The offers for a wish at a time since the epoch: one or two that stay, and sometimes a new one.
pub(super) fn of(marketplace: &str, query: &WishName, since_epoch: Duration) -> Vec<Offer> {
    let staying = 1 + hashed(&(marketplace, query.as_str())) % 2;
    let window = since_epoch.as_secs() / FRESH_DURATION.as_secs();
    let fresh = hashed(&(marketplace, query.as_str(), "window", window));
    // In a third of the windows, so that rounds of searches find something new now and then.
    let fresh = fresh.is_multiple_of(3).then_some(fresh);
    (0..staying)
        .chain(fresh)
        .map(|number| offer(marketplace, query, number))
        .collect()
}

fn offer(marketplace: &str, query: &WishName, number: u64) -> Offer {
    let seed = hashed(&(marketplace, query.as_str(), number));
    Offer {
        id: format!("{seed:016x}"),
        title: format!("{query}, {}", picked(&CONDITIONS, seed)),
        price_hundredths: price(query, seed),
        currency: "EUR".to_owned(),
        // Other bits for each property, so that they vary independently.
        seller: picked(&SELLERS, seed >> 8).to_owned(),
    }
}

/// The price, which deviates from the usual one for this wish by up to a third.
fn price(query: &WishName, seed: u64) -> i64 {
    let usual = 500 + hashed(&query.as_str()) % 40_000;
    let price = usual * (67 + (seed >> 16) % 67) / 100;
    i64::try_from(price).unwrap_or(i64::MAX)
}

fn picked(from: &[&'static str; 8], seed: u64) -> &'static str {
    from[(seed % 8) as usize]
}

/// A hash that is the same in every process, since this hasher has no random key.
fn hashed(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn same_search_finds_the_same_offers() {
        let bike = WishName::new("a bike").unwrap();
        let now = Duration::from_secs(1_000_000);
        let attic = of("attic", &bike, now);
        assert_eq!(attic, of("attic", &bike, now));
        assert!((1..=3).contains(&attic.len()));
        let bazaar = of("bazaar", &bike, now);
        assert!(attic.iter().all(|offer| !bazaar.contains(offer)));
        for offer in attic.iter().chain(&bazaar) {
            assert!(offer.title.starts_with("a bike, ") && offer.price_hundredths > 0);
        }
    }

    #[test]
    fn new_offers_appear_over_time() {
        let bike = WishName::new("a bike").unwrap();
        let at = |window: u32| of("attic", &bike, FRESH_DURATION * window);
        let ids: std::collections::BTreeSet<String> =
            (0..30).flat_map(at).map(|offer| offer.id).collect();
        assert!((4..=25).contains(&ids.len()), "{}", ids.len());
    }
}
