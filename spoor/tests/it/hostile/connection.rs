//! A raw connection that sends arbitrary bytes and reads only the status.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than the lab takes to end an unfinished request, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Status(u16),
    /// Ended without an HTTP response.
    Closed,
}

pub struct Connection(TcpStream);

impl Connection {
    pub async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// True if the server accepted all bytes. A server may close the connection early.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(DEADLINE, self.0.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Ends the sending side.
    pub async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// The server's response or the end of the connection; `None` after the deadline.
    pub async fn outcome(mut self) -> Option<Outcome> {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\n") && head.len() < 64 {
                match self.0.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
        };
        timeout(DEADLINE, read).await.ok()?;
        let status = String::from_utf8_lossy(&head)
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        Some(status.map_or(Outcome::Closed, Outcome::Status))
    }

    /// True if the server closes the connection, with or without a response.
    pub async fn closes(mut self) -> bool {
        let mut nowhere = tokio::io::sink();
        let all = tokio::io::copy(&mut self.0, &mut nowhere);
        timeout(DEADLINE, all).await.is_ok()
    }
}

/// Sends bytes on a new connection, and returns the outcome.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Outcome> {
    let mut connection = Connection::to(address).await;
    connection.send(bytes).await;
    connection.outcome().await
}
