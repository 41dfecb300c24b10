//! Valid HTTP/2 with hostile intent: requests that never end, and on one connection thousands of
//! frames that cost their sender almost nothing.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    connection::{Connection, DEADLINE},
    descriptors::H2_PREFACE,
    listeners,
};
use crate::lab::Lab;

/// A listener's own limits.
const MAX_STREAMS_PER_CONNECTION: u32 = 128;
const MAX_REQUESTS: u32 = 4_000;
/// The longest time for a response, which takes a few milliseconds on an idle machine.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(5);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// The most parts of a flood, each of one or two frames. The server must close the connection before
/// all are sent.
const MAX_FLOOD_PARTS: u32 = 400_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// The headers of a gRPC call whose body is never sent.
fn unfinished_call(number: u32) -> Vec<u8> {
    call_headers(number, END_HEADERS)
}

fn call_headers(number: u32, flags: u8) -> Vec<u8> {
    const PATH: &[u8] = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    // POST and http by index, and three literals whose names are in HPACK's static table.
    let mut head = vec![0x83, 0x86, 0x04, PATH.len() as u8];
    head.extend(PATH);
    head.extend(b"\x01\x09localhost\x0f\x10\x10application/grpc");
    frame(HEADERS, flags, 2 * number + 1, &head)
}

/// Begins calls, and returns the connection with the number that are still open once the server has
/// read them all, or 0 if the server closed the connection.
async fn begin_calls(lab: &Lab, count: u32) -> (TcpStream, u32) {
    let to = listeners::address(lab.url("otlp-grpc"));
    let mut connection = TcpStream::connect(to).await.unwrap();
    let (reading, mut writing) = connection.split();
    let sending = async {
        let calls = (0..count).flat_map(unfinished_call);
        let all: Vec<u8> = H2_PREFACE.iter().copied().chain(calls).collect();
        // The server may close the connection meanwhile.
        let _ = writing.write_all(&all).await;
        let _ = writing.write_all(&frame(PING, 0, 0, &[7; 8])).await;
    };
    let mut reading = BufReader::new(reading);
    let receiving = async {
        let mut open = count;
        loop {
            let mut head = [0; 9];
            if reading.read_exact(&mut head).await.is_err() {
                return 0;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if reading.read_exact(&mut payload).await.is_err() {
                return 0;
            }
            match head[3] {
                RST_STREAM => open -= 1,
                GOAWAY => return 0,
                PING if head[4] == 1 => return open,
                _ => {}
            }
        }
    };
    let both = async { tokio::join!(sending, receiving).1 };
    let open = timeout(DEADLINE, both).await.unwrap();
    (connection, open)
}

async fn assert_others_respond(lab: &Lab) {
    for name in ["otlp-grpc", "otlp-http", "sampling-grpc", "traces", "admin"] {
        let started = Instant::now();
        let response = reqwest::get(lab.url(name)).await.unwrap();
        let took = started.elapsed();
        assert!(response.status().as_u16() < 500, "{name}: {response:?}");
        assert!(took < MAX_RESPONSE_TIME, "{name} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_streams_are_bounded() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let (_one, open) = begin_calls(&lab, 10_000).await;
    assert!(open <= MAX_STREAMS_PER_CONNECTION, "{open}");
    assert_others_respond(&lab).await;
    // Together, the connections fill the listener.
    let mut all = Vec::new();
    for _ in 0..=MAX_REQUESTS / MAX_STREAMS_PER_CONNECTION {
        all.push(begin_calls(&lab, MAX_STREAMS_PER_CONNECTION).await);
    }
    assert_others_respond(&lab).await;
}

/// The part of a flood with this number.
type Flood = fn(u32) -> Vec<u8>;

const FLOODS: [(&str, Flood); 5] = [
    ("endless headers", |number| match number {
        0 => call_headers(0, 0),
        _ => frame(CONTINUATION, 0, 1, b"\0\x01a\x01b"),
    }),
    ("empty CONTINUATION frames", |number| match number {
        0 => call_headers(0, 0),
        _ => frame(CONTINUATION, 0, 1, b""),
    }),
    ("empty DATA frames", |number| match number {
        0 => unfinished_call(0),
        _ => frame(DATA, 0, 1, b""),
    }),
    // CVE-2023-44487.
    ("cancelled calls", |number| {
        let reset = frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]);
        [unfinished_call(number), reset].concat()
    }),
    // CVE-2025-8671: an increment of zero makes the server reset the stream.
    ("calls that the server resets", |number| {
        let update = frame(WINDOW_UPDATE, 0, 2 * number + 1, &[0; 4]);
        [unfinished_call(number), update].concat()
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_their_connection() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    for (what, flood) in FLOODS {
        let mut connection = Connection::to(listeners::address(lab.url("otlp-grpc"))).await;
        connection.send(H2_PREFACE).await;
        let mut is_open = true;
        let mut sent = 0;
        while is_open && sent < MAX_FLOOD_PARTS {
            let some: Vec<u8> = (sent..sent + 100).flat_map(flood).collect();
            is_open = connection.send(&some).await;
            sent += 100;
        }
        assert!(!is_open, "{what}: all {sent} parts were accepted");
        assert_others_respond(&lab).await;
    }
}
