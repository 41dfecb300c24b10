//! The token that the samplers of a stack share.
//!
//! Without it, whoever reaches the peers' port could send spans, and rings that all samplers would
//! follow, wherever no network plugin enforces NetworkPolicies. Like spans, it is sent without TLS, so
//! it is no protection from someone who can read the traffic between pods.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use spoor_runtime::with_causes;
use subtle::ConstantTimeEq;
use tokio::{task::spawn_blocking, time::sleep};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// The key of the token in a call's metadata.
const AUTHORIZATION: &str = "authorization";
/// The interval at which the file is read. If a Secret is deleted, the operator creates it again with
/// another token, and the kubelet writes that to the files of all samplers within about a minute.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// The length below which a token could be guessed.
const MIN_TOKEN_BYTES: usize = 16;
/// The most bytes read from the file, far more than a token has.
const MAX_FILE_BYTES: u64 = 4096;

/// A failure to read the token.
#[derive(Debug, thiserror::Error)]
pub enum PeersTokenError {
    /// The file cannot be read.
    #[error("--peers-token-file (SPOOR_PEERS_TOKEN_FILE): cannot read {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file contains no token.
    #[error(
        "--peers-token-file (SPOOR_PEERS_TOKEN_FILE): {} must contain a token of at least {} \
         visible ASCII characters",
        .0.display(),
        MIN_TOKEN_BYTES
    )]
    Invalid(PathBuf),
}

/// The token that was last read from the file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    path: Arc<Path>,
    /// The value of [`AUTHORIZATION`]. It is marked as sensitive, so debug output omits it.
    header: Arc<RwLock<MetadataValue<Ascii>>>,
    /// The calls to this sampler that were refused, since they lack the token.
    pub(crate) refused: Counter,
}

impl Token {
    /// Reads the token from its file.
    pub(crate) fn load(path: &Path) -> Result<Self, PeersTokenError> {
        Ok(Self {
            path: path.into(),
            header: Arc::new(RwLock::new(read(path)?)),
            refused: Counter::default(),
        })
    }

    /// Reads the file again at intervals. Never returns.
    pub(super) async fn follow_file(&self) {
        let mut was_read = true;
        loop {
            sleep(READ_INTERVAL).await;
            let result = self.read_again().await;
            let is_read = result.is_ok();
            // Only changes are logged.
            if let Err(error) = result
                && was_read
            {
                let error = with_causes(&error);
                tracing::warn!(
                    error,
                    "cannot read the peers' token again; keeping the former one"
                );
            }
            was_read = is_read;
        }
    }

    async fn read_again(&self) -> Result<(), PeersTokenError> {
        let path = Arc::clone(&self.path);
        // Fails only while the runtime shuts down.
        if let Ok(header) = spawn_blocking(move || read(&path)).await {
            *self.header.write() = header?;
        }
        Ok(())
    }

    /// Returns a call's request if it has the token.
    pub(super) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let sent = request.metadata().get(AUTHORIZATION);
        let sent = sent.map(|sent| sent.as_bytes()).unwrap_or_default();
        // In constant time, so that the time taken does not reveal how much of a wrong token is
        // right.
        let is_right = sent.ct_eq(self.header.read().as_bytes());
        if bool::from(is_right) {
            return Ok(request);
        }
        self.refused.inc();
        let message = "this call needs the token that the samplers of this stack share";
        Err(Status::unauthenticated(message))
    }
}

/// Sends the token with each call.
impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = self.header.read().clone();
        request.metadata_mut().insert(AUTHORIZATION, header);
        Ok(request)
    }
}

fn read(path: &Path) -> Result<MetadataValue<Ascii>, PeersTokenError> {
    let mut content = String::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut content));
    read.map_err(|source| PeersTokenError::Read {
        path: path.to_owned(),
        source,
    })?;
    let token = content.trim();
    let is_usable = token.len() >= MIN_TOKEN_BYTES && token.bytes().all(|it| it.is_ascii_graphic());
    let header = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
    let header = header.ok().filter(|_| is_usable);
    let mut header = header.ok_or_else(|| PeersTokenError::Invalid(path.to_owned()))?;
    // Keeps the token out of debug output and of HPACK's table.
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn with_token(content: &str) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    /// A call that has the token of its caller.
    fn call(caller: &Token) -> Request<()> {
        caller.clone().call(Request::new(())).unwrap()
    }

    #[tokio::test]
    async fn replaced_token_is_followed() {
        let (_folder, path) = with_token(&format!("{TOKEN}\n"));
        let [caller, called] = [(); 2].map(|()| Token::load(&path).unwrap());
        called.check(call(&caller)).unwrap();

        fs::write(&path, TOKEN.replace('0', "1")).unwrap();
        caller.read_again().await.unwrap();
        called.check(call(&caller)).unwrap_err();
        assert_eq!(called.refused.get(), 1);
        called.read_again().await.unwrap();
        called.check(call(&caller)).unwrap();

        // The former one stays in use.
        fs::write(&path, "").unwrap();
        caller.read_again().await.unwrap_err();
        called.check(call(&caller)).unwrap();
    }

    #[test]
    fn token_is_not_in_debug_output() {
        let (_folder, path) = with_token(TOKEN);
        let token = Token::load(&path).unwrap();
        let request = call(&token);
        assert!(!format!("{token:?} {request:?}").contains(TOKEN));
    }

    #[rstest]
    #[case::empty("\n")]
    #[case::short("0123456789abcde")]
    #[case::two_words("0123456789 abcdefghij")]
    fn unusable_token_is_refused(#[case] content: &str) {
        let (_folder, path) = with_token(content);
        let error = Token::load(&path).unwrap_err();
        assert!(matches!(error, PeersTokenError::Invalid(_)), "{error:?}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = Token::load(Path::new("/nowhere/token")).unwrap_err();
        let message = "--peers-token-file (SPOOR_PEERS_TOKEN_FILE): cannot read /nowhere/token";
        assert_eq!(error.to_string(), message);
    }
}
