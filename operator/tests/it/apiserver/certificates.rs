use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate authority, the server's and the administrator's certificates, and the key that
/// signs ServiceAccounts' tokens, as files.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Writes all of these into a folder.
    pub fn write(folder: &Path) -> Self {
        let ca = authority();
        write(folder, "ca.crt", &ca.pem());
        issue(folder, &ca, "server", "kube-apiserver", None);
        issue(folder, &ca, "admin", "admin", Some("system:masters"));
        let tokens = KeyPair::generate().unwrap();
        write(folder, "tokens.key", &tokens.serialize_pem());
        write(folder, "tokens.pub", &tokens.public_key_pem());
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The path of one of them.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "the tests' authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(
    folder: &Path,
    ca: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    common_name: &str,
    organization: Option<&str>,
) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    write(folder, &format!("{name}.crt"), &certificate.pem());
    write(folder, &format!("{name}.key"), &key.serialize_pem());
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}
