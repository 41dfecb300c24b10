//! Instances of one service, each a pod with a token and a stream of its own. Each acknowledges
//! every plan at once.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

use crate::{
    apiserver::{Namespace, eventually},
    role::replica::Release,
    subscriber::{Claim, Subscriber},
};

/// The number of pods that are created and connected at a time.
const MAX_CONCURRENT_PODS: usize = 32;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The instances. They acknowledge plans until they are dropped.
pub struct Instances {
    _listening: JoinSet<()>,
}

impl Instances {
    /// Creates this many pods and connects them.
    pub async fn connect(namespace: &Namespace<'_>, release: &Release, count: usize) -> Self {
        let subscribers: Vec<Subscriber> = stream::iter(0..count)
            .map(|number| join(namespace, release, number))
            .buffer_unordered(MAX_CONCURRENT_PODS)
            .collect()
            .await;
        let mut listening = JoinSet::new();
        for mut subscriber in subscribers {
            listening.spawn(async move {
                loop {
                    match subscriber.plan().await {
                        Ok(plan) => subscriber.acknowledge(&plan).await,
                        Err(status) if status.code() == tonic::Code::DeadlineExceeded => {}
                        Err(_) => return,
                    }
                }
            });
        }
        Self {
            _listening: listening,
        }
    }
}

async fn join(namespace: &Namespace<'_>, release: &Release, number: usize) -> Subscriber {
    let name = format!("a-{number}");
    let ip = format!("10.1.{}.{}", number / 250, 1 + number % 250);
    let labels = [("spoor.dev/service", "a")];
    let pod = namespace.ready_pod(&name, &labels, &ip).await;
    let token = namespace.pod_token(&pod, "spoor.dev").await;
    let claim = Claim {
        token: Some(&token),
        service: "a",
        instance: &name,
    };
    let (subscriber, plan) = eventually("a stream", TIMEOUT, async || {
        let ca = &release.certificate.ca_pem;
        let stream = Subscriber::subscribe(release.endpoints.stream, ca, claim.clone()).await;
        stream.map_err(|status| format!("{status:?}"))
    })
    .await;
    subscriber.acknowledge(&plan).await;
    subscriber
}
