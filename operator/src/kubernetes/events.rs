//! Events on objects, for people: few, each published once.

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
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CALL_DEADLINE, CallError, with_deadline};

/// Events that wait for the API server; more are left out, with a line in the log.
const MAX_QUEUED: usize = 256;
/// What was published is not published again for this long.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);
/// The most that are remembered for that.
const MAX_REMEMBERED: usize = 4096;
/// The API server takes no longer note.
const MAX_NOTE_BYTES: usize = 1024;

/// Something that people should know of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object.
    pub regarding: ObjectReference,
    /// Whether something is wrong.
    pub is_warning: bool,
    /// Why, in one CamelCase word for machines.
    pub reason: String,
    /// What was done, in one CamelCase word.
    pub action: &'static str,
    /// Why, for people.
    pub note: String,
}

/// Takes events in and never waits.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    published: Mutex<VecDeque<(Instant, EventKey)>>,
}

/// What makes two events one.
type EventKey = (Option<String>, String, String);

impl Events {
    /// Events that `controller` tells, such as `spoor-policies`; `instance` is its pod. They are
    /// sent until `stop`, by the future.
    pub fn new(
        client: Client,
        controller: &'static str,
        instance: String,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut queued) = mpsc::channel::<Event>(MAX_QUEUED);
        let send = async move {
            while let Some(Some(event)) = stop.run_until_cancelled(queued.recv()).await {
                let reason = event.reason.clone();
                if let Err(error) = send(&client, controller, &instance, event).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        reason,
                        "can't tell an event"
                    );
                }
            }
        };
        let published = Mutex::default();
        (Self { queue, published }, send)
    }

    /// Tells an event, unless the same was published a short while ago.
    pub fn publish(&self, event: Event) {
        let same = (
            event.regarding.uid.clone(),
            event.reason.clone(),
            event.note.clone(),
        );
        let now = Instant::now();
        {
            let mut published = self.published.lock();
            while published.len() >= MAX_REMEMBERED
                || published
                    .front()
                    .is_some_and(|(at, _)| now.duration_since(*at) > REPEAT_INTERVAL)
            {
                published.pop_front();
            }
            if published.iter().any(|(_, known)| *known == same) {
                return;
            }
            published.push_back((now, same));
        }
        let reason = event.reason.clone();
        if self.queue.try_send(event).is_err() {
            tracing::warn!(reason, "an event is left out: too many wait");
        }
    }
}

async fn send(
    client: &Client,
    controller: &str,
    instance: &str,
    event: Event,
) -> Result<(), CallError> {
    let namespace = event.regarding.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let api: Api<EventObject> = Api::namespaced(client.clone(), &namespace);
    let object = object(controller, instance, event, Timestamp::now());
    with_deadline(CALL_DEADLINE, api.create(&PostParams::default(), &object)).await?;
    Ok(())
}

fn object(controller: &str, instance: &str, event: Event, now: Timestamp) -> EventObject {
    let Event {
        regarding,
        is_warning,
        reason,
        action,
        note,
    } = event;
    let name = regarding.name.as_deref().unwrap_or(controller);
    EventObject {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding),
        reason: Some(reason),
        action: Some(action.to_owned()),
        note: Some(shortened(note)),
        type_: Some(if is_warning { "Warning" } else { "Normal" }.to_owned()),
        reporting_controller: Some(format!("spoor.dev/{controller}")),
        reporting_instance: Some(instance.to_owned()),
        ..EventObject::default()
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > MAX_NOTE_BYTES {
        let ellipsis = '…';
        let mut end = MAX_NOTE_BYTES - ellipsis.len_utf8();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push(ellipsis);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_no_longer_than_the_api_server_takes() {
        assert_eq!(shortened("short".to_owned()), "short");
        for text in ["a".repeat(2000), "ä€".repeat(1000)] {
            assert!((MAX_NOTE_BYTES - 8..=MAX_NOTE_BYTES).contains(&shortened(text).len()));
        }
    }
}
