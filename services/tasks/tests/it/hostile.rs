//! Malformed requests, none of which may cause a 5xx or stop the service.

use std::sync::LazyLock;

use proptest::prelude::*;
use reqwest::Method;
use tokio::runtime::Runtime;

use crate::running::{Tasks, read_json};

struct Target {
    runtime: Runtime,
    tasks: Tasks,
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let tasks = runtime.block_on(Tasks::in_process());
    Target { runtime, tasks }
});

/// The status of the response. A failure must be a problem document and not the service's fault.
fn sent(method: Method, path: &str, headers: &[(&str, Vec<u8>)], body: Vec<u8>) -> u16 {
    TARGET.runtime.block_on(async {
        let tasks = &TARGET.tasks;
        let mut request = tasks.client.request(method, tasks.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value.clone());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        assert!(status < 500, "{status}");
        if status >= 400 {
            read_json(response).await;
        }
        status
    })
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"2030-01-31T12:00:00Z\"".to_owned()),
        Just("[".repeat(200)),
        "[0-9.eE+-]{1,12}",
        "\"\\PC{0,300}\"",
    ];
    let field = prop_oneof!["title", "priority", "due", "id", "\\PC{0,8}"];
    let fields = prop::collection::vec((field, value), 0..5);
    fields.prop_map(|fields| {
        let fields = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
    })
}

/// The bytes that a header value may contain.
fn header() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8],
        0..200,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_body_gets_a_response(body in prop_oneof![json(), prop::collection::vec(any::<u8>(), 0..600)]) {
        let headers = [("content-type", b"application/json".to_vec())];
        sent(Method::POST, "/tasks", &headers, body);
    }

    #[test]
    fn any_path_gets_a_response(path in "/tasks/[!-~&&[^#?\\\\]]{0,60}(/complete)?(\\?[!-~&&[^#]]{0,60})?") {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            sent(method, &path, &[], vec![]);
        }
    }

    #[test]
    fn any_listing_gets_a_response(query in "(state|limit|x)=[!-~&&[^#]]{0,40}(&(state|limit)=[!-~&&[^#]]{0,20})?") {
        sent(Method::GET, &format!("/tasks?{query}"), &[], vec![]);
    }

    #[test]
    fn any_headers_get_a_response(
        kind in header(), traceparent in header(), tracestate in header(), baggage in header(),
        accept in header(),
    ) {
        let headers = [
            ("content-type", kind),
            ("traceparent", traceparent),
            ("tracestate", tracestate),
            ("baggage", baggage),
            ("accept", accept),
        ];
        sent(Method::POST, "/tasks", &headers, b"{\"title\":\"x\"}".to_vec());
    }
}

#[test]
fn invalid_bodies_are_refused() {
    let json = [("content-type", b"application/json".to_vec())];
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(100_000)).into_bytes();
    assert_eq!(sent(Method::POST, "/tasks", &json, long), 413);
    assert_eq!(sent(Method::POST, "/tasks", &json, b"{".to_vec()), 400);
    assert_eq!(sent(Method::POST, "/tasks", &[], b"{}".to_vec()), 415);
    assert_eq!(sent(Method::PUT, "/tasks", &[], vec![]), 405);
}
