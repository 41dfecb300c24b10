//! The settings of a sampler with peers.

use std::{net::SocketAddr, path::PathBuf};

use http::Uri;
use spoor_runtime::SettingsReader;
use spoor_traces::Rings;

use crate::SamplerArgs;

/// The placeholder for the ordinal in the peers' address.
const ORDINAL: &str = "{ordinal}";

/// The other samplers of the same stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersSettings {
    /// The address on which to listen for their calls.
    pub listen: SocketAddr,
    /// The URLs of all samplers, by ordinal.
    pub addresses: Vec<Uri>,
    /// The ordinal of this sampler.
    pub own: u16,
    /// The namespace and the name of the stack, separated by a slash.
    pub stack: String,
    /// The file with the token that the samplers of the stack share.
    pub token_file: PathBuf,
}

impl SamplerArgs {
    /// Reads the settings of peers, if there are any. `instance` is `None` if it cannot be read.
    pub(super) fn peers(
        &self,
        instance: Option<&str>,
        reader: &mut SettingsReader,
    ) -> Option<PeersSettings> {
        let address = self.peers.as_deref()?;
        let addresses = reader.check("--peers (SPOOR_PEERS)", addresses(address));
        let own = instance
            .and_then(|instance| reader.check("OTEL_RESOURCE_ATTRIBUTES", ordinal(instance)));
        let required = [
            ("--journal (SPOOR_JOURNAL)", self.journal.is_some()),
            ("--stack (SPOOR_STACK)", !self.stack.is_empty()),
            ("--namespace (SPOOR_NAMESPACE)", self.namespace.is_some()),
            (
                "--peers-token-file (SPOOR_PEERS_TOKEN_FILE)",
                self.peers_token_file.is_some(),
            ),
        ];
        for (setting, is_set) in required {
            if !is_set {
                reader.add_error(setting, "is required with --peers");
            }
        }
        Some(PeersSettings {
            listen: self.peers_listen,
            addresses: addresses?,
            own: own?,
            stack: format!("{}/{}", self.namespace.as_ref()?, self.stack),
            token_file: self.peers_token_file.clone()?,
        })
    }
}

/// The URLs of all samplers that a ring may have.
fn addresses(address: &str) -> Result<Vec<Uri>, String> {
    let with_ordinal = |ordinal: u16| {
        let address = address.replace(ORDINAL, &ordinal.to_string());
        let uri: Uri = format!("http://{address}").parse().ok()?;
        let is_origin = uri.port_u16().is_some() && uri.path() == "/" && uri.query().is_none();
        is_origin.then_some(uri)
    };
    let uris: Option<Vec<Uri>> = match address.contains(ORDINAL) {
        true => (0..Rings::MAX_MEMBERS).map(with_ordinal).collect(),
        false => None,
    };
    uris.ok_or_else(|| {
        let example = "tracing-sampler-{ordinal}.tracing-sampler-pods:4320";
        format!("must be a host and a port with {ORDINAL}, such as \"{example}\", not {address:?}")
    })
}

/// The number at the end of an instance, which is the name of a StatefulSet's pod.
fn ordinal(instance: &str) -> Result<u16, String> {
    let number = instance.rsplit_once('-').map(|(_, number)| number);
    let ordinal = number.and_then(|number| number.parse().ok());
    ordinal
        .filter(|ordinal| *ordinal < Rings::MAX_MEMBERS)
        .ok_or_else(|| {
            format!(
                "service.instance.id must end in an ordinal below 64, such as tracing-sampler-0, \
                 with --peers, not {instance:?}"
            )
        })
}
