//! Fingerprints of objects' content.

use serde::Serialize;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

/// A hash of an object's content, without its status and what the API server records about its
/// versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Computes the fingerprint of an object.
    pub fn of(object: &impl Serialize) -> Self {
        // The object was read from JSON or is about to be sent as JSON, where an error would show.
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.remove("status");
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                for versions in ["managedFields", "resourceVersion", "generation"] {
                    metadata.remove(versions);
                }
                if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                    // The Deployment controller writes this annotation after every change.
                    annotations.remove("deployment.kubernetes.io/revision");
                }
            }
        }
        // The maps are sorted, so equal values are encoded equally.
        Self(xxh3_128(value.to_string().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ignores_status_and_versions() {
        let object = json!({"metadata": {"name": "a", "generation": 1}, "spec": {"replicas": 1}});
        let later = json!({
            "spec": {"replicas": 1},
            "status": {"readyReplicas": 1},
            "metadata": {"resourceVersion": "7", "name": "a", "managedFields": []},
        });
        let edited = json!({"metadata": {"name": "a"}, "spec": {"replicas": 2}});
        assert_eq!(Fingerprint::of(&object), Fingerprint::of(&later));
        assert_ne!(Fingerprint::of(&object), Fingerprint::of(&edited));
    }
}
