//! The periodic rounds of searches.

use opentelemetry::trace::SpanId;
use serde_json::Value;
use spoor_proto::spoor::wishlist::v1::AddRequest;

use super::{Mesh, on};
use crate::spans::CAPTURED;

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_a_root_with_links_to_requests() {
    let mesh = Mesh::of(&[("attic", &[])], "100ms").await;
    let (_, id) = mesh.wish("a link").await;
    let request = CAPTURED.spans.trace(&id, 10).await;
    let rounds = CAPTURED.spans.linked_to(&id, 3).await;
    for round in &rounds {
        assert_eq!(round.name, "offers watch");
        assert_eq!(round.parent_span_id, SpanId::INVALID);
        assert_ne!(round.span_context.trace_id().to_string(), id);
        let linked = &round.links[0].span_context;
        let mut spans = request.iter();
        let cause = spans.find(|span| span.span_context.span_id() == linked.span_id());
        assert_eq!(cause.unwrap().name, "spoor.offers.v1.Offers/StartSearch");
    }
    let id = rounds[0].span_context.trace_id().to_string();
    // The root, List down to the statement, the search, the marketplace, and Search on both sides.
    let round = CAPTURED.spans.trace(&id, 8).await;
    let root = rounds[0].span_context.span_id();
    let mut below: Vec<_> = round
        .iter()
        .filter(|span| span.parent_span_id == root)
        .map(|span| span.name.as_ref())
        .collect();
    below.sort_unstable();
    assert_eq!(below, ["search offers", "spoor.wishlist.v1.Wishlist/List"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_find_added_and_drop_removed_wishes() {
    let mesh = Mesh::of(&[("attic", &[])], "100ms").await;
    let mut wishlist = mesh._wishlist.client().await;
    let request = AddRequest {
        name: "a secret".into(),
    };
    let wish = wishlist.add(request).await.unwrap().into_inner().id;
    let found = |listing: &Value| !on(listing, &wish, "attic").is_empty();
    mesh.listing("an offer", found).await;
    let request = spoor_proto::spoor::wishlist::v1::DeleteRequest { id: wish.clone() };
    wishlist.delete(request).await.unwrap();
    mesh.listing("none", |listing| !found(listing)).await;
}
