//! Tests of the rows, with policies as a lab or a cluster returns them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use http::Uri;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::*;
use crate::{
    console::{Console, ConsoleSettings},
    fake::FakeBackend,
};

fn site() -> Site {
    let backend = Arc::new(FakeBackend::default());
    let console = Console::new(backend, ConsoleSettings::default());
    Site::of(&console, &Uri::from_static("/policies"))
}

fn policy(name: &str, effective: Value, overridden: Value) -> SamplingPolicy {
    let condition = json!({
        "type": "Converged", "status": "False", "lastTransitionTime": "2026-12-01T09:30:00Z",
        "reason": "Pending", "message": "2 of 3 instances apply the policy; waiting for shop b",
    });
    let policy = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {"head": {"probability": "1%"}},
        "status": {
            "conditions": [condition],
            "effective": effective,
            "overridden": overridden,
            "clients": {"expected": 3, "current": 2, "refused": 1, "polling": 0, "silent": 0},
            "observed": {
                "source": "Clients", "windowSeconds": 60, "started": 60000, "sampled": 600,
                "rate": "1%", "lower": "0.9%", "upper": "1.1%", "verdict": "Consistent",
            },
        },
    });
    serde_json::from_value(policy).unwrap()
}

fn place(service: &str, operation: Option<&str>) -> Value {
    json!([{"service": service, "operation": operation, "strategy": "1%"}])
}

#[test]
fn row_has_all_facts() {
    let policies = [
        policy("winner", place("shop", None), json!([])),
        policy(
            "loser",
            json!([]),
            json!([{"service": "shop", "by": "winner"}]),
        ),
    ];
    let history = History::new();
    let now = Timestamp::UNIX_EPOCH;
    history.record(&policies, now);
    let mut changed = policies.clone();
    if let Some(observed) = changed[0].status.as_mut().unwrap().observed.as_mut() {
        observed.rate = Some("1.05%".to_owned());
    }
    history.record(&changed, now + 10.seconds());
    let rows = rows(&policies, &history);
    assert_eq!(rows.len(), 1);
    let html = row(&site(), &rows[0]).into_string();
    for expected in [
        "<tr id=\"head.default.shop.*\">",
        "all operations",
        "<strong>1%</strong> (0.9% to 1.1%)",
        "consistent with the policy",
        "2/3, 1 refused",
        "waiting for shop b (since 2026-12-01 09:30:00 UTC)",
        "overrides <a href=\"./policies/default/loser\">loser</a>",
        "action=\"./policies/default/winner/preview\"",
        "<td class=\"number\">10.0</td>",
        "<svg class=\"chart\"",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
}

#[test]
fn rows_are_in_order_and_name_the_rest() {
    let rest = json!([{"strategy": "5%"}, {"strategy": "tail rules, otherwise 1%"}]);
    let policies = [
        policy("z", rest, json!([])),
        policy("b", place("b", None), json!([])),
        policy("a", place("b", Some("GET /")), json!([])),
    ];
    let rows = rows(&policies, &History::new());
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let expected = [
        "head.default.b.*",
        "head.default.b.GET%20%2F",
        "head.default.*.*",
        "tail.default.*.*",
    ];
    assert_eq!(ids, expected);
    let html = |index: usize| row(&site(), &rows[index]).into_string();
    assert!(html(0).contains("all other operations"), "{}", html(0));
    assert!(html(2).contains("all other services"), "{}", html(2));
    assert!(html(3).contains("none needed"), "{}", html(3));
    // A tail has no rate to change.
    assert!(!html(3).contains("<form"), "{}", html(3));
}

#[test]
fn hostile_names_are_inert() {
    let hostile = "<script>\u{202e}\" onload=\"";
    let policies = [policy("a", place(hostile, Some(hostile)), json!([]))];
    let rows = rows(&policies, &History::new());
    let html = row(&site(), &rows[0]).into_string();
    let is_inert = !html.contains("<script>") && !html.contains('\u{202e}');
    assert!(is_inert && !html.contains("\" onload"), "{html}");
}

#[test]
fn number_of_rows_is_bounded() {
    let names: Vec<String> = (0..=MAX_ROWS).map(|number| format!("s{number}")).collect();
    let policies: Vec<_> = names
        .iter()
        .map(|name| policy(name, place(name, None), json!([])))
        .collect();
    assert_eq!(number_of_places(&policies), MAX_ROWS + 1);
    assert_eq!(rows(&policies, &History::new()).len(), MAX_ROWS);
}
