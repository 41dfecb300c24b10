//! Authentication between the control plane and this process.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::io::AsyncReadExt;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

/// The most bytes read from a file, far more than a certificate or a token has.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The files that secure the stream. Both are read for each connection, since they are replaced
/// while the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The CA certificates for the control plane, as PEM. If unset, the system's.
    pub ca_file: Option<PathBuf>,
    /// The token that identifies this process. It is sent over TLS only.
    pub token_file: Option<PathBuf>,
}

/// A failure to secure the connection.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file contains no certificate.
    #[error("{} contains no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The file is empty, or its content is not valid in a header.
    #[error("{} contains no token", .0.display())]
    NoToken(PathBuf),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] tonic::transport::Error),
}

impl Credentials {
    /// The endpoint, with TLS if its scheme is `https`.
    pub(crate) async fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, CredentialsError> {
        if !is_secure(&endpoint) {
            return Ok(endpoint);
        }
        let tls = match &self.ca_file {
            Some(path) => ClientTlsConfig::new().ca_certificate(certificates(path).await?),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint.tls_config(tls).map_err(CredentialsError::Tls)
    }

    /// The `authorization` header of a call, if any.
    pub(crate) async fn authorization(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<MetadataValue<Ascii>>, CredentialsError> {
        let path = match &self.token_file {
            // Never without TLS, where the network could read it.
            Some(path) if is_secure(endpoint) => path,
            _ => return Ok(None),
        };
        let token = read(path).await?;
        let token = String::from_utf8(token).unwrap_or_default();
        let bearer = format!("Bearer {}", token.trim());
        let value = bearer.parse::<MetadataValue<Ascii>>().ok();
        let mut value = value
            .filter(|_| !token.trim().is_empty())
            .ok_or_else(|| CredentialsError::NoToken(path.clone()))?;
        // Keeps the token out of debug output and of HPACK's table.
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn is_secure(endpoint: &Endpoint) -> bool {
    endpoint.uri().scheme_str() == Some("https")
}

async fn certificates(path: &Path) -> Result<Certificate, CredentialsError> {
    let pem = read(path).await?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_)) => Ok(Certificate::from_pem(pem)),
        _ => Err(CredentialsError::NoCertificate(path.to_owned())),
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let read = async {
        let mut content = vec![];
        let file = tokio::fs::File::open(path).await?;
        // Bounded while reading, since the file may be replaced after a check of its size.
        file.take(MAX_FILE_BYTES).read_to_end(&mut content).await?;
        Ok(content)
    };
    read.await.map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })
}
