//! Options that several subcommands have.

use clap::ValueEnum;
use reqwest::Url;
use spoor_policy::Namespace;

use super::client::LabClient;

/// The output format of a subcommand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text
    #[default]
    Table,
    /// JSON
    Json,
}

/// The address of a lab's API, unless its port is changed.
const DEFAULT_LAB: &str = "http://127.0.0.1:16600";

/// The lab that a subcommand connects to.
#[derive(clap::Args, Clone, Debug)]
pub struct LabArgs {
    /// The address of the lab's API
    #[arg(
        long,
        env = "SPOOR_LAB",
        value_name = "URL",
        default_value = DEFAULT_LAB,
        value_parser = http_url
    )]
    lab: Url,
}

/// The namespace that a subcommand acts in.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct NamespaceArgs {
    /// The namespace of the policies [default: `default`, or that of the cluster's context]
    #[arg(short, long)]
    pub(super) namespace: Option<Namespace>,
}

/// Parses the URL of a lab or of one of its services.
///
/// # Errors
/// A message that describes a valid value.
pub fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("must be an http:// URL such as http://127.0.0.1:8080".into()),
    }
}

impl LabArgs {
    /// Returns whether the lab has an address other than the default.
    pub fn is_custom(&self) -> bool {
        Url::parse(DEFAULT_LAB).ok().as_ref() != Some(&self.lab)
    }

    /// The `--lab` option to add to suggested commands. Empty for the default address.
    pub fn option(&self) -> String {
        match self.is_custom() {
            true => format!(" --lab {}", self.lab),
            false => String::new(),
        }
    }

    /// Creates a client of that lab.
    pub fn client(&self) -> LabClient {
        LabClient::new(self.lab.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(DEFAULT_LAB, "")]
    #[case("http://127.0.0.1:16601", " --lab http://127.0.0.1:16601/")]
    fn suggested_commands_name_a_custom_lab(#[case] url: &str, #[case] expected: &str) {
        let lab = http_url(url).unwrap();
        assert_eq!(LabArgs { lab }.option(), expected);
    }
}
