//! Issues the certificate authority and the server's certificate.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use xxhash_rust::xxh3::xxh3_64;

/// The time by which clients' clocks may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A certificate and its private key, in PEM. Without `Debug`, so that the key is never logged.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The end of its validity.
    pub not_after: Timestamp,
}

/// Issues a certificate authority.
///
/// # Errors
/// The system has no source of randomness, or the time cannot be encoded.
pub fn authority(now: Timestamp, life: Duration) -> Result<Issued, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = authority_parameters(&key)?;
    let not_after = set_validity(&mut parameters, now, life);
    let certificate = parameters.self_signed(&key)?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        not_after,
    })
}

/// Issues a server's certificate for these DNS names, signed by the authority with this key.
///
/// # Errors
/// The key cannot be read, or a name is not a DNS name.
pub fn server(
    authority_key: &str,
    names: &[String],
    now: Timestamp,
    life: Duration,
) -> Result<Issued, rcgen::Error> {
    let authority_key = KeyPair::from_pem(authority_key)?;
    let issuer = Issuer::new(authority_parameters(&authority_key)?, authority_key);
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(names.to_vec())?;
    let common = names.first().map_or("spoor", String::as_str);
    // A common name has at most 64 characters; clients check the alternative names only.
    parameters.distinguished_name = named(common.get(..64).unwrap_or(common));
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    let not_after = set_validity(&mut parameters, now, life);
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        not_after,
    })
}

/// Derives the authority's parameters. They are the same for the same key, so the key alone is
/// enough to sign.
fn authority_parameters(key: &KeyPair) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(vec![])?;
    // A different name for each key: a client that trusts two authorities with the same name may
    // try only the first.
    let id = xxh3_64(&key.subject_public_key_info());
    parameters.distinguished_name = named(&format!("spoor.dev {id:016x}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(parameters)
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Sets the period of validity. Returns its end.
fn set_validity(parameters: &mut CertificateParams, now: Timestamp, life: Duration) -> Timestamp {
    let now = u64::try_from(now.as_second()).unwrap_or_default();
    let begins = now.saturating_sub(CLOCK_SKEW.as_secs());
    let ends = now.saturating_add(life.as_secs());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(begins);
    parameters.not_after = epoch + Duration::from_secs(ends);
    let ends = i64::try_from(ends).unwrap_or(i64::MAX);
    Timestamp::from_second(ends).unwrap_or(Timestamp::MAX)
}
