//! The embedded lab: control plane, trace pipeline and admin API in this process, and the services
//! as its child processes.
//!
//! [`Lab::start`] returns when every service is ready; [`Lab::stop`] finishes what is in progress.
//! Other programs use a running lab through its admin API, whose JSON types are in [`wire`].
//! The services are processes of the same executable, started as `run SERVICE` with [`SUPERVISED`]
//! in their environment, so the program that links this crate has to provide that subcommand.

mod addresses;
mod admin;
mod console;
mod data_folder;
mod final_counts;
mod hints;
mod listeners;
mod policies;
mod ports;
mod serve;
mod service;
mod settings;
mod start;
mod supervisor;
pub mod wire;

pub use data_folder::{DataFolderError, state_folder};
pub use final_counts::FinalCounts;
pub use policies::{FolderError, OpenPolicyStoreError, PolicyStoreError, SaveError};
pub use ports::{BindPortError, Endpoint, LabPorts};
pub use service::Service;
pub use settings::{InvalidSampler, LabSettings, ServiceSampler, StoreBytes};
pub use start::{Lab, StartLabError};
pub use supervisor::{NotReady, SUPERVISED};
