#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::secret::{self, CertificateLifetimes, CertificateState, IssueError};

const NAME: &str = "spoor-policies.spoor.svc";

fn names() -> Vec<String> {
    vec![NAME.to_owned(), format!("{NAME}.cluster.local")]
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now + SignedDuration::try_from(by).unwrap()
}

fn first(now: Timestamp) -> (CertificateState, CertificateState) {
    let lifetimes = CertificateLifetimes::default();
    let authority = secret::authority("ca", None, now, lifetimes.authority).unwrap();
    let server =
        secret::server("server", None, &names(), &authority, now, lifetimes.server).unwrap();
    (authority, server)
}

/// Returns success if a client that trusts `authority` accepts a server with this certificate.
fn handshake(authority: &str, server: &CertificateState, name: &str) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let chain = CertificateDer::pem_slice_iter(server.certificates.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(config))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut sent = vec![];
        client.write_tls(&mut sent).unwrap();
        server.read_tls(&mut sent.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut sent = vec![];
        server.write_tls(&mut sent).unwrap();
        client.read_tls(&mut sent.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn clients_accept_the_server_by_its_names_only() {
    let (authority, server) = first(Timestamp::now());
    handshake(&authority.certificates, &server, NAME).unwrap();
    handshake(
        &authority.certificates,
        &server,
        &format!("{NAME}.cluster.local"),
    )
    .unwrap();
    assert!(handshake(&authority.certificates, &server, "elsewhere.spoor.svc").is_err());
    let (stranger, _) = first(Timestamp::now());
    assert!(handshake(&stranger.certificates, &server, NAME).is_err());
}

#[test]
fn renews_after_two_thirds_of_the_lifetime() {
    let now = Timestamp::now();
    let (authority, server) = first(now);
    let (ca, tls) = (authority.write.unwrap(), server.write.unwrap());
    let life = CertificateLifetimes::default().server;
    for (age, is_due) in [
        (life / 2, false),
        (life / 3 * 2 + Duration::from_secs(1), true),
    ] {
        let now = later(now, age);
        let authority = secret::authority(
            "ca",
            Some(&ca),
            now,
            CertificateLifetimes::default().authority,
        )
        .unwrap();
        assert!(authority.write.is_none());
        let again = secret::server("server", Some(&tls), &names(), &authority, now, life).unwrap();
        assert_eq!(again.write.is_some(), is_due, "after {age:?}");
    }
}

#[test]
fn new_authority_keeps_the_old_one_trusted() {
    let lifetimes = CertificateLifetimes::default();
    let now = Timestamp::now();
    let (authority, _) = first(now);
    let ca = authority.write.as_ref().unwrap();
    // The server's certificate is new when the authority is due for renewal.
    let due = later(now, lifetimes.authority / 3 * 2);
    let before = later(due, Duration::ZERO) - SignedDuration::from_hours(24);
    let server = secret::server(
        "server",
        None,
        &names(),
        &authority,
        before,
        lifetimes.server,
    )
    .unwrap();
    let new = secret::authority("ca", Some(ca), due, lifetimes.authority).unwrap();
    assert!(new.write.is_some());
    assert_ne!(new.key, authority.key);
    assert!(new.certificates.contains(authority.certificates.trim()));
    let tls = server.write.unwrap();
    let stored =
        secret::server("server", Some(&tls), &names(), &new, due, lifetimes.server).unwrap();
    assert!(
        stored.write.is_none(),
        "clients may not trust the new authority yet"
    );
    // The authority after that no longer includes the first.
    let again = new.write.as_ref().unwrap();
    let third = later(due, lifetimes.authority / 3 * 2);
    let third = secret::authority("ca", Some(again), third, lifetimes.authority).unwrap();
    assert!(!third.certificates.contains(authority.certificates.trim()));
}

#[test]
fn new_names_or_authority_need_a_new_certificate() {
    let now = Timestamp::now();
    let life = CertificateLifetimes::default().server;
    let (authority, server) = first(now);
    let tls = server.write.unwrap();
    let other = vec!["other.spoor.svc".to_owned()];
    let renamed = secret::server("server", Some(&tls), &other, &authority, now, life).unwrap();
    handshake(&authority.certificates, &renamed, "other.spoor.svc").unwrap();
    let (stranger, _) = first(now);
    let signed = secret::server("server", Some(&tls), &names(), &stranger, now, life).unwrap();
    assert!(signed.write.is_some());
    handshake(&stranger.certificates, &signed, NAME).unwrap();
}

#[test]
fn fills_empty_secrets_and_leaves_foreign_ones() {
    let now = Timestamp::now();
    let life = CertificateLifetimes::default().authority;
    let mut secret = Secret::default();
    assert!(
        secret::authority("ca", Some(&secret), now, life)
            .unwrap()
            .write
            .is_some()
    );
    let data = [("ca.crt", "theirs"), ("ca.key", "theirs")];
    let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
    secret.data = Some(data.into());
    let refused = secret::authority("ca", Some(&secret), now, life)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(refused, IssueError::ForeignSecret(_)));
    assert_eq!(
        refused.to_string(),
        "Secret \"ca\" was not created by Spoor; delete it or recreate it under another name"
    );
}
