//! The connection to a cluster, as the user's kubeconfig describes it.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use spoor_policy::{Namespace, message::listed};
use spoor_traces::client::TraceClient;

use crate::call::{CallError, call};

/// The longest silence on a connection. A watch ends before that.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most contexts that an error names.
const MAX_NAMED_CONTEXTS: usize = 10;

/// The cluster to connect to, and the namespaces to show.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// The kubeconfig. If unset, the file or files in `KUBECONFIG`, or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. If unset, its current one.
    pub context: Option<String>,
    /// The only namespace to show. If unset, the context's.
    pub namespace: Option<Namespace>,
    /// True to show all namespaces instead, if the user may list policies in all.
    pub all_namespaces: bool,
    /// The query API to read traces from. If unset, the Jaeger of a `TracingStack`.
    pub traces: Option<TraceClient>,
}

/// The reason why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig, or it cannot be read.
    #[error("cannot read the kubeconfig; set KUBECONFIG, or create ~/.kube/config")]
    ReadKubeconfig(#[source] KubeconfigError),
    /// The kubeconfig has no current context, and none was requested.
    #[error("the kubeconfig has no current context; choose one of its contexts: {0}")]
    ChooseContext(String),
    /// The kubeconfig does not have the requested context.
    #[error("the kubeconfig has no context {context:?}; its contexts are: {known}")]
    FindContext {
        /// The requested context.
        context: String,
        /// The names of the kubeconfig's contexts.
        known: String,
    },
    /// The context is not usable, such as one without a server.
    #[error("cannot use the context {0:?} of the kubeconfig")]
    LoadContext(String, #[source] KubeconfigError),
    /// No client can be built from the context, such as one with an invalid certificate.
    #[error("cannot build a client for the context {0:?} of the kubeconfig")]
    BuildClient(String, #[source] Box<kube::Error>),
    /// The API server does not know the user.
    #[error("the cluster of the context {context:?} does not accept its credentials: {message}")]
    Authenticate {
        /// The context.
        context: String,
        /// The API server's message.
        message: String,
    },
    /// The API server does not respond.
    #[error("cannot reach the cluster of the context {context:?} at {url}: {reason}")]
    Reach {
        /// The context.
        context: String,
        /// The API server's URL.
        url: String,
        /// The error, with its causes.
        reason: String,
    },
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) context: String,
    /// The context's namespace.
    pub(crate) namespace: Namespace,
}

/// Connects to a cluster, and checks that it accepts the user's credentials.
pub(crate) async fn connect(options: &ClusterOptions) -> Result<Connection, ConnectError> {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(ConnectError::ReadKubeconfig)?;
    let context = context(&kubeconfig, options.context.as_deref())?;
    let selected = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &selected).await;
    let mut config = config.map_err(|error| ConnectError::LoadContext(context.clone(), error))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Otherwise the time spent writing a request would count as silence.
    config.reset_reader_on_write = true;
    let url = config.cluster_url.to_string();
    let namespace = Namespace::new(&config.default_namespace).unwrap_or_default();
    let client = Client::try_from(config)
        .map_err(|error| ConnectError::BuildClient(context.clone(), Box::new(error)))?;
    check(&client, &context, url).await?;
    Ok(Connection {
        client,
        context,
        namespace,
    })
}

/// The requested context, or else the current one.
fn context(kubeconfig: &Kubeconfig, requested: Option<&str>) -> Result<String, ConnectError> {
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|it| &*it.name).collect();
    let known = || match names.as_slice() {
        [] => "(none)".to_owned(),
        names => listed(names, MAX_NAMED_CONTEXTS),
    };
    let current = kubeconfig.current_context.as_deref();
    let context = requested.or(current.filter(|name| !name.is_empty()));
    let context = context.ok_or_else(|| ConnectError::ChooseContext(known()))?;
    if names.contains(&context) {
        return Ok(context.to_owned());
    }
    Err(ConnectError::FindContext {
        context: context.to_owned(),
        known: known(),
    })
}

async fn check(client: &Client, context: &str, url: String) -> Result<(), ConnectError> {
    let Err(error) = call(client.apiserver_version()).await else {
        return Ok(());
    };
    let context = context.to_owned();
    match error.response() {
        Some(status) if status.code == 401 => Err(ConnectError::Authenticate {
            context,
            message: status.message.clone(),
        }),
        // The version may be forbidden, and policies nevertheless allowed.
        Some(status) if status.code == 403 => Ok(()),
        _ => Err(ConnectError::Reach {
            context,
            url,
            reason: reason(&error),
        }),
    }
}

/// The causes of a failed call, since the error names the cluster already.
fn reason(error: &CallError) -> String {
    match error {
        CallError::Failed(error) => spoor_runtime::with_causes(&**error),
        CallError::DeadlineExceeded => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TWO: &str = "
apiVersion: v1
kind: Config
contexts:
- {name: kind-lab, context: {cluster: kind, user: me}}
- {name: shop, context: {cluster: shop, user: me}}
";

    fn of(text: &str, requested: Option<&str>) -> Result<String, String> {
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        context(&kubeconfig, requested).map_err(|error| error.to_string())
    }

    #[test]
    fn requested_context_wins() {
        let current = format!("{TWO}current-context: kind-lab\n");
        assert_eq!(of(&current, None), Ok("kind-lab".to_owned()));
        assert_eq!(of(&current, Some("shop")), Ok("shop".to_owned()));
    }

    #[rstest::rstest]
    #[case::unknown(TWO, Some("nope"), "its contexts are: kind-lab, shop")]
    #[case::none_current(TWO, None, "choose one of its contexts: kind-lab, shop")]
    #[case::empty("apiVersion: v1\nkind: Config\n", None, "(none)")]
    fn known_contexts_are_named(
        #[case] text: &str,
        #[case] requested: Option<&str>,
        #[case] expected: &str,
    ) {
        let error = of(text, requested).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[tokio::test]
    async fn unreachable_cluster_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = format!(
            "{TWO}clusters: [{{name: kind, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
             users: [{{name: me, user: {{}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let options = ClusterOptions {
            kubeconfig: Some(path),
            context: Some("kind-lab".to_owned()),
            ..ClusterOptions::default()
        };
        let error = connect(&options).await.err().unwrap().to_string();
        assert!(
            error.contains("\"kind-lab\" at http://127.0.0.1:1/"),
            "{error}"
        );
    }
}
