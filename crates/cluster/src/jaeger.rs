//! The Jaeger of a cluster: found through a `TracingStack`, and reached through the API server.

mod forward;

use k8s_openapi::{
    api::core::v1::{Pod, Service, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use spoor_api::{GROUP, VERSION};
use spoor_console::BackendError;
use spoor_policy::Namespace;
use spoor_traces::client::TraceClient;

use crate::call::call;
use forward::ForwardedTransport;

/// The most stacks, and pods of a Service, that are listed.
const MAX_LISTED: u32 = 100;

/// The Service of a Jaeger's query API.
#[derive(Clone, Debug, PartialEq, Eq)]
struct QueryService {
    namespace: String,
    name: String,
    port: i32,
    /// The path of the API, without a slash at its end.
    base_path: String,
}

/// A client of the Jaeger of the stack in a namespace, or of the first of all stacks. It connects
/// with its first request.
pub(crate) fn trace_client(client: &Client, namespace: Option<Namespace>) -> TraceClient {
    let transport = ForwardedTransport::new(client.clone(), namespace);
    TraceClient::new("the cluster's Jaeger", transport)
}

/// Finds the query API of a stack: in the namespace if it has a stack, otherwise in any.
async fn find(
    client: &Client,
    namespace: Option<&Namespace>,
) -> Result<QueryService, BackendError> {
    let mut found = stacks(client, namespace).await?;
    if found.is_empty() && namespace.is_some() {
        // The stack may be in a namespace of its own, which the user may not be allowed to see.
        found = stacks(client, None).await.unwrap_or_default();
    }
    let mut services = found.iter().filter_map(query_service);
    services.next().ok_or_else(|| {
        BackendError::Find(
            "found no TracingStack with a query API in the cluster; give the address of a Jaeger \
             with --traces-url"
                .to_owned(),
        )
    })
}

async fn stacks(
    client: &Client,
    namespace: Option<&Namespace>,
) -> Result<Vec<DynamicObject>, BackendError> {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, "TracingStack");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tracingstacks");
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace.as_str(), &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let listed = call(api.list(&ListParams::default().limit(MAX_LISTED))).await?;
    Ok(listed.items)
}

/// The Service in a stack's status, such as `tracing-query.shop.svc:16686`.
fn query_service(stack: &DynamicObject) -> Option<QueryService> {
    let text = |path| stack.data.pointer(path).and_then(Value::as_str);
    let (host, port) = text("/status/endpoints/query")?.rsplit_once(':')?;
    let mut labels = host.split('.');
    let name = labels.next()?.to_owned();
    let namespace = labels.next().map(str::to_owned);
    let base_path = text("/spec/jaeger/basePath").unwrap_or_default();
    Some(QueryService {
        namespace: namespace.or_else(|| stack.metadata.namespace.clone())?,
        name,
        port: port.parse().ok()?,
        base_path: base_path.trim_end_matches('/').to_owned(),
    })
}

/// A ready pod of a Service, and its port.
async fn ready_pod(client: &Client, service: &QueryService) -> Result<(String, u16), BackendError> {
    let QueryService {
        namespace, name, ..
    } = service;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let object = call(services.get(name)).await?;
    let spec = object.spec.unwrap_or_default();
    let selector = spec.selector.iter().flatten();
    let labels: Vec<String> = selector.map(|(key, it)| format!("{key}={it}")).collect();
    let none_ready = || {
        BackendError::Reach(format!(
            "the Service {namespace}/{name} has no ready pod; check the stack with \
             `kubectl get tracingstacks -n {namespace}`"
        ))
    };
    if labels.is_empty() {
        return Err(none_ready());
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default()
        .labels(&labels.join(","))
        .limit(MAX_LISTED);
    let pods = call(pods.list(&parameters)).await?;
    let pod = pods
        .items
        .into_iter()
        .find(is_ready)
        .ok_or_else(none_ready)?;
    let port = target_port(&spec, &pod, service.port).ok_or_else(none_ready)?;
    Ok((pod.metadata.name.unwrap_or_default(), port))
}

/// The port of a pod that a Service's port leads to.
fn target_port(service: &ServiceSpec, pod: &Pod, port: i32) -> Option<u16> {
    let mut ports = service.ports.iter().flatten();
    let target = ports.find(|it| it.port == port)?.target_port.as_ref();
    let number = match target {
        None => port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|it| it.ports.iter().flatten());
            let named = ports.find(|it| it.name.as_ref() == Some(name))?;
            named.container_port
        }
    };
    u16::try_from(number).ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    let is_going = pod.metadata.deletion_timestamp.is_some();
    let mut conditions = conditions.into_iter().flatten();
    !is_going && conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn stack(query: &str, base_path: Option<&str>) -> DynamicObject {
        let stack = json!({
            "metadata": {"name": "tracing", "namespace": "shop"},
            "spec": {"jaeger": {"basePath": base_path}},
            "status": {"endpoints": {"query": query}},
        });
        serde_json::from_value(stack).unwrap()
    }

    #[rstest::rstest]
    #[case("tracing-query.shop.svc:16686", None, "shop/tracing-query:16686")]
    #[case("jaeger:16686", Some("/"), "shop/jaeger:16686")]
    #[case(
        "jaeger.observability:80",
        Some("/jaeger"),
        "observability/jaeger:80/jaeger"
    )]
    fn query_service_is_in_the_status(
        #[case] query: &str,
        #[case] base_path: Option<&str>,
        #[case] expected: &str,
    ) {
        let found = query_service(&stack(query, base_path)).unwrap();
        let QueryService {
            namespace,
            name,
            port,
            base_path,
        } = found;
        assert_eq!(format!("{namespace}/{name}:{port}{base_path}"), expected);
    }

    #[rstest::rstest]
    #[case(json!(null), Some(16686))]
    #[case(json!(80), Some(80))]
    #[case(json!("query"), Some(9000))]
    #[case(json!("other"), None)]
    fn port_of_the_pod_is_resolved(#[case] target: Value, #[case] expected: Option<u16>) {
        let service = json!({"ports": [{"port": 16686, "targetPort": target}]});
        let ports = json!([{"name": "query", "containerPort": 9000}]);
        let pod = json!({"spec": {"containers": [{"name": "jaeger", "ports": ports}]}});
        let service: ServiceSpec = serde_json::from_value(service).unwrap();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(target_port(&service, &pod, 16686), expected);
    }

    #[test]
    fn only_ready_pods_are_used() {
        let pod = |status: &str| -> Pod {
            let condition = json!({"type": "Ready", "status": status});
            let pod = json!({"metadata": {"name": "a"}, "status": {"conditions": [condition]}});
            serde_json::from_value(pod).unwrap()
        };
        assert!(is_ready(&pod("True")));
        assert!(!is_ready(&pod("False")));
        assert!(!is_ready(&Pod::default()));
    }
}
