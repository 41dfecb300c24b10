//! The JSON types of the lab's admin API, and the reader of the files that are sent to it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde::{Deserialize, Serialize};
use spoor_api::changes::{Change, Document};
use spoor_policy::Version;

pub use spoor_runtime::Problem;

/// The largest request body accepted. A thousand policies, the most that the lab accepts, need
/// less.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The largest file of policies accepted, in bytes. A file of 1,000 typical policies, the most that
/// the lab accepts, is about half as large.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a file of policies as text.
///
/// # Errors
/// The file cannot be read, is larger than [`MAX_FILE_BYTES`], or is not UTF-8.
pub fn read_file(file: impl Read) -> io::Result<String> {
    let mut bytes = vec![];
    // Reading one byte more than allowed detects a file that is too large, even for pipes, which
    // have no size.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("the file is larger than 1 MiB; split it"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not UTF-8 text"))
}

/// Documents to apply or compare, all or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
// A misspelled field that was ignored would let a request succeed without its effect.
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// The documents, each with any number of policies.
    pub documents: Vec<Document>,
}

impl From<Version> for PublishedVersion {
    fn from(version: Version) -> Self {
        Self {
            epoch: version.epoch,
            sequence: version.sequence,
        }
    }
}

/// The response to applied documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApplyResult {
    /// The policies in the order in which they were sent.
    pub policies: Vec<Change>,
    /// The version published.
    pub version: PublishedVersion,
}

/// A published version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedVersion {
    /// The start of the lab in Unix nanoseconds.
    pub epoch: u64,
    /// The number of the publication since then.
    pub sequence: u64,
}

/// The result of waiting for convergence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConvergenceResult {
    /// True if all instances have their newest plan or, if policies are named, if these have converged
    /// and the instances of the services that have changed have their newest plan.
    pub converged: bool,
    /// The time from the publication to the last acknowledgement; unset if no instance was affected,
    /// or if an acknowledgement is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// The number of instances concerned.
    pub expected: usize,
    /// The instances that have not acknowledged or are silent: at most 100, and then the number of
    /// the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// The reasons why policies have not converged, each after the policy's namespace and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// A fault to inject into a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultSetting {
    /// The name of the server span. If unset, every operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The delay of each request, at most 60 000.
    #[serde(default)]
    pub delay_milliseconds: u64,
    /// The share of requests that fail, such as `20%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
}

/// All faults, by service.
pub type FaultsByService = BTreeMap<String, Vec<FaultSetting>>;

/// The status of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version published.
    pub version: PublishedVersion,
    /// All addresses by name.
    pub urls: BTreeMap<String, String>,
    /// The services.
    pub services: Vec<ServiceStatus>,
    /// The instances that are expected or connected.
    pub instances: Vec<InstanceStatus>,
    /// The time for which traces are held before tail rules decide on them.
    pub decision_wait_milliseconds: u64,
    /// The watched folder, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderStatus>,
}

/// The status of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The service's name.
    pub name: String,
    /// `waiting`, `starting`, `ready` or `stopped`.
    pub state: String,
    /// The process ID, if the service is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The `service.instance.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The number of restarts.
    pub restarts: u32,
}

/// The status of an instance in the control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The service.
    pub service: String,
    /// The `service.instance.id`.
    pub instance: String,
    /// True if the lab started it.
    pub expected: bool,
    /// True if its policy stream is connected.
    pub connected: bool,
    /// True if it has the current plan of its service.
    pub current: bool,
    /// The version that it acknowledged last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<PublishedVersion>,
    /// The spans that it exported.
    pub spans_exported: u64,
    /// The spans that it dropped, by reason.
    pub spans_dropped: BTreeMap<String, u64>,
}

/// The status of the watched folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FolderStatus {
    /// The folder's path.
    pub path: String,
    /// The errors of the folder and in its files. If there are any, the files are not applied, and
    /// policies that were applied from it before stay in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}
