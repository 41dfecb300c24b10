//! Options that several subcommands have.

use clap::ValueEnum;
use reqwest::Url;
use spoor_policy::Namespace;

use super::client::{LabClient, lab_address};

/// The output format of a subcommand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text
    #[default]
    Table,
    /// JSON
    Json,
}

/// The lab that a subcommand connects to.
#[derive(clap::Args, Clone, Debug)]
pub struct LabArgs {
    /// The address of the lab's API
    #[arg(
        long,
        env = "SPOOR_LAB",
        value_name = "URL",
        default_value = "http://127.0.0.1:16600",
        value_parser = lab_address
    )]
    lab: Url,
}

/// The namespace that a subcommand acts in.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct NamespaceArgs {
    /// The namespace of the policies; the lab's own services are in `default`
    #[arg(short, long, default_value = "default")]
    pub(super) namespace: Namespace,
}

impl LabArgs {
    /// Creates a client of that lab.
    #[must_use]
    pub fn client(&self) -> LabClient {
        LabClient::new(self.lab.clone())
    }
}
