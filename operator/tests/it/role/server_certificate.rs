use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The listeners' certificate as the Secret mounts it, and its authority.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    pub ca_pem: String,
    pub ca: PathBuf,
    pub crt: PathBuf,
    pub key: PathBuf,
}

impl ServerCertificate {
    /// Issues a certificate for this machine into a folder.
    pub fn write(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            ca: write("ca.crt", &ca.pem()),
            crt: write("tls.crt", &certificate.pem()),
            key: write("tls.key", &key.serialize_pem()),
            ca_pem: ca.pem(),
        }
    }
}
