//! The certificate of the stream's door, read again when its files change.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at: the kubelet takes a minute to bring a change anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// As long as there is no certificate, nobody gets in.
const LOOK_FOR_FIRST: Duration = Duration::from_millis(250);
/// More than any chain takes.
const MAX_BYTES: u64 = 256 * 1024;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is larger than any certificate.
    #[error("{} is larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A file is no PEM of what it should be.
    #[error("{} holds no {what} in PEM", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Key and certificate don't go together, or are of a kind that is not known.
    #[error("certificate and key can't be used")]
    Use(#[source] rustls::Error),
    /// This build has no TLS version in common with itself.
    #[error("can't set up TLS")]
    SetUp(#[source] rustls::Error),
}

/// The certificate in force. Clones share it.
#[derive(Clone)]
pub(super) struct Certificate(Arc<Current>);

struct Current {
    provider: Arc<CryptoProvider>,
    key: ArcSwapOption<CertifiedKey>,
}

impl Certificate {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Current {
            provider: Arc::new(ring::default_provider()),
            key: ArcSwapOption::empty(),
        }))
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.0.key.load().is_some()
    }

    /// Accepts TLS connections for gRPC with whatever certificate is in force then.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(self.0.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files whenever they change, until `stop`. One that can't be used leaves the last
    /// in force.
    pub(super) async fn follow(self, certificate: PathBuf, key: PathBuf, stop: CancellationToken) {
        let mut seen = None;
        let mut last_problem = None;
        loop {
            match read(&certificate, &key).await {
                Ok(found) if seen.as_ref() == Some(&found) => last_problem = None,
                found => match found.and_then(|found| {
                    let key = self.0.certified(&certificate, &key, &found)?;
                    Ok((found, key))
                }) {
                    Ok((found, key)) => {
                        self.0.key.store(Some(Arc::new(key)));
                        seen = Some(found);
                        last_problem = None;
                        tracing::info!(path = %certificate.display(), "has a certificate");
                    }
                    Err(error) => {
                        let problem = error.to_string();
                        if last_problem.as_ref() != Some(&problem) {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                "has no new certificate"
                            );
                        }
                        last_problem = Some(problem);
                    }
                },
            }
            let pause = match self.is_there() {
                true => LOOK_AGAIN,
                false => LOOK_FOR_FIRST,
            };
            let slept = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if slept.is_none() {
                return;
            }
        }
    }
}

impl Current {
    fn certified(
        &self,
        certificate: &Path,
        key: &Path,
        (chain_pem, key_pem): &(Vec<u8>, Vec<u8>),
    ) -> Result<CertifiedKey, CertificateError> {
        let wrong = |path: &Path, what| {
            let path = path.to_owned();
            move |source| CertificateError::Parse { path, what, source }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(wrong(certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(wrong(certificate, "certificate")(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(wrong(key, "private key"))?;
        let certified = CertifiedKey::from_der(chain, key, &self.provider);
        certified.map_err(CertificateError::Use)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.load_full()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

async fn read(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), CertificateError> {
    Ok((read_file(certificate).await?, read_file(key).await?))
}

async fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::Read(path.to_owned(), error);
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if metadata.len() > MAX_BYTES {
        return Err(CertificateError::TooLarge(path.to_owned()));
    }
    tokio::fs::read(path).await.map_err(failed)
}
