//! Events on objects, for people: few, each told once.

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

use super::{CallError, DEADLINE, within};
use crate::lease;

/// Events that wait for the API server; more are left out, with a line in the log.
const WAITING: usize = 256;
/// What was told is not told again for this long.
const QUIET: Duration = Duration::from_secs(600);
/// The most that are remembered for that.
const REMEMBERED: usize = 4096;
/// The API server takes no longer note.
const MAX_NOTE: usize = 1024;

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

impl Event {
    /// Another installation of the operator serves the object's namespace, so that this one leaves
    /// it alone.
    #[must_use]
    pub fn refused(regarding: ObjectReference, by: &str, identity: &str) -> Self {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let refusal = lease::refusal(&namespace, by);
        Self {
            regarding,
            is_warning: true,
            reason: "ServedByAnotherOperator".to_owned(),
            action: "Refuse",
            note: format!("operator {identity} leaves this object alone: {refusal}"),
        }
    }
}

/// Takes events in and never waits.
#[derive(Debug)]
pub struct Events {
    waiting: mpsc::Sender<Event>,
    told: Mutex<VecDeque<(Instant, Told)>>,
}

/// What makes two events one.
type Told = (Option<String>, String, String);

impl Events {
    /// Events that `controller` tells, such as `spoor-policies`; `instance` is its pod. They are
    /// sent until `stop`, by the future.
    pub fn new(
        client: Client,
        controller: &'static str,
        instance: String,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (waiting, mut queue) = mpsc::channel::<Event>(WAITING);
        let send = async move {
            while let Some(Some(event)) = stop.run_until_cancelled(queue.recv()).await {
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
        let told = Mutex::default();
        (Self { waiting, told }, send)
    }

    /// Tells an event, unless the same was told a short while ago.
    pub fn tell(&self, event: Event) {
        let same = (
            event.regarding.uid.clone(),
            event.reason.clone(),
            event.note.clone(),
        );
        let now = Instant::now();
        {
            let mut told = self.told.lock();
            while told.len() >= REMEMBERED
                || told
                    .front()
                    .is_some_and(|(at, _)| now.duration_since(*at) > QUIET)
            {
                told.pop_front();
            }
            if told.iter().any(|(_, known)| *known == same) {
                return;
            }
            told.push_back((now, same));
        }
        let reason = event.reason.clone();
        if self.waiting.try_send(event).is_err() {
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
    within(DEADLINE, api.create(&PostParams::default(), &object)).await?;
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
    if note.len() > MAX_NOTE {
        let ellipsis = '…';
        let mut end = MAX_NOTE - ellipsis.len_utf8();
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
            assert!((MAX_NOTE - 8..=MAX_NOTE).contains(&shortened(text).len()));
        }
    }
}
