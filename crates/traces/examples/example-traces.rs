//! Serves the query API and the page over a store with made-up traces, to look at them without
//! a lab: `cargo run -p spoor-traces --example example-traces [PORT] [REQUESTS]`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/it/spans.rs"]
mod spans;

use std::{env, time::SystemTime};

use spoor_policy::{PolicyName, RuleName};
use spoor_traces::{Kept, TraceStore, page, query};

#[tokio::main]
async fn main() {
    let requests = env::args()
        .nth(2)
        .map_or(24, |count| count.parse().unwrap());
    let store = TraceStore::new(1 << 30);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    for number in 1..=requests {
        let start = now - 1_000_000 + number * 900_000 / requests + number * number % 7 * 2_000;
        let wait = 90 + number * number * 31 % 400;
        let fails = number % 9 == 4;
        let kept = if fails {
            Kept::Rule {
                policy: PolicyName::new("errors-and-slow").unwrap(),
                rule: RuleName::new("errors").unwrap(),
            }
        } else {
            Kept::NoPolicy
        };
        spans::insert_kept(&store, spans::a_to_b(number, start, wait, fails), &kept);
    }
    let wide = (0..2_500).map(|index| {
        let (parent, start) = (
            if index == 0 { 0 } else { index / 3 + 1 },
            now - 900_000 + index,
        );
        spans::span(
            0xffff_0001,
            index + 1,
            parent,
            "crawl",
            start,
            start + 40 + (2_500 - index) / 2,
        )
    });
    spans::insert(&store, vec![spans::batch("crawler", wide.collect())]);
    let orphan = spans::span(
        0xffff_0002,
        7,
        3,
        "DELETE /wishes/{id}",
        now - 400_000,
        now - 399_600,
    );
    let early = spans::span(
        0xffff_0002,
        8,
        7,
        "delete wishes",
        now - 400_020,
        now - 399_900,
    );
    spans::insert(
        &store,
        vec![
            spans::batch("gateway", vec![orphan]),
            spans::batch("wishlist", vec![early]),
        ],
    );

    let port = env::args()
        .nth(1)
        .map_or(16686, |port| port.parse().unwrap());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let queries = query::Queries::new(store);
    let app = query::http(&queries).merge(page::router(&queries));
    axum::serve(listener, app).await.unwrap();
}
