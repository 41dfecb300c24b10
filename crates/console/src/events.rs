//! The stream of changes of policies, for the scripts of open pages.

use std::{collections::BTreeMap, convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use serde::Serialize;
use spoor_policy::PolicyKey;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::console::Console;

/// The most open streams, each of which holds a connection.
const MAX_STREAMS: usize = 32;
/// The interval of keep-alive comments, which keep proxies from closing idle connections.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time after which a stream ends. Browsers reconnect by themselves.
const MAX_STREAM_TIME: Duration = Duration::from_secs(600);
/// The time after which a browser reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// The latest rows of the table of policies, for open streams.
pub(crate) struct Events {
    latest: watch::Sender<Latest>,
    permits: Arc<Semaphore>,
    reader_joined: Notify,
}

/// The result of the recorder's last read.
#[derive(Clone)]
enum Latest {
    /// Not known yet, or not kept while no stream is open.
    Pending,
    Rows(Arc<Rows>),
    /// The policies cannot be read, for this reason.
    Unavailable(Arc<str>),
}

/// The rows of the table of policies.
#[derive(Default)]
pub(crate) struct Rows {
    /// The IDs of all rows, in the table's order.
    pub order: Vec<String>,
    /// Their HTML by ID, for a page at `/policies`.
    pub html: BTreeMap<String, String>,
    /// For each policy, a number that changes whenever it or its status does.
    pub revisions: BTreeMap<PolicyKey, u64>,
}

/// The data of an event `policies`.
#[derive(Serialize)]
struct Changes<'a> {
    /// The rows that are new or changed: their HTML by ID.
    rows: BTreeMap<&'a str, &'a str>,
    /// The IDs of the rows that are gone.
    removed: Vec<&'a str>,
    /// The IDs of all rows in the table's order, if that has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a [String]>,
    /// The policies that are new, changed or gone, as `NAMESPACE/NAME`.
    policies: Vec<String>,
}

/// The state of one stream: what its page has.
#[derive(Default)]
struct Sent {
    /// `None` before the first event, which has all rows.
    rows: Option<Arc<Rows>>,
    problem: Option<Arc<str>>,
}

/// `GET /policies/events`: an event `policies` for changes of the table, and an event `error` with
/// the reason while the policies cannot be read.
pub(crate) async fn policy_events(State(console): State<Console>) -> Response {
    match console.events().subscribe(console.stop().clone()) {
        Some(events) => events.into_response(),
        None => {
            let text = "too many pages follow the policies already; close some of them";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            latest: watch::Sender::new(Latest::Pending),
            permits: Arc::new(Semaphore::new(MAX_STREAMS)),
            reader_joined: Notify::new(),
        }
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.latest.receiver_count() > 0
    }

    /// Waits until a stream is opened.
    pub(crate) async fn reader_joined(&self) {
        self.reader_joined.notified().await;
    }

    pub(crate) fn publish(&self, rows: Rows) {
        self.latest.send_replace(Latest::Rows(Arc::new(rows)));
    }

    pub(crate) fn publish_problem(&self, reason: &str) {
        self.latest.send_replace(Latest::Unavailable(reason.into()));
    }

    /// Forgets the rows, so that a stream that opens later does not begin with old ones.
    pub(crate) fn clear(&self) {
        self.latest.send_replace(Latest::Pending);
    }

    /// Opens a stream, which ends on `stop`. Returns `None` if too many are open.
    fn subscribe(
        &self,
        stop: CancellationToken,
    ) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let end = async move {
            let _ = tokio::time::timeout(MAX_STREAM_TIME, stop.cancelled_owned()).await;
        };
        let mut sent = Sent::default();
        let updates = WatchStream::new(self.latest.subscribe()).filter_map(move |latest| {
            // The permit is released when the stream is dropped.
            let _held = &permit;
            ready(sent.next_event(latest))
        });
        // After the subscription, so that the recorder sees this reader.
        self.reader_joined.notify_one();
        let greeting = Event::default().retry(RECONNECT_DELAY).comment("policies");
        let events = stream::iter([greeting]).chain(updates).map(Ok);
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
        Some(Sse::new(events.take_until(Box::pin(end))).keep_alive(keep_alive))
    }
}

impl Sent {
    /// The event that brings the page up to date, if it is not.
    fn next_event(&mut self, latest: Latest) -> Option<Event> {
        match latest {
            Latest::Pending => None,
            Latest::Unavailable(reason) => {
                if self.problem.as_ref() == Some(&reason) {
                    return None;
                }
                let event = Event::default().event("error").data(&*reason);
                self.problem = Some(reason);
                Some(event)
            }
            Latest::Rows(rows) => {
                let is_first = self.rows.is_none();
                // Sent even without changes, so that the page removes its notice of the problem.
                let was_unavailable = self.problem.take().is_some();
                let before = self.rows.replace(Arc::clone(&rows));
                let changes = Changes::between(before.as_deref(), &rows);
                let is_needed = is_first || was_unavailable || !changes.is_empty();
                is_needed.then(|| changes.event())
            }
        }
    }
}

impl<'a> Changes<'a> {
    fn between(before: Option<&'a Rows>, after: &'a Rows) -> Self {
        let had = |id: &str| before.and_then(|before| before.html.get(id));
        let rows = after.html.iter();
        let rows = rows.filter(|(id, html)| had(id) != Some(*html));
        let removed = before.into_iter().flat_map(|before| before.html.keys());
        let removed = removed.filter(|id| !after.html.contains_key(*id));
        let is_reordered = before.is_none_or(|before| before.order != after.order);
        Self {
            rows: rows
                .map(|(id, html)| (id.as_str(), html.as_str()))
                .collect(),
            removed: removed.map(String::as_str).collect(),
            order: is_reordered.then_some(after.order.as_slice()),
            policies: changed_policies(before, after),
        }
    }

    fn is_empty(&self) -> bool {
        let Self {
            rows,
            removed,
            order,
            policies,
        } = self;
        rows.is_empty() && removed.is_empty() && order.is_none() && policies.is_empty()
    }

    fn event(&self) -> Event {
        let data = serde_json::to_string(self);
        // Serialization to JSON cannot fail, since all keys are strings.
        let event = Event::default().event("policies");
        event.data(data.unwrap_or_default())
    }
}

fn changed_policies(before: Option<&Rows>, after: &Rows) -> Vec<String> {
    let had = |key: &PolicyKey| before.and_then(|before| before.revisions.get(key));
    let changed = after.revisions.iter();
    let changed = changed.filter(|(key, revision)| had(key) != Some(*revision));
    let gone = before
        .into_iter()
        .flat_map(|before| before.revisions.keys());
    let gone = gone.filter(|key| !after.revisions.contains_key(*key));
    let changed = changed.map(|(key, _)| key).chain(gone);
    changed.map(PolicyKey::to_string).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Rows {
        let html = rows.iter();
        Rows {
            order: rows.iter().map(|(id, _)| (*id).to_owned()).collect(),
            html: html
                .map(|(id, html)| ((*id).to_owned(), (*html).to_owned()))
                .collect(),
            revisions: BTreeMap::new(),
        }
    }

    #[test]
    fn only_changed_rows_are_sent() {
        let before = rows(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = rows(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let changes = Changes::between(Some(&before), &after);
        assert_eq!(changes.rows, BTreeMap::from([("b", "2"), ("d", "1")]));
        assert_eq!(changes.removed, ["c"]);
        assert_eq!(changes.order, Some(after.order.as_slice()));
        assert!(Changes::between(Some(&after), &after).is_empty());
    }

    #[test]
    fn changed_and_deleted_policies_are_named() {
        let key = |name: &str| PolicyKey {
            namespace: spoor_policy::Namespace::default(),
            name: name.parse().unwrap(),
        };
        let of = |revisions: &[(&str, u64)]| Rows {
            revisions: revisions
                .iter()
                .map(|(name, at)| (key(name), *at))
                .collect(),
            ..Rows::default()
        };
        let (before, after) = (
            of(&[("a", 1), ("b", 1), ("c", 1)]),
            of(&[("a", 1), ("b", 2)]),
        );
        let expected = ["default/b", "default/c"];
        assert_eq!(changed_policies(Some(&before), &after), expected);
    }

    #[test]
    fn problem_is_sent_once_and_then_resolved() {
        let unchanged = Arc::new(rows(&[("a", "1")]));
        let mut sent = Sent::default();
        let mut is_sent = |latest| sent.next_event(latest).is_some();
        assert!(is_sent(Latest::Rows(Arc::clone(&unchanged))));
        assert!(!is_sent(Latest::Rows(Arc::clone(&unchanged))));
        assert!(is_sent(Latest::Unavailable("gone".into())));
        assert!(!is_sent(Latest::Unavailable("gone".into())));
        assert!(is_sent(Latest::Rows(Arc::clone(&unchanged))));
        assert!(!is_sent(Latest::Rows(unchanged)));
        assert!(!is_sent(Latest::Pending));
    }

    #[tokio::test]
    async fn number_of_streams_is_bounded() {
        let events = Events::new();
        let stop = CancellationToken::new();
        let subscribe = || events.subscribe(stop.clone());
        let open: Vec<_> = (0..MAX_STREAMS).map(|_| subscribe().unwrap()).collect();
        assert!(subscribe().is_none());
        assert!(events.has_readers());
        drop(open);
        assert!(subscribe().is_some());
        assert!(!events.has_readers());
    }
}
