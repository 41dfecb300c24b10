//! The subcommands.

mod apply;
mod args;
mod client;
mod command;
mod completions;
mod console;
mod delete;
mod describe;
mod diff;
mod documents;
mod duration;
mod failure;
mod fault;
mod get;
mod http_client;
mod lab_settings;
mod manual;
mod named;
mod number;
pub(crate) mod out;
mod override_policy;
mod plugin;
mod policy_columns;
mod ports;
mod remedy;
mod run;
mod table;
mod target;
mod up;

use args::NamespaceArgs;

pub use args::{LabArgs, Output, http_url};
pub use client::{ClientError, LabClient};
pub use command::Cli;
pub use duration::{age, duration, positive_duration};
pub use failure::{Invalid, InvalidOption, explain, report};
pub(crate) use http_client::{exchange, http_client, read_body};
pub use named::one_of;
pub use number::{positive_number, whole_number};
pub use out::{exit_code, pluralize, print_json};
pub use plugin::parse;
pub use ports::PortArgs;
pub use table::TextTable;
