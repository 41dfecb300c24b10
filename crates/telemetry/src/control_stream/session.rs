//! One connection to the control plane, from the hello to its end.

use std::{mem, time::Duration};

use http::header::AUTHORIZATION;
use jiff::Timestamp;
use prost::Message;
use spoor_policy::Fault;
use spoor_proto::spoor::control::v1::{
    self, Acknowledgement, ClientMessage, DroppedSpans, Hello, Plan, Refusal, Report,
    ServerMessage, client_message, policy_stream_client::PolicyStreamClient, server_message,
};
use spoor_runtime::Backoff;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use super::config::{ControlStream, Intervals};
use crate::{batch::DropReason, credentials::CredentialsError, faults, sampler::to_wire};

/// The most messages that wait to be sent.
const MAX_OUTGOING_MESSAGES: usize = 16;

/// The longest message accepted, in bytes. A plan with up to seven times the permitted number of
/// operations fits, so it is refused for having too many, and not for its length.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The most bytes of counts in one report. The control plane accepts messages of 1 MiB, and 4,096
/// operations under several plans take up to 19 MB.
const MAX_COUNTS_BYTES: usize = 512 << 10;

/// The longest delay before the first retry. It is short, since a control plane restarts quickly.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The state that is kept between sessions.
#[derive(Debug)]
pub(super) struct ReconnectState {
    pub(super) backoff: Backoff,
    /// True if the control plane has sent a message in the current session, or in the last one if
    /// none is open. An open stream alone proves nothing: the process may still be denied.
    pub(super) is_accepted: bool,
    /// True if the faults in force are from a stream and not from the service's settings.
    has_pushed_faults: bool,
}

impl ReconnectState {
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(FIRST_RETRY_DELAY),
            is_accepted: false,
            has_pushed_faults: false,
        }
    }
}

/// The error of a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("cannot prepare the connection to the control plane")]
    Credentials(#[from] CredentialsError),
    #[error("cannot connect to the control plane")]
    Connect(#[source] tonic::transport::Error),
    #[error("cannot subscribe to the control plane")]
    Subscribe(#[source] Status),
    #[error("{:?}: {}", .0.code(), .0.message())]
    Denied(Status),
    #[error("cannot receive from the control plane")]
    Receive(#[source] Status),
    #[error("the control plane ended the stream")]
    Closed,
    #[error("the control plane did not respond in time")]
    Deadline,
}

impl SessionError {
    /// True if the control plane has no room for what this process sends.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Receive(status) if status.code() == Code::ResourceExhausted)
    }
}

/// Opens a session and serves it until the process shuts down and the final report is sent.
pub(super) async fn run(
    stream: &ControlStream,
    shutdown: &CancellationToken,
    state: &mut ReconnectState,
) -> Result<(), SessionError> {
    state.is_accepted = false;
    match shutdown.run_until_cancelled(open(stream, state)).await {
        None => Ok(()),
        Some(session) => session?.serve(shutdown).await,
    }
}

struct Session<'a> {
    stream: &'a ControlStream,
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
    state: &'a mut ReconnectState,
    last: Option<(Report, Instant)>,
}

async fn open<'a>(
    stream: &'a ControlStream,
    state: &'a mut ReconnectState,
) -> Result<Session<'a>, SessionError> {
    let intervals = stream.intervals;
    let credentials = &stream.credentials;
    let endpoint = credentials.secure(endpoint(stream, intervals)).await?;
    let authorization = credentials.authorization(&endpoint).await?;
    let connect = timeout(intervals.deadline, endpoint.connect()).await;
    let channel = connect
        .map_err(|_| SessionError::Deadline)?
        .map_err(SessionError::Connect)?;
    // The hello is queued before the call: the control plane refuses a stream that begins with
    // anything else.
    let (outgoing, messages) = mpsc::channel(MAX_OUTGOING_MESSAGES);
    // The channel has room, since nothing has been sent yet.
    outgoing
        .try_send(message(hello(stream)))
        .map_err(|_| SessionError::Closed)?;
    let client = PolicyStreamClient::new(channel);
    let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(authorization) = authorization {
        let metadata = request.metadata_mut();
        metadata.insert(AUTHORIZATION.as_str(), authorization);
    }
    let subscribe = timeout(intervals.deadline, client.subscribe(request)).await;
    let incoming = subscribe
        .map_err(|_| SessionError::Deadline)?
        .map_err(|status| denied(status, SessionError::Subscribe))?
        .into_inner();
    Ok(Session {
        stream,
        outgoing,
        incoming,
        state,
        last: None,
    })
}

fn endpoint(stream: &ControlStream, intervals: Intervals) -> tonic::transport::Endpoint {
    let endpoint = stream.endpoint.clone();
    endpoint
        .connect_timeout(intervals.deadline)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(intervals.keep_alive)
        .keep_alive_timeout(intervals.keep_alive)
        // Plans may not change for days, so only pings show that the peer is gone.
        .keep_alive_while_idle(true)
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
                received = self.incoming.message() => match received {
                    Ok(Some(received)) => self.handle_message(received).await?,
                    Ok(None) => return Err(SessionError::Closed),
                    Err(status) => return Err(denied(status, SessionError::Receive)),
                },
                _ = reports.tick() => self.report().await?,
            }
        }
    }

    async fn handle_message(&mut self, received: ServerMessage) -> Result<(), SessionError> {
        if !self.state.is_accepted {
            self.state.is_accepted = true;
            tracing::info!(endpoint = %self.stream.endpoint.uri(), "control plane connected");
        }
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
        if self.state.has_pushed_faults || !faults.is_empty() {
            self.state.has_pushed_faults = true;
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
        let shutdown_notice = async {
            let mut is_sent = true;
            for part in parts(report(self.stream)) {
                let part = message(client_message::Message::Report(part));
                is_sent &= self.outgoing.send(part).await.is_ok();
            }
            // Without senders, the stream of requests ends after the report.
            self.outgoing = mpsc::channel(1).0;
            while is_sent && matches!(self.incoming.message().await, Ok(Some(_))) {}
        };
        let ended = timeout(self.stream.intervals.shutdown_notice, shutdown_notice).await;
        if ended.is_err() {
            tracing::debug!("the control plane did not confirm the final report in time");
        }
        Ok(())
    }

    async fn send(&self, kind: client_message::Message) -> Result<(), SessionError> {
        let sending = self.outgoing.send(message(kind));
        let sent = timeout(self.stream.intervals.deadline, sending).await;
        sent.map_err(|_| SessionError::Deadline)?
            .map_err(|_| SessionError::Closed)
    }
}

/// The error of a denial, or `otherwise` for any other status.
fn denied(status: Status, otherwise: fn(Status) -> SessionError) -> SessionError {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => SessionError::Denied(status),
        _ => otherwise(status),
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
    let counts = mem::take(&mut report.counts);
    let mut parts = vec![];
    let mut part = report.clone();
    let mut bytes = 0;
    for count in counts {
        bytes += count.encoded_len();
        if bytes > MAX_COUNTS_BYTES {
            bytes = count.encoded_len();
            parts.push(mem::replace(&mut part, report.clone()));
        }
        part.counts.push(count);
    }
    parts.push(part);
    parts
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
