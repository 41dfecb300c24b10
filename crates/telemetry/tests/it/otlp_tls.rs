//! The exporters over TLS, with a certificate that the system does not trust.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rstest::rstest;
use spoor_telemetry::Telemetry;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use crate::{
    fake::{DEADLINE, settings},
    otlp::{Receiver, grpc, http, make, telemetry},
};

/// Terminates TLS in front of a receiver.
async fn tls(receiver: SocketAddr, certificate: &CertifiedKey<KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate disconnects.
                let Ok(mut inner) = acceptor.accept(stream).await else {
                    return;
                };
                let mut plain = TcpStream::connect(receiver).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inner, &mut plain).await;
            });
        }
    });
    address
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn file(folder: &TempDir, content: &str) -> String {
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn trusts_the_named_certificate() {
    for protocol in ["grpc", "http/protobuf"] {
        let (receiver, certificate) = (Receiver::default(), certificate());
        let plain = match protocol {
            "grpc" => grpc(receiver.clone()).await,
            _ => http(receiver.clone()).await,
        };
        let port = tls(plain, &certificate).await.port();
        let folder = TempDir::new().unwrap();
        let path = file(&folder, &certificate.cert.pem());
        let endpoint = format!("https://localhost:{port}/base");
        let more = [("OTEL_EXPORTER_OTLP_CERTIFICATE", path.as_str())];
        let telemetry = telemetry(&endpoint, protocol, &more);
        make(&telemetry, 3);
        let drained = telemetry.shutdown(DEADLINE).await;
        assert_eq!((drained.exported, drained.dropped), (3, 0), "{protocol}");
        assert_eq!(receiver.spans(), 3, "{protocol}");
    }
}

#[rstest]
#[case::grpc("grpc")]
#[case::http("http/protobuf")]
#[tokio::test]
async fn file_without_a_certificate_is_named(#[case] protocol: &str) {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("none").display().to_string();
    for path in [missing, file(&folder, "nonsense")] {
        let started = Telemetry::local(settings(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &path),
        ]));
        let error = started.unwrap_err().to_string();
        let names_it =
            error.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: ") && error.contains(&path);
        assert!(names_it, "{error}");
    }
}
