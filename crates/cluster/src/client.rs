//! The client of a cluster, and how it reads and deletes policies.

use std::sync::Arc;

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};
use spoor_api::{
    SamplingPolicy,
    changes::{Action, Change, Document},
};
use spoor_console::{BackendError, Source, SourceKind};
use spoor_policy::{Namespace, PolicyKey};
use spoor_traces::client::TraceClient;
use tokio::sync::watch;

use crate::{
    call::{CallError, call},
    connect::{ClusterOptions, ConnectError, connect},
    documents::{self, Namespaces, Planned},
    jaeger,
    object::{policy, sampling_policies},
};

/// The most objects in one response to a list.
const MAX_PAGE_OBJECTS: u32 = 250;

/// The most policies that are listed.
const MAX_LISTED: usize = 10_000;

/// A client of a cluster. Clones share the connection.
#[derive(Clone)]
pub struct ClusterClient(Arc<Inner>);

struct Inner {
    client: Client,
    source: Source,
    /// The namespace of policies that name none.
    namespace: Namespace,
    /// The requested namespace; unset if it is the context's.
    requested: Option<Namespace>,
    changes: watch::Sender<u64>,
    traces: TraceClient,
}

/// The policies of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListedPolicies {
    /// The policies, sorted by namespace and name.
    pub policies: Vec<SamplingPolicy>,
    /// A message for each object that this version cannot read.
    pub unreadable: Vec<String>,
}

impl ClusterClient {
    /// Connects to a cluster. If all namespaces are requested and the user may not list policies in
    /// all, shows the context's namespace only.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(options: ClusterOptions) -> Result<Self, ConnectError> {
        let connection = connect(&options).await?;
        let namespace = options.namespace.clone().unwrap_or(connection.namespace);
        let mut shown = Some(namespace.clone());
        if options.all_namespaces && may_list_all(&connection.client).await {
            shown = None;
        }
        let traces = options.traces.unwrap_or_else(|| {
            let namespace = shown.clone();
            jaeger::trace_client(&connection.client, namespace)
        });
        let source = Source {
            kind: SourceKind::Cluster,
            name: connection.context,
            namespace: shown,
        };
        Ok(Self(Arc::new(Inner {
            client: connection.client,
            source,
            namespace,
            requested: options.namespace,
            changes: watch::Sender::new(0),
            traces,
        })))
    }

    /// The cluster's context, and the namespace that is shown.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// The namespace of policies that name none.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Lists the policies of the shown namespaces.
    ///
    /// # Errors
    /// [`BackendError::Refuse`] with Kubernetes' reason if the user may not list them;
    /// [`BackendError::Find`] if the cluster does not have the resource.
    pub async fn list(&self) -> Result<ListedPolicies, BackendError> {
        let objects = self.objects(self.0.source.namespace.as_ref()).await?;
        let mut listed = ListedPolicies::default();
        for object in &objects {
            match policy(object) {
                Ok(policy) => listed.policies.push(policy),
                Err(problem) => listed.unreadable.push(problem),
            }
        }
        let name = |it: &SamplingPolicy| (it.metadata.namespace.clone(), it.metadata.name.clone());
        listed.policies.sort_by_cached_key(name);
        Ok(listed)
    }

    /// Gets a policy.
    ///
    /// # Errors
    /// [`BackendError::Find`] if there is none of this name.
    pub async fn get(&self, key: &PolicyKey) -> Result<SamplingPolicy, BackendError> {
        let api = self.api(Some(&key.namespace));
        let object = call(api.get(key.name.as_str())).await?;
        policy(&object).map_err(|problem| BackendError::Validate(vec![problem]))
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// [`BackendError::Find`] if there is none of this name; [`BackendError::Refuse`] with
    /// Kubernetes' reason if the user may not delete it.
    pub async fn delete_policy(&self, key: &PolicyKey) -> Result<Change, BackendError> {
        let api = self.api(Some(&key.namespace));
        call(api.delete(key.name.as_str(), &DeleteParams::default())).await?;
        Ok(Change {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            action: Action::Deleted,
            warnings: vec![],
        })
    }

    pub(crate) fn api(&self, namespace: Option<&Namespace>) -> Api<DynamicObject> {
        api(&self.0.client, namespace)
    }

    pub(crate) fn changes(&self) -> &watch::Sender<u64> {
        &self.0.changes
    }

    pub(crate) fn traces(&self) -> &TraceClient {
        &self.0.traces
    }

    /// Reads the policies in documents.
    pub(crate) fn plan(&self, documents: &[Document]) -> Result<Vec<Planned>, BackendError> {
        let namespaces = Namespaces {
            default: &self.0.namespace,
            only: self.0.requested.as_ref(),
        };
        documents::read(documents, namespaces)
    }

    /// All policies of a namespace, or of all, as the API server has them.
    pub(crate) async fn objects(
        &self,
        namespace: Option<&Namespace>,
    ) -> Result<Vec<DynamicObject>, BackendError> {
        let api = self.api(namespace);
        let (mut objects, mut parameters) = (vec![], ListParams::default().limit(MAX_PAGE_OBJECTS));
        loop {
            let page = call(api.list(&parameters)).await.map_err(list_error)?;
            objects.extend(page.items);
            let Some(next) = page.metadata.continue_.filter(|it| !it.is_empty()) else {
                return Ok(objects);
            };
            if objects.len() >= MAX_LISTED {
                return Err(BackendError::TooLarge(format!(
                    "the cluster has more than {MAX_LISTED} policies; choose a namespace"
                )));
            }
            parameters = parameters.continue_token(&next);
        }
    }
}

fn api(client: &Client, namespace: Option<&Namespace>) -> Api<DynamicObject> {
    let (client, resource) = (client.clone(), sampling_policies());
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace.as_str(), &resource),
        None => Api::all_with(client, &resource),
    }
}

/// Returns false only if Kubernetes refuses it: any other error is better reported by the request
/// that needs the policies.
async fn may_list_all(client: &Client) -> bool {
    let listed = call(api(client, None).list(&ListParams::default().limit(1))).await;
    listed.err().and_then(|error| error.code()) != Some(403)
}

fn list_error(error: CallError) -> BackendError {
    match error.code() {
        // For a resource that does not exist, the message is only `404 page not found`.
        Some(404) => BackendError::Find(
            "the cluster has no SamplingPolicy resource; install Spoor's CustomResourceDefinitions, \
             which the Helm chart and k8s/crds contain"
                .to_owned(),
        ),
        _ => error.into(),
    }
}
