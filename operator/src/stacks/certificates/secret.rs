//! Certificates as they are stored in Secrets, and the time of their renewal.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use xxhash_rust::xxh3::xxh3_128;

use super::issue::{self, Issued};

/// The annotation with the end of the certificate's validity.
const NOT_AFTER: &str = "spoor.dev/not-after";
/// The annotation with the time of its renewal.
const RENEW_AT: &str = "spoor.dev/renew-at";
/// The annotation with the names it is valid for.
const NAMES: &str = "spoor.dev/names";
/// The annotation with a fingerprint of the authority's certificate that signed it.
const SIGNED_BY: &str = "spoor.dev/signed-by";

/// The last line of a certificate in PEM.
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";

/// The lifetimes of certificates. A certificate is renewed after two thirds of its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateLifetimes {
    /// The lifetime of the authority's certificate.
    pub authority: Duration,
    /// The lifetime of the server's certificate.
    pub server: Duration,
}

impl Default for CertificateLifetimes {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            authority: 3650 * DAY,
            server: 90 * DAY,
        }
    }
}

/// The keys of a Secret that hold the certificate and its private key.
type SecretKeys = [&'static str; 2];

const AUTHORITY_KEYS: SecretKeys = ["ca.crt", "ca.key"];
const SERVER_KEYS: SecretKeys = ["tls.crt", "tls.key"];

/// The content of a Secret.
struct StoredCertificate {
    certificate: String,
    key: String,
    annotations: BTreeMap<String, String>,
}

/// A valid certificate, and the Secret to write if the certificate is new.
pub struct CertificateState {
    /// The Secret to apply, if the certificate has just been issued.
    pub write: Option<Secret>,
    /// The certificates in it.
    pub certificates: String,
    /// The private key in it.
    pub key: String,
    /// The time of its renewal.
    pub renew_at: Timestamp,
}

/// The reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The Secret holds something else. It is left as it is.
    #[error("Secret \"{0}\" was not created by Spoor; delete it or recreate it under another name")]
    ForeignSecret(String),
    /// The certificate cannot be issued.
    #[error("cannot issue a certificate")]
    Generate(#[from] rcgen::Error),
}

/// The authority that is valid at this time. One that is due for renewal stays trusted alongside
/// its successor until it expires, so that no client is cut off.
///
/// # Errors
/// [`IssueError`].
pub fn authority(
    name: &str,
    found: Option<&Secret>,
    now: Timestamp,
    life: Duration,
) -> Result<CertificateState, IssueError> {
    let stored = stored(name, found, AUTHORITY_KEYS)?;
    if let Some(valid) = stored.as_ref().and_then(|stored| stored.valid_at(now)) {
        return Ok(valid);
    }
    let mut issued = issue::authority(now, life)?;
    let before = stored
        .as_ref()
        .filter(|stored| stored.time(NOT_AFTER).is_some_and(|end| end > now))
        .and_then(|stored| certificates(&stored.certificate).next());
    // The new certificate comes first, since the first one signs.
    issued.certificate.push_str(before.unwrap_or_default());
    let state = issued_state(name, AUTHORITY_KEYS, issued, BTreeMap::new(), now, life);
    Ok(state)
}

/// The server's certificate that is valid at this time.
///
/// # Errors
/// [`IssueError`].
pub fn server(
    name: &str,
    found: Option<&Secret>,
    names: &[String],
    authority: &CertificateState,
    now: Timestamp,
    life: Duration,
) -> Result<CertificateState, IssueError> {
    let stored = stored(name, found, SERVER_KEYS)?;
    let joined = names.join(",");
    if let Some(stored) = stored.as_ref()
        && stored.annotations.get(NAMES) == Some(&joined)
        && stored.annotations.get(SIGNED_BY).is_some_and(|signer| {
            certificates(&authority.certificates).any(|trusted| *signer == fingerprint(trusted))
        })
        && let Some(valid) = stored.valid_at(now)
    {
        return Ok(valid);
    }
    let issued = issue::server(&authority.key, names, now, life)?;
    let signer = certificates(&authority.certificates).next();
    let signer = signer.map(|signer| (SIGNED_BY.to_owned(), fingerprint(signer)));
    let mut annotations = BTreeMap::from([(NAMES.to_owned(), joined)]);
    annotations.extend(signer);
    let state = issued_state(name, SERVER_KEYS, issued, annotations, now, life);
    Ok(state)
}

fn stored(
    name: &str,
    found: Option<&Secret>,
    keys: SecretKeys,
) -> Result<Option<StoredCertificate>, IssueError> {
    let Some(secret) = found else {
        return Ok(None);
    };
    let data = secret.data.as_ref();
    let text = |key: &str| {
        let bytes = data?.get(key)?;
        (!bytes.0.is_empty()).then(|| String::from_utf8_lossy(&bytes.0).into_owned())
    };
    let annotations = secret.metadata.annotations.clone().unwrap_or_default();
    match keys.map(text) {
        [None, None] => Ok(None),
        // The annotation distinguishes the operator's own certificate from a foreign one.
        _ if !annotations.contains_key(RENEW_AT) => Err(IssueError::ForeignSecret(name.to_owned())),
        [Some(certificate), Some(key)] => Ok(Some(StoredCertificate {
            certificate,
            key,
            annotations,
        })),
        // A certificate without its key is of no use, nor is a key without its certificate.
        _ => Ok(None),
    }
}

impl StoredCertificate {
    fn time(&self, annotation: &str) -> Option<Timestamp> {
        self.annotations.get(annotation)?.parse().ok()
    }

    fn valid_at(&self, now: Timestamp) -> Option<CertificateState> {
        let renew_at = self.time(RENEW_AT).filter(|renew_at| now < *renew_at)?;
        let is_usable = certificates(&self.certificate).next().is_some()
            && rcgen::KeyPair::from_pem(&self.key).is_ok();
        is_usable.then(|| CertificateState {
            write: None,
            certificates: self.certificate.clone(),
            key: self.key.clone(),
            renew_at,
        })
    }
}

fn issued_state(
    name: &str,
    [certificate_key, private_key]: SecretKeys,
    issued: Issued,
    mut annotations: BTreeMap<String, String>,
    now: Timestamp,
    life: Duration,
) -> CertificateState {
    let two_thirds = SignedDuration::try_from(life / 3 * 2).unwrap_or(SignedDuration::MAX);
    let renew_at = now.saturating_add(two_thirds).unwrap_or(issued.not_after);
    annotations.insert(NOT_AFTER.to_owned(), issued.not_after.to_string());
    annotations.insert(RENEW_AT.to_owned(), renew_at.to_string());
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(annotations),
            // No labels: the chart owns the Secret and its labels.
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            (certificate_key.to_owned(), bytes(&issued.certificate)),
            (private_key.to_owned(), bytes(&issued.key)),
        ])),
        ..Secret::default()
    };
    CertificateState {
        write: Some(secret),
        certificates: issued.certificate,
        key: issued.key,
        renew_at,
    }
}

/// Splits a bundle into its certificates.
fn certificates(bundle: &str) -> impl Iterator<Item = &str> {
    bundle
        .split_inclusive(CERTIFICATE_END)
        .filter(|part| part.ends_with(CERTIFICATE_END))
        .map(str::trim_start)
}

fn fingerprint(certificate: &str) -> String {
    format!("{:032x}", xxh3_128(certificate.trim().as_bytes()))
}
