use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Namespace as NamespaceObject, Pod, ServiceAccount},
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ApiServer;

/// A test's own namespace. It stays when the test ends, since no other test uses it.
#[derive(Clone)]
pub struct Namespace<'a> {
    pub name: String,
    pub server: &'a ApiServer,
    pub client: Client,
}

/// A pod that the test created.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    pub name: String,
    pub uid: String,
}

impl ApiServer {
    /// Creates a namespace with a unique name that begins with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> Namespace<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = self.admin();
        let namespace = json!({"metadata": {"name": name}});
        Api::<NamespaceObject>::all(client.clone())
            .create(&PostParams::default(), &from(namespace))
            .await
            .unwrap();
        let this = Namespace {
            name,
            server: self,
            client,
        };
        this.service_account("default").await;
        this
    }
}

impl Namespace<'_> {
    /// An API for one kind in the namespace, as the administrator.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Creates a pod, which is not scheduled and not Ready.
    pub async fn pod(&self, name: &str, labels: &[(&str, &str)]) -> PodIdentity {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "serviceAccountName": "default",
                "containers": [{"name": "main", "image": "test"}],
            },
        });
        let pods = self.api::<Pod>();
        let pod = pods
            .create(&PostParams::default(), &from(pod))
            .await
            .unwrap();
        PodIdentity {
            name: name.to_owned(),
            uid: pod.metadata.uid.unwrap(),
        }
    }

    /// Creates a pod that is Ready at this address.
    pub async fn ready_pod(&self, name: &str, labels: &[(&str, &str)], ip: &str) -> PodIdentity {
        let pod = self.pod(name, labels).await;
        self.pod_status(name, ip, true).await;
        pod
    }

    /// Writes a pod's status, as the kubelet would.
    pub async fn pod_status(&self, name: &str, ip: &str, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let status = json!({"status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": ready}],
        }});
        self.api::<Pod>()
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
    }

    /// Creates a ServiceAccount.
    pub async fn service_account(&self, name: &str) {
        let account = json!({"metadata": {"name": name}});
        self.api::<ServiceAccount>()
            .create(&PostParams::default(), &from(account))
            .await
            .unwrap();
    }

    /// A token of this namespace's `default` ServiceAccount, bound to this pod, as the kubelet
    /// projects it into the pod.
    pub async fn pod_token(&self, pod: &PodIdentity, audience: &str) -> String {
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
        };
        self.token("default", &[audience], Some(bound)).await
    }

    /// A token for the API server, bound to no object.
    pub async fn account_token(&self, account: &str) -> String {
        self.token(account, &[], None).await
    }

    /// A token of a ServiceAccount; without an audience it is one for the API server.
    pub async fn token(
        &self,
        account: &str,
        audiences: &[&str],
        bound_object_ref: Option<BoundObjectReference>,
    ) -> String {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences
                    .iter()
                    .map(|&audience| audience.to_owned())
                    .collect(),
                bound_object_ref,
                expiration_seconds: Some(3600),
            },
            ..TokenRequest::default()
        };
        let accounts = self.api::<ServiceAccount>();
        let response = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await;
        response.unwrap().status.unwrap().token
    }

    /// A client with the identity of this ServiceAccount.
    pub async fn client_as(&self, account: &str) -> Client {
        self.server.with_token(&self.account_token(account).await)
    }

    /// Applies an object as `kubectl apply --server-side` does. A namespaced object gets
    /// this namespace unless it names another.
    pub async fn apply(&self, object: Value) -> kube::Result<Value> {
        self.server.apply(object, Some(&self.name), "kubectl").await
    }
}

pub(super) fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}
