//! Certificates as Secrets keep them, and when they are due.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use xxhash_rust::xxh3::xxh3_128;

use super::issue::{self, Issued};

/// When the certificate ends.
const NOT_AFTER: &str = "spoor.dev/not-after";
/// When it is due to be replaced.
const RENEW_AT: &str = "spoor.dev/renew-at";
/// For whom it is.
const NAMES: &str = "spoor.dev/names";
/// Stands for the authority's certificate that signed it.
const SIGNED_BY: &str = "spoor.dev/signed-by";

const END: &str = "-----END CERTIFICATE-----";

/// How long certificates hold; they are replaced after two thirds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// The authority's.
    pub authority: Duration,
    /// The doors'.
    pub doors: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            authority: 3650 * DAY,
            doors: 90 * DAY,
        }
    }
}

/// A kind of Secret: where the certificate and its key are in it.
struct Form {
    certificate: &'static str,
    key: &'static str,
}

const AUTHORITY: Form = Form {
    certificate: "ca.crt",
    key: "ca.key",
};
const DOORS: Form = Form {
    certificate: "tls.crt",
    key: "tls.key",
};

/// What is in a Secret.
struct Kept {
    certificate: String,
    key: String,
    annotations: BTreeMap<String, String>,
}

/// Whether a Secret has something that was not made here; it is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Secret \"{0}\" holds something that Spoor didn't put there: delete it or rename it")]
pub struct Foreign(pub String);

/// Whether to write a Secret, and the one that holds then.
pub struct Decided {
    /// The Secret to apply, if what is there isn't right.
    pub write: Option<Secret>,
    /// The certificates in it.
    pub certificates: String,
    /// The key in it.
    pub key: String,
    /// When it is due.
    pub renew_at: Timestamp,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The Secret is somebody else's.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// It can't be made.
    #[error("can't make a certificate")]
    Make(#[from] rcgen::Error),
}

/// The authority that holds at this time. One that is due stays trusted beside its successor until
/// it ends, so that nobody is cut off meanwhile.
///
/// # Errors
/// [`DecideError`].
pub fn authority(
    name: &str,
    found: Option<&Secret>,
    now: Timestamp,
    life: Duration,
) -> Result<Decided, DecideError> {
    let kept = kept(name, found, &AUTHORITY)?;
    if let Some(kept) = kept.as_ref()
        && let Some(decided) = kept.still_holds(now)
    {
        return Ok(decided);
    }
    let issued = issue::authority(now, life)?;
    let before = kept
        .as_ref()
        .filter(|kept| kept.time(NOT_AFTER).is_some_and(|end| end > now))
        .and_then(|kept| certificates(&kept.certificate).next());
    let bundle = [issued.certificate.as_str(), before.unwrap_or_default()].concat();
    Ok(write(
        name,
        &AUTHORITY,
        issued,
        bundle,
        BTreeMap::new(),
        now,
        life,
    ))
}

/// The doors' certificate that holds at this time.
///
/// # Errors
/// [`DecideError`].
pub fn doors(
    name: &str,
    found: Option<&Secret>,
    names: &[String],
    authority: &Decided,
    now: Timestamp,
    life: Duration,
) -> Result<Decided, DecideError> {
    let kept = kept(name, found, &DOORS)?;
    let joined = names.join(",");
    if let Some(kept) = kept.as_ref()
        && kept.annotations.get(NAMES) == Some(&joined)
        && kept.annotations.get(SIGNED_BY).is_some_and(|signer| {
            certificates(&authority.certificates).any(|trusted| *signer == mark(trusted))
        })
        && let Some(decided) = kept.still_holds(now)
    {
        return Ok(decided);
    }
    let issued = issue::server(&authority.key, names, now, life)?;
    let signer = certificates(&authority.certificates).next().map(mark);
    let mut annotations = BTreeMap::from([(NAMES.to_owned(), joined)]);
    annotations.extend(signer.map(|signer| (SIGNED_BY.to_owned(), signer)));
    let certificate = issued.certificate.clone();
    Ok(write(
        name,
        &DOORS,
        issued,
        certificate,
        annotations,
        now,
        life,
    ))
}

fn kept(name: &str, found: Option<&Secret>, form: &Form) -> Result<Option<Kept>, Foreign> {
    let Some(secret) = found else {
        return Ok(None);
    };
    let data = secret.data.as_ref();
    let text = |key: &str| {
        let bytes = data?.get(key)?;
        (!bytes.0.is_empty()).then(|| String::from_utf8_lossy(&bytes.0).into_owned())
    };
    let annotations = secret.metadata.annotations.clone().unwrap_or_default();
    match (text(form.certificate), text(form.key)) {
        (None, None) => Ok(None),
        // One of them alone is of no use, whoever's it is.
        (certificate, key) if annotations.contains_key(RENEW_AT) => {
            Ok(certificate.zip(key).map(|(certificate, key)| Kept {
                certificate,
                key,
                annotations,
            }))
        }
        _ => Err(Foreign(name.to_owned())),
    }
}

impl Kept {
    fn time(&self, annotation: &str) -> Option<Timestamp> {
        self.annotations.get(annotation)?.parse().ok()
    }

    fn still_holds(&self, now: Timestamp) -> Option<Decided> {
        let renew_at = self.time(RENEW_AT).filter(|renew_at| now < *renew_at)?;
        let is_whole = certificates(&self.certificate).next().is_some()
            && rcgen::KeyPair::from_pem(&self.key).is_ok();
        is_whole.then(|| Decided {
            write: None,
            certificates: self.certificate.clone(),
            key: self.key.clone(),
            renew_at,
        })
    }
}

fn write(
    name: &str,
    form: &Form,
    issued: Issued,
    certificates: String,
    mut annotations: BTreeMap<String, String>,
    now: Timestamp,
    life: Duration,
) -> Decided {
    let two_thirds = SignedDuration::try_from(life / 3 * 2).unwrap_or(SignedDuration::MAX);
    let renew_at = now.saturating_add(two_thirds).unwrap_or(issued.not_after);
    annotations.insert(NOT_AFTER.to_owned(), issued.not_after.to_string());
    annotations.insert(RENEW_AT.to_owned(), renew_at.to_string());
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(annotations),
            // No labels: the Secret itself, and how it is labelled, is the chart's.
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            (form.certificate.to_owned(), bytes(&certificates)),
            (form.key.to_owned(), bytes(&issued.key)),
        ])),
        ..Secret::default()
    };
    Decided {
        write: Some(secret),
        certificates,
        key: issued.key,
        renew_at,
    }
}

/// The certificates of a bundle, one by one.
fn certificates(bundle: &str) -> impl Iterator<Item = &str> {
    bundle
        .split_inclusive(END)
        .filter(|part| part.ends_with(END))
        .map(str::trim_start)
}

fn mark(certificate: &str) -> String {
    format!("{:032x}", xxh3_128(certificate.trim().as_bytes()))
}
