//! A TLS certificate that is reloaded when its files change.

use std::{
    io,
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

/// The interval between reads of the files. The kubelet takes up to a minute to update them anyway.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The interval between reads until the first certificate is loaded. Clients cannot connect
/// before then.
const FIRST_LOAD_INTERVAL: Duration = Duration::from_millis(250);
/// The largest file accepted. Certificate chains are smaller.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is larger than any certificate.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A file does not contain the expected PEM.
    #[error("{} contains no {what} in PEM", .path.display())]
    Parse {
        /// The path of the file.
        path: PathBuf,
        /// The expected content.
        what: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// Key and certificate do not match, or are of an unsupported kind.
    #[error("certificate and key are not usable")]
    Use(#[source] rustls::Error),
    /// The TLS library has no usable protocol version.
    #[error("cannot set up TLS")]
    SetUp(#[source] rustls::Error),
}

/// The certificate in force. Clones share it.
#[derive(Clone, Debug)]
pub struct ServerCertificate(Arc<Current>);

#[derive(derive_more::Debug)]
#[debug("Current")]
struct Current {
    provider: Arc<CryptoProvider>,
    key: ArcSwapOption<CertifiedKey>,
}

impl ServerCertificate {
    /// Creates an empty value, for which [`Self::watch_files`] loads a certificate. Handshakes fail
    /// before that.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::new(Current {
            provider: Arc::new(ring::default_provider()),
            key: ArcSwapOption::empty(),
        }))
    }

    /// Returns true once a certificate is loaded.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.key.load().is_some()
    }

    /// An acceptor of TLS connections for gRPC, with the certificate in force at the time of each
    /// handshake.
    ///
    /// # Errors
    /// [`CertificateError::SetUp`].
    pub fn acceptor(&self) -> Result<TlsAcceptor, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(self.0.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(self.0.clone());
        // gRPC clients require HTTP/2 to be negotiated.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Loads the files whenever they change, until `stop`. If new files are invalid, the last
    /// certificate stays in force.
    pub async fn watch_files(self, certificate: PathBuf, key: PathBuf, stop: CancellationToken) {
        let mut loaded = PemFiles::default();
        let mut last_problem = None;
        loop {
            last_problem = match self.reload(&certificate, &key, &mut loaded).await {
                Ok(()) => None,
                Err(error) => {
                    let problem = error.to_string();
                    // One line for as long as the problem stays the same.
                    if last_problem.as_ref() != Some(&problem) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot load the certificate; retrying");
                    }
                    Some(problem)
                }
            };
            let pause = match self.is_loaded() {
                true => RELOAD_INTERVAL,
                false => FIRST_LOAD_INTERVAL,
            };
            let slept = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if slept.is_none() {
                return;
            }
        }
    }

    /// Loads the files, if they have changed.
    async fn reload(
        &self,
        certificate: &Path,
        key: &Path,
        loaded: &mut PemFiles,
    ) -> Result<(), CertificateError> {
        let files = PemFiles {
            chain: read(certificate).await?,
            key: read(key).await?,
        };
        // Compared by content, since the kubelet swaps a symlink, and modification times may be
        // equal.
        if files != *loaded {
            let certified = self.0.certified(certificate, key, &files)?;
            self.0.key.store(Some(Arc::new(certified)));
            // Only after success, so that invalid files are tried again.
            *loaded = files;
            tracing::info!(path = %certificate.display(), "loaded a certificate");
        }
        Ok(())
    }
}

/// The contents of the files, in PEM.
#[derive(Default, PartialEq, Eq)]
struct PemFiles {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Current {
    fn certified(
        &self,
        certificate: &Path,
        key: &Path,
        files: &PemFiles,
    ) -> Result<CertifiedKey, CertificateError> {
        let parse_error = |path: &Path, what| {
            let path = path.to_owned();
            move |source| CertificateError::Parse { path, what, source }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&files.chain)
            .collect::<Result<_, _>>()
            .map_err(parse_error(certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(parse_error(certificate, "certificate")(
                pem::Error::NoItemsFound,
            ));
        }
        let key =
            PrivateKeyDer::from_pem_slice(&files.key).map_err(parse_error(key, "private key"))?;
        // Checks that both belong together: between two writes, one may be newer than the other.
        let certified = CertifiedKey::from_der(chain, key, &self.provider);
        certified.map_err(CertificateError::Use)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.load_full()
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::Read(path.to_owned(), error);
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    // Checked before reading, so that a wrong path cannot fill the memory.
    if metadata.len() > MAX_FILE_BYTES {
        return Err(CertificateError::TooLarge(path.to_owned()));
    }
    tokio::fs::read(path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    struct Files {
        folder: TempDir,
        certificate: ServerCertificate,
        loaded: PemFiles,
    }

    impl Files {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                certificate: ServerCertificate::empty(),
                loaded: PemFiles::default(),
            }
        }

        fn write(&self, chain: &str, key: &str) {
            std::fs::write(self.folder.path().join("tls.crt"), chain).unwrap();
            std::fs::write(self.folder.path().join("tls.key"), key).unwrap();
        }

        async fn reload(&mut self) -> Result<(), CertificateError> {
            let chain = self.folder.path().join("tls.crt");
            let key = self.folder.path().join("tls.key");
            self.certificate
                .reload(&chain, &key, &mut self.loaded)
                .await
        }

        fn in_force(&self) -> Option<Vec<u8>> {
            let key = self.certificate.0.key.load_full()?;
            Some(key.cert.first()?.to_vec())
        }
    }

    fn issued() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn loads_renewed_files_and_ignores_broken_ones() {
        let mut files = Files::new();
        assert!(matches!(
            files.reload().await,
            Err(CertificateError::Read(_, _))
        ));
        assert!(!files.certificate.is_loaded());
        let (first, first_key) = issued();
        files.write(&first, &first_key);
        files.reload().await.unwrap();
        let before = files.in_force().unwrap();

        let (second, second_key) = issued();
        for (chain, key) in [
            ("no PEM", second_key.as_str()),
            (&second, "no PEM"),
            (&second, &first_key),
        ] {
            files.write(chain, key);
            assert!(files.reload().await.is_err());
            assert_eq!(files.in_force().unwrap(), before);
        }
        files.write(&second, &second_key);
        files.reload().await.unwrap();
        assert_ne!(files.in_force().unwrap(), before);
    }
}
