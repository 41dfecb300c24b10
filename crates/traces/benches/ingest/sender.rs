//! Sends requests over a few connections, as fast as the server accepts them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use crate::request::{Request, SPANS};

const CONNECTIONS: usize = 4;

/// Sends a number of spans; returns the spans accepted per second.
pub fn send(port: u16, request: &mut Request, spans: u64) -> f64 {
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection"))
        .collect();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        request.body().len()
    );
    let started = Instant::now();
    let mut message = Vec::new();
    let mut sent = 0;
    let mut waiting = 0;
    while sent < spans || waiting > 0 {
        for connection in &mut connections {
            if waiting == CONNECTIONS || (sent >= spans && waiting > 0) {
                receive(connection);
                waiting -= 1;
            }
            if sent < spans {
                message.clear();
                message.extend_from_slice(head.as_bytes());
                message.extend_from_slice(request.renew());
                connection.write_all(&message).expect("to send");
                sent += SPANS;
                waiting += 1;
            }
        }
    }
    sent as f64 / started.elapsed().as_secs_f64()
}

fn receive(connection: &mut TcpStream) {
    let mut response = [0; 512];
    let count = connection.read(&mut response).expect("a response");
    assert!(
        response[..count].starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&response[..count])
    );
}
