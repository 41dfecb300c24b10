//! A connection to the control plane, and a stream over it.

use std::{future::Future, time::Duration};

use http::header::AUTHORIZATION;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::config::Intervals;
use crate::credentials::{Credentials, CredentialsError};

/// The most messages that wait to be sent.
const MAX_OUTGOING_MESSAGES: usize = 16;

/// The error of a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A file of the credentials cannot be used.
    #[error("cannot prepare the connection to the control plane")]
    Credentials(#[from] CredentialsError),
    /// There is no connection.
    #[error("cannot connect to the control plane")]
    Connect(#[source] tonic::transport::Error),
    /// The call failed.
    #[error("cannot subscribe to the control plane")]
    Subscribe(#[source] Status),
    /// The control plane denies access.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Denied(Status),
    /// The stream failed.
    #[error("cannot receive from the control plane")]
    Receive(#[source] Status),
    /// The control plane ended the stream.
    #[error("the control plane ended the stream")]
    Closed,
    /// A deadline passed.
    #[error("the control plane did not respond in time")]
    Deadline,
}

impl SessionError {
    /// True if the control plane has no room for what this process sends.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Receive(status) if status.code() == Code::ResourceExhausted)
    }
}

/// A connection to the control plane, for one stream.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    intervals: Intervals,
}

impl Connection {
    /// Connects, with TLS if the endpoint's scheme is `https`.
    ///
    /// # Errors
    /// [`SessionError`] if the credentials cannot be used, or there is no connection in time.
    pub async fn open(
        endpoint: &Endpoint,
        credentials: &Credentials,
        intervals: Intervals,
    ) -> Result<Self, SessionError> {
        let endpoint = credentials
            .secure(with_deadlines(endpoint, intervals))
            .await?;
        let authorization = credentials.authorization(&endpoint).await?;
        let connect = timeout(intervals.deadline, endpoint.connect()).await;
        let channel = connect
            .map_err(|_| SessionError::Deadline)?
            .map_err(SessionError::Connect)?;
        Ok(Self {
            channel,
            authorization,
            intervals,
        })
    }

    /// The channel, for a generated `…Client::new(channel)`.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The request that opens a stream with this hello, and the sender of its later messages.
    ///
    /// # Errors
    /// [`SessionError::Closed`], which does not occur: the empty queue has room for the hello.
    pub fn request<Out>(
        &self,
        hello: Out,
    ) -> Result<(Request<ReceiverStream<Out>>, mpsc::Sender<Out>), SessionError> {
        // The hello is queued before the call: the control plane refuses a stream that begins with
        // anything else.
        let (outgoing, messages) = mpsc::channel(MAX_OUTGOING_MESSAGES);
        outgoing.try_send(hello).map_err(|_| SessionError::Closed)?;
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert(AUTHORIZATION.as_str(), authorization.clone());
        }
        Ok((request, outgoing))
    }

    /// Waits for the response to the call that opens a stream.
    ///
    /// # Errors
    /// [`SessionError`] if the call fails, or the response does not come in time.
    pub async fn exchange<Out, In>(
        &self,
        outgoing: mpsc::Sender<Out>,
        call: impl Future<Output = Result<Response<Streaming<In>>, Status>>,
    ) -> Result<Exchange<Out, In>, SessionError> {
        let response = timeout(self.intervals.deadline, call).await;
        let incoming = response
            .map_err(|_| SessionError::Deadline)?
            .map_err(|status| denied(status, SessionError::Subscribe))?
            .into_inner();
        Ok(Exchange {
            outgoing,
            incoming,
            deadline: self.intervals.deadline,
        })
    }
}

fn with_deadlines(endpoint: &Endpoint, intervals: Intervals) -> Endpoint {
    let endpoint = endpoint.clone();
    endpoint
        .connect_timeout(intervals.deadline)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(intervals.keep_alive)
        .keep_alive_timeout(intervals.keep_alive)
        // Plans may not change for days, so only pings show that the peer is gone.
        .keep_alive_while_idle(true)
}

/// The messages of an open stream, in both directions.
#[derive(Debug)]
pub struct Exchange<Out, In> {
    outgoing: mpsc::Sender<Out>,
    incoming: Streaming<In>,
    deadline: Duration,
}

impl<Out, In> Exchange<Out, In> {
    /// Receives the next message. No message is lost if the future is dropped.
    ///
    /// # Errors
    /// [`SessionError`] at the end of the stream.
    pub async fn receive(&mut self) -> Result<In, SessionError> {
        match self.incoming.message().await {
            Ok(Some(received)) => Ok(received),
            Ok(None) => Err(SessionError::Closed),
            Err(status) => Err(denied(status, SessionError::Receive)),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SessionError`] if the stream has ended, or the control plane does not read it.
    pub async fn send(&self, message: Out) -> Result<(), SessionError> {
        let sent = timeout(self.deadline, self.outgoing.send(message)).await;
        sent.map_err(|_| SessionError::Deadline)?
            .map_err(|_| SessionError::Closed)
    }

    /// Sends the final report, in one or several messages, and waits until the control plane has seen
    /// the end of the stream, for at most `deadline`.
    pub async fn finish(&mut self, parts: impl IntoIterator<Item = Out>, deadline: Duration) {
        let finishing = async {
            let mut is_sent = true;
            for part in parts {
                is_sent &= self.outgoing.send(part).await.is_ok();
            }
            // Without senders, the stream of requests ends after the report.
            self.outgoing = mpsc::channel(1).0;
            while is_sent && matches!(self.incoming.message().await, Ok(Some(_))) {}
        };
        if timeout(deadline, finishing).await.is_err() {
            tracing::debug!("the control plane did not confirm the final report in time");
        }
    }
}

/// The error of a denial, or `otherwise` for any other status.
fn denied(status: Status, otherwise: fn(Status) -> SessionError) -> SessionError {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => SessionError::Denied(status),
        _ => otherwise(status),
    }
}
