//! Creates objects that are never changed.

use kube::api::PostParams;

use super::{Applier, ApplyError, Manifest, call};
use crate::kubernetes::watch::Key;

impl Applier {
    /// Creates an object unless there is one of its name, which is left as it is. This needs no
    /// permission to read it.
    ///
    /// # Errors
    /// [`ApplyError::Call`].
    pub async fn create(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let (kind, key) = (&manifest.resource.kind, Key::of(&manifest.object));
        let parameters = PostParams {
            field_manager: Some(self.field_manager.to_owned()),
            ..PostParams::default()
        };
        let api = self.api(&manifest.resource, &key);
        self.writes.inc();
        let create = api.create(&parameters, &manifest.object);
        match call("create", "POST", kind, &key, create).await {
            Err(error) if error.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }
}
