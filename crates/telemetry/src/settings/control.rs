//! The control plane's address and credentials.

use std::path::PathBuf;

use spoor_runtime::{Environment, SettingError, parse_endpoint};

use crate::credentials::Credentials;

pub(super) const ENDPOINT: &str = "SPOOR_CONTROL_ENDPOINT";
const CA_FILE: &str = "SPOOR_CONTROL_CA_FILE";
const TOKEN_FILE: &str = "SPOOR_CONTROL_TOKEN_FILE";

pub(super) fn endpoint(text: &str) -> Result<http::Uri, String> {
    parse_endpoint(text, "http://127.0.0.1:5779")
}

/// The files need not exist yet. They are read when they are needed.
pub(super) fn credentials(environment: &mut Environment<'_>) -> Credentials {
    let endpoint = environment.text(ENDPOINT);
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut file = |setting| {
        let path = environment.text(setting)?;
        if is_plain {
            let problem = "requires an https SPOOR_CONTROL_ENDPOINT".to_owned();
            environment.warnings.push(SettingError { setting, problem });
        }
        Some(PathBuf::from(path))
    };
    Credentials {
        ca_file: file(CA_FILE),
        token_file: file(TOKEN_FILE),
    }
}
