//! The second process: clients that acknowledge every plan immediately.
//!
//! They do as little as possible, so that the benchmark measures the control plane.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, StreamBody};
use hyper::{Request, body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::{
    Message,
    bytes::{Buf, BufMut, Bytes, BytesMut},
};
use spoor_proto::spoor::control::v1::{
    Acknowledgement, ClientMessage, Hello, ServerMessage, client_message, server_message,
};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::Result;

/// The most connections that are opened at a time.
const MAX_OPENING_CONNECTIONS: usize = 64;

/// The most acknowledgements that wait to be sent.
const MAX_OUTGOING_MESSAGES: usize = 16;

/// The length of a gRPC message's prefix: a flag for compression, and the message's length.
const PREFIX_BYTES: usize = 5;

pub fn run(address: SocketAddr, count: usize) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(subscribe_all(address, count))
}

async fn subscribe_all(address: SocketAddr, count: usize) -> Result<()> {
    let opening = Arc::new(Semaphore::new(MAX_OPENING_CONNECTIONS));
    let mut subscribers = JoinSet::new();
    for number in 0..count {
        let permit = opening.clone().acquire_owned().await?;
        subscribers.spawn(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let (outgoing, messages) = mpsc::channel(MAX_OUTGOING_MESSAGES);
            outgoing.send(hello(number)).await?;
            let body = ReceiverStream::new(messages)
                .map(|message| Ok::<_, std::convert::Infallible>(Frame::data(message)));
            let request = Request::post(format!(
                "http://{address}/spoor.control.v1.PolicyStream/Subscribe"
            ))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(StreamBody::new(body))?;
            let mut pushes = sender.send_request(request).await?.into_body();
            drop(permit);
            let mut received = BytesMut::new();
            while let Some(frame) = pushes.frame().await {
                let Ok(data) = frame?.into_data() else { break };
                received.extend_from_slice(&data);
                while let Some(message) = next_message(&mut received)? {
                    if let Some(server_message::Message::Plan(plan)) = message.message {
                        let acknowledgement = Acknowledgement {
                            version: plan.version,
                        };
                        outgoing
                            .send(encoded(client_message::Message::Acknowledgement(
                                acknowledgement,
                            )))
                            .await?;
                    }
                }
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = subscribers.join_next().await {
        if let Err(error) = ended? {
            eprintln!("subscriber failed: {error}");
        }
    }
    Ok(())
}

fn next_message(received: &mut BytesMut) -> Result<Option<ServerMessage>> {
    let Some(mut prefix) = received.get(1..PREFIX_BYTES) else {
        return Ok(None);
    };
    let length = prefix.get_u32() as usize;
    if received.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    received.advance(PREFIX_BYTES);
    Ok(Some(ServerMessage::decode(received.split_to(length))?))
}

fn hello(number: usize) -> Bytes {
    encoded(client_message::Message::Hello(Hello {
        service: "subscriber".to_owned(),
        instance: number.to_string(),
        ..Hello::default()
    }))
}

fn encoded(message: client_message::Message) -> Bytes {
    let message = ClientMessage {
        message: Some(message),
    };
    let mut encoded = BytesMut::new();
    encoded.put_u8(0);
    encoded.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    encoded.put_slice(&message.encode_to_vec());
    encoded.freeze()
}
