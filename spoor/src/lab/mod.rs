//! The lab: control plane, trace pipeline and admin API in this process, and the services as its
//! child processes.

mod addresses;
pub mod admin;
mod data_folder;
mod hints;
mod listeners;
mod policies;
mod ports;
mod serve;
mod settings;
mod start;
mod stopped;
mod supervisor;

pub use ports::Ports;
pub use settings::Settings;
pub use start::{Lab, StartError};
pub use stopped::Stopped;
pub use supervisor::SUPERVISED;
