//! The sessions of a service on the policy stream, each from the hello to its end.

use std::{mem, time::Duration};

use jiff::Timestamp;
use spoor_policy::Fault;
use spoor_proto::spoor::control::v1::{
    self, Acknowledgement, ClientMessage, DroppedSpans, Hello, Plan, Refusal, Report,
    ServerMessage, client_message, policy_stream_client::PolicyStreamClient, server_message,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    config::ControlStream,
    connection::{Connection, Exchange, SessionError},
    parts::in_parts,
    reconnect::{Link, Sessions},
};
use crate::{batch::DropReason, faults, sampler::to_wire};

/// The longest message accepted, in bytes. A plan with up to seven times the permitted number of
/// operations fits, so it is refused for having too many, and not for its length.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The most bytes of counts in one report. The control plane accepts messages of 1 MiB, and 4,096
/// operations under several plans take up to 19 MB.
const MAX_COUNTS_BYTES: usize = 512 << 10;

/// The sessions of a service.
pub(super) struct PolicySessions<'a> {
    stream: &'a ControlStream,
    /// True if the faults in force are from a stream and not from the service's settings.
    has_pushed_faults: bool,
}

impl<'a> PolicySessions<'a> {
    pub(super) fn new(stream: &'a ControlStream) -> Self {
        Self {
            stream,
            has_pushed_faults: false,
        }
    }
}

impl Sessions for PolicySessions<'_> {
    const HELD: &'static str = "plan";

    async fn run(
        &mut self,
        link: &mut Link,
        shutdown: &CancellationToken,
    ) -> Result<(), SessionError> {
        let opening = open(self.stream);
        let Some(exchange) = shutdown.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let mut session = Session {
            stream: self.stream,
            exchange: exchange?,
            link,
            has_pushed_faults: &mut self.has_pushed_faults,
            last: None,
        };
        session.serve(shutdown).await
    }
}

type PolicyExchange = Exchange<ClientMessage, ServerMessage>;

struct Session<'a> {
    stream: &'a ControlStream,
    exchange: PolicyExchange,
    link: &'a mut Link,
    has_pushed_faults: &'a mut bool,
    last: Option<(Report, Instant)>,
}

async fn open(stream: &ControlStream) -> Result<PolicyExchange, SessionError> {
    let intervals = stream.intervals;
    let connection = Connection::open(&stream.endpoint, &stream.credentials, intervals).await?;
    let (request, outgoing) = connection.request(message(hello(stream)))?;
    let client = PolicyStreamClient::new(connection.channel());
    let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
    connection
        .exchange(outgoing, client.subscribe(request))
        .await
}

impl Session<'_> {
    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let mut reports = interval(self.stream.intervals.report.max(Duration::from_millis(1)));
        // Counts are cumulative, so one report replaces all that were missed.
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Shutdown has priority over messages, and messages over reports, which repeat.
                biased;
                () = shutdown.cancelled() => return self.shutdown_notice().await,
                received = self.exchange.receive() => self.handle_message(received?).await?,
                _ = reports.tick() => self.report().await?,
            }
        }
    }

    async fn handle_message(&mut self, received: ServerMessage) -> Result<(), SessionError> {
        self.link.accepted_by(&self.stream.endpoint);
        match received.message {
            Some(server_message::Message::Plan(plan)) => self.send(self.install(plan)).await,
            Some(server_message::Message::Faults(faults)) => {
                self.set_faults(faults.faults.into_iter().filter_map(fault).collect());
                Ok(())
            }
            Some(server_message::Message::Shares(shares)) => {
                if !self.stream.live.apply_shares(&shares) {
                    tracing::debug!(number = shares.number, "ignored shares");
                }
                Ok(())
            }
            // A message of a newer control plane that this client does not know.
            None => Ok(()),
        }
    }

    /// Sets the faults in force. An empty list removes those that were pushed. A control plane
    /// without faults sends one as well, and then the faults from the settings stay.
    fn set_faults(&mut self, faults: Vec<Fault>) {
        if *self.has_pushed_faults || !faults.is_empty() {
            *self.has_pushed_faults = true;
            self.stream.faults.set(faults);
        }
    }

    fn install(&self, plan: Plan) -> client_message::Message {
        match self.stream.live.install(plan) {
            Ok(version) => {
                tracing::debug!(%version, "plan in force");
                client_message::Message::Acknowledgement(Acknowledgement {
                    version: Some(to_wire(version)),
                })
            }
            Err(refusal) => {
                tracing::warn!(reason = %refusal, "plan refused; keeping the previous one");
                client_message::Message::Refusal(Refusal {
                    version: Some(refusal.version),
                    reason: refusal.to_string(),
                })
            }
        }
    }

    /// Sends a report if something has changed or the last is old.
    async fn report(&mut self) -> Result<(), SessionError> {
        let report = report(self.stream);
        // One interval early, since the next tick would be too late.
        let is_due = self.last.as_ref().is_none_or(|(last, at)| {
            *last != report
                || at.elapsed() + self.stream.intervals.report > self.stream.intervals.heartbeat
        });
        if !is_due {
            return Ok(());
        }
        self.last = Some((report.clone(), Instant::now()));
        for part in parts(report) {
            self.send(client_message::Message::Report(part)).await?;
        }
        Ok(())
    }

    /// Sends the final report and waits until the control plane has seen the end of the stream.
    async fn shutdown_notice(&mut self) -> Result<(), SessionError> {
        let parts = parts(report(self.stream)).into_iter();
        let parts = parts.map(|part| message(client_message::Message::Report(part)));
        let deadline = self.stream.intervals.shutdown_notice;
        self.exchange.finish(parts, deadline).await;
        Ok(())
    }

    async fn send(&self, kind: client_message::Message) -> Result<(), SessionError> {
        self.exchange.send(message(kind)).await
    }
}

fn hello(stream: &ControlStream) -> client_message::Message {
    let held = stream.live.held();
    client_message::Message::Hello(Hello {
        service: stream.service.to_string(),
        instance: stream.instance.clone(),
        start: stream.start.clone(),
        held: held.as_ref().map(|held| to_wire(held.version)),
        held_digest: held.map(|held| held.digest).unwrap_or_default(),
    })
}

fn report(stream: &ControlStream) -> Report {
    let spans = &stream.spans;
    let dropped = DropReason::ALL.map(|reason| DroppedSpans {
        reason: reason.to_string(),
        spans: spans.dropped(reason),
    });
    let dropped = dropped.into_iter().filter(|it| it.spans > 0);
    Report {
        counts: stream.live.counts(),
        spans_exported: spans.exported(),
        spans_dropped: dropped.collect(),
        unix_millis: None,
        shares: stream.live.shares(),
    }
}

/// Divides a report into messages that the control plane accepts. Each has the current time, which is
/// left out when reports are compared, and a part of the counts, which are independent of each other.
fn parts(mut report: Report) -> Vec<Report> {
    report.unix_millis = Some(Timestamp::now().as_millisecond());
    let counts = in_parts(mem::take(&mut report.counts), MAX_COUNTS_BYTES).into_iter();
    let parts = counts.map(|counts| Report {
        counts,
        ..report.clone()
    });
    parts.collect()
}

fn fault(message: v1::Fault) -> Option<Fault> {
    faults::from_message(message)
        .inspect_err(|error| tracing::warn!(%error, "ignored an invalid fault"))
        .ok()
}

fn message(kind: client_message::Message) -> ClientMessage {
    ClientMessage {
        message: Some(kind),
    }
}
