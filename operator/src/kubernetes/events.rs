//! Publishes events on objects, each at most once within `REPEAT_INTERVAL`. kube's `Recorder` sends
//! each event in the caller's task and patches a series on every repetition, which would be a write
//! in steady state; here callers never wait, and repetitions are dropped.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event as EventObject},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use spoor_runtime::LogLimit;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ApiServerError, CALL_DEADLINE, with_deadline};

/// The most events that wait for the API server. Further ones are dropped and logged.
const MAX_QUEUED_EVENTS: usize = 256;
/// The time for which the same event is not published again.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);
/// The most published events that are remembered to recognise repetitions.
const MAX_REMEMBERED_EVENTS: usize = 4096;
/// The longest note that the API server accepts.
const MAX_NOTE_BYTES: usize = 1024;

/// An event on an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object.
    pub regarding: ObjectReference,
    /// True for a warning.
    pub is_warning: bool,
    /// The reason, in one CamelCase word.
    pub reason: String,
    /// The action that was taken, in one CamelCase word.
    pub action: &'static str,
    /// The message, for people.
    pub note: String,
}

/// A queue of events. Publishing never waits.
#[derive(Debug)]
pub struct EventQueue {
    queue: mpsc::Sender<Event>,
    published: Mutex<VecDeque<(Instant, EventKey)>>,
    /// Limits the log messages about dropped events, which come in large numbers.
    drops: LogLimit,
}

/// The identity of an event: object, reason and note.
type EventKey = (Option<String>, String, String);

impl EventQueue {
    /// Creates a queue for events that `controller`, such as `spoor-policies`, reports from the pod
    /// `instance`. The future sends them until `stop`.
    pub fn new(
        client: Client,
        controller: &'static str,
        instance: String,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut queued) = mpsc::channel::<Event>(MAX_QUEUED_EVENTS);
        let send = async move {
            while let Some(Some(event)) = stop.run_until_cancelled(queued.recv()).await {
                let reason = event.reason.clone();
                if let Err(error) = send(&client, controller, &instance, event).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        reason,
                        "cannot publish an event"
                    );
                }
            }
        };
        (Self::sending_to(queue), send)
    }

    fn sending_to(queue: mpsc::Sender<Event>) -> Self {
        Self {
            queue,
            published: Mutex::default(),
            drops: LogLimit::new(),
        }
    }

    /// Publishes an event, unless an equal one was published recently.
    pub fn publish(&self, event: Event) {
        let uid = event.regarding.uid.clone();
        let same = (uid, event.reason.clone(), event.note.clone());
        let now = Instant::now();
        let mut published = self.published.lock();
        while published.len() >= MAX_REMEMBERED_EVENTS
            || published
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at) > REPEAT_INTERVAL)
        {
            published.pop_front();
        }
        // A scan of at most 4096 entries is cheap enough, since events are rare.
        if published.iter().any(|(_, known)| *known == same) {
            return;
        }
        // Never awaited: an API server that is slow with events must not delay a reconciliation.
        if self.queue.try_send(event).is_ok() {
            published.push_back((now, same));
        } else if let Some(suppressed) = self.drops.admit() {
            // Not remembered, so that it is published when it is reported again.
            tracing::warn!(
                reason = same.1,
                suppressed,
                "dropped an event, since too many are waiting"
            );
        }
    }
}

async fn send(
    client: &Client,
    controller: &str,
    instance: &str,
    event: Event,
) -> Result<(), ApiServerError> {
    let namespace = event.regarding.namespace.as_deref().unwrap_or("default");
    let api: Api<EventObject> = Api::namespaced(client.clone(), namespace);
    let object = object(controller, instance, event, Timestamp::now());
    with_deadline(CALL_DEADLINE, api.create(&PostParams::default(), &object)).await?;
    Ok(())
}

fn object(controller: &str, instance: &str, event: Event, now: Timestamp) -> EventObject {
    let name = event.regarding.name.as_deref().unwrap_or(controller);
    let event_type = match event.is_warning {
        true => "Warning",
        false => "Normal",
    };
    EventObject {
        metadata: ObjectMeta {
            // The name that client-go gives events, too.
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: event.regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(event.regarding),
        reason: Some(event.reason),
        action: Some(event.action.to_owned()),
        note: Some(shortened(event.note)),
        type_: Some(event_type.to_owned()),
        reporting_controller: Some(format!("spoor.dev/{controller}")),
        reporting_instance: Some(instance.to_owned()),
        ..EventObject::default()
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > MAX_NOTE_BYTES {
        let ellipsis = '…';
        let end = note.floor_char_boundary(MAX_NOTE_BYTES - ellipsis.len_utf8());
        note.truncate(end);
        note.push(ellipsis);
    }
    note
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dropped_event_is_not_remembered() {
        let (queue, mut queued) = mpsc::channel(1);
        let events = EventQueue::sending_to(queue);
        let publish = |note: &str| {
            events.publish(Event {
                regarding: ObjectReference::default(),
                is_warning: false,
                reason: "Tested".to_owned(),
                action: "Test",
                note: note.to_owned(),
            });
        };
        publish("first");
        publish("dropped");
        assert_eq!(queued.try_recv().unwrap().note, "first");
        publish("dropped");
        assert_eq!(queued.try_recv().unwrap().note, "dropped");
        publish("dropped");
        assert!(queued.try_recv().is_err());
    }

    #[test]
    fn notes_are_truncated() {
        assert_eq!(shortened("short".to_owned()), "short");
        for text in ["a".repeat(2000), "ä€".repeat(1000)] {
            assert!((MAX_NOTE_BYTES - 8..=MAX_NOTE_BYTES).contains(&shortened(text).len()));
        }
    }
}
