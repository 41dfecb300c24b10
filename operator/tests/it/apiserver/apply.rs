use std::{path::Path, time::Duration};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};
use serde::Deserialize;
use serde_json::Value;

use super::{ApiServer, eventually};

impl ApiServer {
    /// Applies an object of any kind, as this field manager. A namespaced object gets
    /// `namespace` unless it names another.
    pub async fn apply(
        &self,
        object: Value,
        namespace: Option<&str>,
        manager: &str,
    ) -> kube::Result<Value> {
        let (kind, scope) = self.kind_of(&object).await?;
        let name = object["metadata"]["name"].as_str().unwrap();
        let namespace = object["metadata"]["namespace"].as_str().or(namespace);
        let api = api(self.admin(), &kind, &scope, namespace);
        let patch = PatchParams::apply(manager).force();
        let applied = api.patch(name, &patch, &Patch::Apply(&object)).await?;
        Ok(serde_json::to_value(applied).unwrap())
    }

    /// Applies every document of a YAML text.
    pub async fn apply_yaml(&self, text: &str, namespace: Option<&str>) {
        for document in serde_yaml::Deserializer::from_str(text) {
            let object = Value::deserialize(document).unwrap();
            if !object.is_null() {
                self.apply(object, namespace, "kubectl").await.unwrap();
            }
        }
    }

    /// Applies the CRDs of this workspace and waits until they are served.
    pub async fn define_resources(&self) {
        for definition in definitions() {
            self.apply(definition.clone(), None, "kubectl")
                .await
                .unwrap();
            let name = definition["metadata"]["name"].as_str().unwrap();
            eventually(
                &format!("{name} established"),
                Duration::from_secs(30),
                async || {
                    let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
                    let path = format!("/apis/spoor.dev/v1alpha1/{plural}?limit=1");
                    let request = http::Request::get(path).body(Vec::new()).unwrap();
                    let response = self.admin().request_text(request).await;
                    response.map(drop).map_err(|error| error.to_string())
                },
            )
            .await;
        }
    }

    async fn kind_of(&self, object: &Value) -> kube::Result<(ApiResource, Scope)> {
        let version = object["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
        let (kind, capabilities) = discovery::pinned_kind(&self.admin(), &kind).await?;
        Ok((kind, capabilities.scope))
    }
}

fn api(
    client: Client,
    kind: &ApiResource,
    scope: &Scope,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    match (scope, namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client, namespace, kind),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client, kind),
        (Scope::Cluster, _) => Api::all_with(client, kind),
    }
}

/// The definitions in `k8s/crds`.
fn definitions() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/crds");
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts
        .map(|text| serde_yaml::from_str(&text).unwrap())
        .collect()
}
