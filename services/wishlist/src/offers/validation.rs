//! Validation of offers, since a marketplace may send anything.

use spoor_proto::spoor::marketplace::v1::Offer;

/// The most offers of one marketplace for one wish.
const MAX_OFFERS_PER_SEARCH: usize = 5;

/// The valid offers, up to the limit.
pub(super) fn valid(offers: Vec<Offer>) -> Vec<Offer> {
    let valid = offers.into_iter().filter(is_valid);
    valid.take(MAX_OFFERS_PER_SEARCH).collect()
}

fn is_valid(offer: &Offer) -> bool {
    is_text(&offer.id, 100)
        // A title repeats the name of the wish: up to 200 characters of 4 bytes.
        && is_text(&offer.title, 1000)
        && is_text(&offer.seller, 400)
        && is_currency(&offer.currency)
        // Exact as a number in JavaScript, which sorts by price.
        && (0..=1_000_000_000_000).contains(&offer.price_hundredths)
}

fn is_text(text: &str, max_bytes: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max_bytes && !text.contains(char::is_control)
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            id: "1".into(),
            title: "a bike".into(),
            price_hundredths: 100,
            currency: "EUR".into(),
            seller: "Ada".into(),
        }
    }

    #[rstest::rstest]
    #[case(Offer { id: String::new(), ..offer() })]
    #[case(Offer { id: "x".repeat(101), ..offer() })]
    #[case(Offer { title: " ".into(), ..offer() })]
    #[case(Offer { title: "a\nb".into(), ..offer() })]
    #[case(Offer { title: "x".repeat(1_000_000), ..offer() })]
    #[case(Offer { seller: "x".repeat(401), ..offer() })]
    #[case(Offer { currency: "<b>".into(), ..offer() })]
    #[case(Offer { price_hundredths: -1, ..offer() })]
    #[case(Offer { price_hundredths: i64::MAX, ..offer() })]
    fn invalid_offers_are_left_out(#[case] invalid: Offer) {
        assert_eq!(valid(vec![invalid, offer()]), [offer()]);
    }

    #[test]
    fn excess_offers_are_left_out() {
        assert_eq!(valid(vec![offer(); 100]).len(), MAX_OFFERS_PER_SEARCH);
    }
}
