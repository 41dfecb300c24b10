use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::ApiServer;

/// A request that the API server completed, or the start or end of a watch.
#[derive(Clone, Debug)]
pub struct Call {
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// Empty if the path of the request names no resource.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u64,
    /// `ResponseComplete`; a watch also has `ResponseStarted`.
    pub stage: String,
    pub at: Timestamp,
}

impl Call {
    /// Returns true if the call changes a stored object. A TokenReview does not.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
            && ![
                "tokenreviews",
                "subjectaccessreviews",
                "selfsubjectaccessreviews",
            ]
            .contains(&self.resource.as_str())
    }

    /// `samplingpolicies/status`, as roles write it.
    pub fn resource_of_rule(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// A position in the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(usize);

impl ApiServer {
    /// The present end of the audit log.
    pub fn mark(&self) -> Mark {
        Mark(self.audit_log().len())
    }

    /// The calls since a mark.
    pub fn calls_since(&self, mark: Mark) -> Vec<Call> {
        let log = self.audit_log();
        let new = String::from_utf8_lossy(log.get(mark.0..).unwrap_or_default());
        // The last line may be incomplete.
        let complete = new.rfind('\n').map_or("", |end| &new[..end]);
        complete.lines().filter_map(call).collect()
    }

    /// The calls of this ServiceAccount since a mark.
    pub fn calls_of(&self, namespace: &str, account: &str, mark: Mark) -> Vec<Call> {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let mut calls = self.calls_since(mark);
        calls.retain(|call| call.user == user);
        calls
    }

    fn audit_log(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("audit.log")).unwrap_or_default()
    }
}

fn call(line: &str) -> Option<Call> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| {
        let value = event.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Some(Call {
        user: text("/user/username"),
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
        stage: text("/stage"),
        at: text("/requestReceivedTimestamp").parse().ok()?,
    })
}
