//! The content of a body: decompressed, converted to protobuf and accepted.

use bytes::Bytes;
use spoor_runtime::{Compression, ConnectionTurn};
use tokio::time::{Instant, timeout_at};

use super::{
    error::ReceiveError,
    json::{self, Ignored},
    status::{Encoding, PartialSuccess},
};
use crate::{OutOfMemory, memory::Reservation, receiver::Receiver, turns};

/// The longest content that is read on an asynchronous worker thread. Reading it blocks other
/// requests of the process for about a millisecond if the content consists of empty messages. An
/// SDK's batch of 512 spans is half as long.
const MAX_SMALL_PROTOBUF_BYTES: usize = 256 << 10;
/// The longest JSON that is read there. It takes several times as long per byte.
const MAX_SMALL_JSON_BYTES: usize = 32 << 10;
/// The longest compressed body that is decompressed there. Blocks without content take up to 0.22 µs
/// for each byte, so 4 ms.
const MAX_SMALL_COMPRESSED_BYTES: usize = 16 << 10;

/// A body as it was received.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) compression: Compression,
    pub(super) encoding: Encoding,
    pub(super) connection: ConnectionTurn,
}

impl Content {
    /// Accepts the spans in the body, which waits for its turn and stays compressed until then.
    pub(super) async fn accept(
        self,
        receiver: &Receiver,
        mut reservation: Reservation,
    ) -> Result<PartialSuccess, ReceiveError> {
        let settings = receiver.settings();
        let max = settings.max_body_bytes;
        let deadline = Instant::now() + settings.body_deadline;
        let small = self.accept_small(receiver, deadline, &mut reservation);
        if let Some(accepted) = small.await? {
            return Ok(accepted);
        }
        // In the order of arrival, so that a sender of many large bodies cannot overtake others.
        // Only one body of each connection waits at a time; otherwise those of one connection could
        // fill all places.
        let turn = async {
            let _own = self.connection.take().await;
            receiver.large_bodies().next(deadline).await
        };
        let turn = timeout_at(deadline, turn).await.ok().flatten();
        let turn = turn.ok_or(ReceiveError::Busy)?;
        let receiver = receiver.clone();
        // A separate thread rather than pieces with a yield between them: serde_json reads a
        // document in one call, and a worker thread that always has another piece to process
        // delays other requests.
        let accepted = turns::run(turn, move |cancelled| {
            let count = |bytes| match cancelled.is_cancelled() {
                true => Err(ReceiveError::Disconnected),
                false => Ok(reservation.grow(bytes)?),
            };
            let content = self.compression.decompress(self.bytes, max, count)?;
            accept(&receiver, content, self.encoding, &mut reservation)
        });
        // The task fails only if the work panics, or if the runtime is shutting down, which ends the
        // connection, too.
        accepted.await.unwrap_or(Err(ReceiveError::Internal))
    }

    /// Accepts the spans in the body if its content is small.
    ///
    /// A large body is decompressed again from its start later: its size is not known in advance,
    /// since a few hundred bytes may become megabytes.
    async fn accept_small(
        &self,
        receiver: &Receiver,
        deadline: Instant,
        reservation: &mut Reservation,
    ) -> Result<Option<PartialSuccess>, ReceiveError> {
        let max_body_bytes = receiver.settings().max_body_bytes;
        let max = max_body_bytes.min(match self.encoding {
            Encoding::Protobuf => MAX_SMALL_PROTOBUF_BYTES,
            Encoding::Json => MAX_SMALL_JSON_BYTES,
        });
        // Compressed blocks may be empty, so even a long body may have little content.
        let max_received = match self.compression {
            Compression::Identity => max,
            _ => max.min(MAX_SMALL_COMPRESSED_BYTES),
        };
        if self.bytes.len() > max_received {
            return Ok(None);
        }
        let turns = async {
            // The connection's turn comes first, so that its bodies wait one behind the other.
            let own = self.connection.take().await;
            (own, receiver.small_bodies().acquire().await)
        };
        let Ok((_own, Ok(_turn))) = timeout_at(deadline, turns).await else {
            return Err(ReceiveError::Busy);
        };
        let before = reservation.bytes();
        // Counts each piece before the next one.
        let count = |bytes| Ok(reservation.grow(bytes)?);
        let content = match self.compression.decompress(self.bytes.clone(), max, count) {
            // It may have more content, or a larger zstd window, than a small body may. It is then
            // read as a large one, where any other error occurs again.
            Err(ReceiveError::Compressed(_)) => {
                reservation.shrink_to(before);
                return Ok(None);
            }
            content => content?,
        };
        accept(receiver, content, self.encoding, reservation).map(Some)
    }
}

fn accept(
    receiver: &Receiver,
    mut bytes: Bytes,
    encoding: Encoding,
    reservation: &mut Reservation,
) -> Result<PartialSuccess, ReceiveError> {
    // The receiver may have closed since the body was sent: spans accepted after its last decisions
    // would be lost silently.
    if receiver.is_closed() {
        return Err(ReceiveError::Closed);
    }
    let mut ignored = Ignored::default();
    if encoding == Encoding::Json {
        // The protobuf is at most as long as the JSON.
        reservation.grow(bytes.len()).map_err(|error| match error {
            OutOfMemory::RequestTooLarge => ReceiveError::TooLargeAsJson,
            other => other.into(),
        })?;
        (bytes, ignored) = json::to_protobuf(&bytes)?;
    }
    let mut partial = PartialSuccess::of(receiver.accept(&bytes, reservation)?);
    partial.messages.extend(ignored.messages());
    Ok(partial)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use std::{future::ready, io::Write, pin::pin};

    use axum::{
        body::Body,
        http::{Request, StatusCode, header::CONTENT_ENCODING},
        response::Response,
    };
    use flate2::{Compression, write::GzEncoder};
    use tokio::{
        sync::OwnedSemaphorePermit,
        task::JoinSet,
        time::{Duration, Instant},
    };
    use tower::ServiceExt;

    use super::{Bytes, ConnectionTurn, Content, Encoding, MAX_SMALL_COMPRESSED_BYTES};
    use crate::{
        ReceiveSettings, Rejected,
        memory::Reservation,
        receiver::{AcceptError, MAX_CONCURRENT_LARGE_BODIES, Receiver, SpanSink},
        request_counts::RefusalReason,
        scan,
        turns::MAX_WAITING,
    };

    /// Scans the spans and discards them.
    struct Discard;

    impl SpanSink for Discard {
        fn accept(
            &self,
            request: &[u8],
            reservation: &mut Reservation,
        ) -> Result<Rejected, AcceptError> {
            Ok(scan::scan(request, reservation)?.rejected)
        }
    }

    /// A receiver, whose router is called without a network.
    fn receiver(settings: ReceiveSettings) -> Receiver {
        Receiver::new(settings, Discard)
    }

    async fn post(receiver: &Receiver, content_type: &str, content: &[u8]) -> Response {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        let request = Request::post("/v1/traces")
            .header("content-type", content_type)
            .header(CONTENT_ENCODING, "gzip")
            .body(Body::from(encoder.finish().unwrap()))
            .unwrap();
        receiver.otlp_http().oneshot(request).await.unwrap()
    }

    async fn all_turns_of_large_bodies(receiver: &Receiver) -> Vec<OwnedSemaphorePermit> {
        let mut turns = Vec::new();
        for _ in 0..MAX_CONCURRENT_LARGE_BODIES {
            turns.push(receiver.large_bodies().next(Instant::now()).await.unwrap());
        }
        turns
    }

    /// Empty `ResourceSpans`, the most work for each byte.
    fn empty_messages(content_type: &str, bytes: usize) -> Vec<u8> {
        match content_type {
            JSON => format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(bytes / 3)).into(),
            _ => b"\n\0".repeat(bytes / 2),
        }
    }

    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/x-protobuf";

    #[rstest::rstest]
    #[case::json(JSON)]
    #[case::protobuf(PROTOBUF)]
    #[tokio::test]
    async fn small_bodies_overtake_large_ones(#[case] content_type: &str) {
        let receiver = receiver(ReceiveSettings::default());
        let turns = all_turns_of_large_bodies(&receiver).await;
        let content = empty_messages(content_type, 1 << 20);
        let mut large = pin!(post(&receiver, content_type, &content));
        tokio::select! {
            biased;
            _ = &mut large => panic!("the large body was read on the worker thread"),
            () = ready(()) => {}
        }
        // A small body takes one poll, on this thread.
        let small = empty_messages(content_type, 16 << 10);
        tokio::select! {
            biased;
            response = post(&receiver, content_type, &small) => {
                assert_eq!(response.status(), StatusCode::OK);
            }
            () = ready(()) => panic!("a small body waits for another thread"),
        }
        drop(turns);
        assert_eq!(large.await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn sender_does_not_retry_after_a_panic() {
        struct Panicking(Vec<u8>);
        impl AsRef<[u8]> for Panicking {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Drop for Panicking {
            fn drop(&mut self) {
                panic!("the body was read");
            }
        }
        let receiver = receiver(ReceiveSettings::default());
        let content = Content {
            bytes: Bytes::from_owner(Panicking(empty_messages(PROTOBUF, 1 << 20))),
            compression: spoor_runtime::Compression::Identity,
            encoding: Encoding::Protobuf,
            connection: ConnectionTurn::default(),
        };
        let reservation = receiver.memory().reservation();
        let failed = content.accept(&receiver, reservation).await.unwrap_err();
        assert_eq!(failed.reason(), RefusalReason::InternalError);
        assert!(!failed.reason().is_temporary());
    }

    #[tokio::test]
    async fn worker_does_not_read_long_compressed_body() {
        let receiver = receiver(ReceiveSettings::default());
        // Consecutive square roots have no pattern that gzip finds.
        let content =
            (0..MAX_SMALL_COMPRESSED_BYTES * 2).map(|n| (n as f64).sqrt().to_bits() as u8);
        let content: Vec<u8> = content.collect();
        let _turns = all_turns_of_large_bodies(&receiver).await;
        tokio::select! {
            biased;
            _ = post(&receiver, PROTOBUF, &content) => panic!("read on the worker thread"),
            () = ready(()) => {}
        }
    }

    #[tokio::test]
    async fn large_body_without_a_turn_is_refused() {
        let receiver = receiver(ReceiveSettings {
            body_deadline: Duration::from_millis(20),
            ..ReceiveSettings::default()
        });
        let turns = all_turns_of_large_bodies(&receiver).await;
        let large = empty_messages(PROTOBUF, 1 << 20);
        let refused = post(&receiver, PROTOBUF, &large).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
        let small = post(&receiver, PROTOBUF, &empty_messages(PROTOBUF, 1000)).await;
        assert_eq!(small.status(), StatusCode::OK);
        drop(turns);
        assert_eq!(
            post(&receiver, PROTOBUF, &large).await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn small_body_without_a_turn_is_refused() {
        let receiver = receiver(ReceiveSettings {
            body_deadline: Duration::from_millis(20),
            ..ReceiveSettings::default()
        });
        let content = empty_messages(PROTOBUF, 1000);
        let turn = receiver.small_bodies().acquire().await.unwrap();
        let refused = post(&receiver, PROTOBUF, &content).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(turn);
        let accepted = post(&receiver, PROTOBUF, &content).await;
        assert_eq!(accepted.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn connections_take_turns() {
        let receiver = receiver(ReceiveSettings::default());
        let turn = receiver.small_bodies().acquire().await.unwrap();
        let (busy, other) = (ConnectionTurn::default(), ConnectionTurn::default());
        let mut accepting = JoinSet::new();
        for (connection, is_other) in [
            (&busy, false),
            (&busy, false),
            (&busy, false),
            (&other, true),
        ] {
            let content = Content {
                bytes: empty_messages(PROTOBUF, 1000).into(),
                compression: spoor_runtime::Compression::Identity,
                encoding: Encoding::Protobuf,
                connection: connection.clone(),
            };
            let receiver = receiver.clone();
            accepting.spawn(async move {
                let reservation = receiver.memory().reservation();
                content.accept(&receiver, reservation).await.unwrap();
                is_other
            });
        }
        tokio::task::yield_now().await;
        drop(turn);
        let mut order = vec![];
        while let Some(is_other) = accepting.join_next().await {
            order.push(is_other.unwrap());
        }
        assert_eq!(order, [false, true, false, false]);
    }

    #[tokio::test]
    async fn one_large_body_of_a_connection_waits() {
        let receiver = receiver(ReceiveSettings::default());
        let turns = all_turns_of_large_bodies(&receiver).await;
        let large = Bytes::from(empty_messages(PROTOBUF, 1 << 20));
        let accept = |connection: &ConnectionTurn| {
            let content = Content {
                bytes: large.clone(),
                compression: spoor_runtime::Compression::Identity,
                encoding: Encoding::Protobuf,
                connection: connection.clone(),
            };
            let receiver = receiver.clone();
            async move {
                let reservation = receiver.memory().reservation();
                content.accept(&receiver, reservation).await
            }
        };
        let (busy, other) = (ConnectionTurn::default(), ConnectionTurn::default());
        let mut waiting = JoinSet::new();
        for _ in 0..=MAX_WAITING {
            waiting.spawn(accept(&busy));
        }
        // The runtime polls 61 tasks at a time.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let mut other = pin!(accept(&other));
        tokio::select! {
            biased;
            _ = &mut other => panic!("one connection has all places"),
            () = ready(()) => {}
        }
        drop((waiting, turns));
        assert!(other.await.is_ok());
    }

    #[tokio::test]
    async fn disconnect_ends_the_work_on_a_body() {
        let receiver = receiver(ReceiveSettings::default());
        let content = empty_messages(PROTOBUF, 8 << 20);
        {
            let mut large = pin!(post(&receiver, PROTOBUF, &content));
            tokio::select! {
                biased;
                _ = &mut large => panic!("the large body was read on the worker thread"),
                () = ready(()) => {}
            }
        }
        // All turns and all memory are released.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut turns = Vec::new();
        for _ in 0..MAX_CONCURRENT_LARGE_BODIES {
            turns.push(receiver.large_bodies().next(deadline).await.unwrap());
        }
        let max = receiver.settings().max_receiving_bytes;
        assert_eq!(receiver.memory().reservation().grow(max), Ok(()));
    }
}
