use std::net::SocketAddr;

use opentelemetry::trace::{SpanId, SpanKind, TraceState};
use opentelemetry_sdk::trace::SpanData;
use spoor_testing::only_span;

use crate::pair::{CAPTURED, band_path, bands, get_with, ok, reviews};

const ATTACKERS_TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const FORCED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// The spans of one request: bands, its two calls, and reviews twice.
async fn trace(bands: SocketAddr, headers: &[(&str, &str)]) -> (String, Vec<SpanData>) {
    let (_, id) = ok(get_with(bands, &band_path(), headers).await).await;
    let spans = CAPTURED.spans.trace(&id, 5).await;
    assert_eq!(spans.len(), 5, "{spans:#?}");
    (id, spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_context_is_propagated_over_http() {
    let reviews = reviews().await;
    let bands = bands(reviews.address, &[]).await;
    let (_, spans) = trace(bands.address, &[]).await;
    let edge = only_span(&spans, "GET /bands/{uuid}", &SpanKind::Server);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    let of = |kind: SpanKind| spans.iter().filter(move |span| span.span_kind == kind);
    let calls: Vec<_> = of(SpanKind::Client).collect();
    assert!(
        calls
            .iter()
            .all(|call| call.parent_span_id == edge.span_context.span_id())
    );
    let servers = of(SpanKind::Server).filter(|span| span.name == "GET /reviews/{uuid}");
    let parents: Vec<_> = servers.map(|server| server.parent_span_id).collect();
    assert_eq!(parents.len(), 2);
    for call in calls {
        assert!(parents.contains(&call.span_context.span_id()), "{spans:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_context_is_only_a_link() {
    let reviews = reviews().await;
    let bands = bands(reviews.address, &[]).await;
    for context in [FORCED, UNSAMPLED] {
        let headers = [
            ("traceparent", context),
            ("tracestate", "evil=1,ot=rv:ffffffffffffff"),
            ("baggage", "role=admin"),
        ];
        let (id, spans) = trace(bands.address, &headers).await;
        assert_ne!(id, ATTACKERS_TRACE_ID);
        let edge = only_span(&spans, "GET /bands/{uuid}", &SpanKind::Server);
        let links: Vec<_> = edge.links.iter().collect();
        assert_eq!(links.len(), 1);
        assert_eq!(
            links[0].span_context.trace_id().to_string(),
            ATTACKERS_TRACE_ID
        );
        for span in &spans {
            assert!(!span.span_context.trace_state().header().contains("evil"));
        }
        assert_eq!(*links[0].span_context.trace_state(), TraceState::NONE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_trusts_every_callers_context() {
    let reviews = reviews().await;
    let path = format!("/reviews/{}", spoor_bands::reviews::ids().next().unwrap());
    let response = get_with(reviews.address, &path, &[("traceparent", FORCED)]).await;
    assert_eq!(ok(response).await.1, ATTACKERS_TRACE_ID);
}
