//! Compressed requests.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use reqwest::StatusCode;
use rstest::rstest;
use spoor_traces::PipelineSettings;

use super::{compressed_frame, grpc_with, gzip, id, request};
use crate::{receiver::Receiver, spans::a_to_b};

#[rstest]
#[case::gzip("gzip", gzip as fn(&[u8]) -> Vec<u8>)]
#[case::deflate("deflate", deflate)]
#[case::zstd("zstd", zstd)]
#[tokio::test]
async fn accepts_compressed_bodies(#[case] name: &str, #[case] compress: fn(&[u8]) -> Vec<u8>) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let body = compress(&request(a_to_b(1, 1_000, 300, true)));
    let sent = receiver.post(body).header("content-encoding", name).send();
    assert_eq!(sent.await.unwrap().status(), StatusCode::OK);
    let body = compress(&request(a_to_b(2, 1_000, 300, true)));
    let response = grpc_with(&receiver, compressed_frame(&body), name).await;
    assert!(!response.contains_key("grpc-status"), "{response:?}");
    assert!(receiver.pipeline.store().trace(id(1)).is_some());
    assert!(receiver.pipeline.store().trace(id(2)).is_some());
    let bomb = compress(&vec![0; 17 << 20]);
    let sent = receiver.post(bomb).header("content-encoding", name).send();
    assert_eq!(sent.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let sent = receiver.post(vec![7; 100]).header("content-encoding", name);
    assert_eq!(sent.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

/// An encoder that is configured for this window uses it for a body of any length.
#[tokio::test]
async fn accepts_a_small_body_with_a_window_of_16_mib() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let content = request(a_to_b(1, 1_000, 300, true));
    // The last block of the frame, without compression.
    let header = u32::try_from(content.len() << 3 | 1).unwrap().to_le_bytes();
    let start = [0x28, 0xb5, 0x2f, 0xfd, 0, (24 - 10) << 3];
    let body = [&start, &header[..3], &content].concat();
    let sent = receiver.post(body).header("content-encoding", "zstd");
    assert_eq!(sent.send().await.unwrap().status(), StatusCode::OK);
    assert!(receiver.pipeline.store().trace(id(1)).is_some());
}

#[tokio::test]
async fn refusal_lists_the_accepted_encodings() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let sent = receiver.post(vec![7]).header("content-encoding", "snappy");
    let response = sent.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(response.headers()["accept-encoding"], "gzip, deflate, zstd");
    let response = grpc_with(&receiver, compressed_frame(&[7]), "snappy").await;
    assert_eq!(response["grpc-status"], "12");
    assert_eq!(response["grpc-accept-encoding"], "gzip, deflate, zstd");
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}
