//! A service's instance that acknowledges every plan at once, until it is dropped.

use std::time::Duration;

use spoor_proto::spoor::control::v1::Plan;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    apiserver::{Namespace, PodIdentity, eventually},
    role::{MAX_WAIT, Policies},
    subscriber::{Claim, Subscriber, probability},
};

/// A pod with an open stream.
pub struct Follower {
    pub pod: PodIdentity,
    held: watch::Receiver<(usize, Plan)>,
    following: JoinHandle<()>,
}

impl Follower {
    /// Creates a Ready pod of a service and connects it to the role.
    pub async fn start(
        role: &Policies,
        namespace: &Namespace<'_>,
        service: &str,
        number: u8,
    ) -> Self {
        let pod = format!("{service}-{number}");
        let ip = format!("127.0.1.{number}");
        let labels = [("spoor.dev/service", service)];
        let pod = namespace.ready_pod(&pod, &labels, &ip).await;
        Self::connect(role, namespace, service, &pod).await
    }

    /// Connects an existing pod to the role.
    pub async fn connect(
        role: &Policies,
        namespace: &Namespace<'_>,
        service: &str,
        pod: &PodIdentity,
    ) -> Self {
        let token = namespace.pod_token(pod, "spoor.dev").await;
        let endpoint = role.endpoints().await.stream;
        let (mut stream, plan) = eventually("a stream", MAX_WAIT, async || {
            let claim = Claim {
                token: Some(&token),
                service,
                instance: &pod.uid,
            };
            let stream = Subscriber::subscribe(endpoint, &role.certificate.ca_pem, claim).await;
            stream.map_err(|status| format!("{status:?}"))
        })
        .await;
        stream.acknowledge(&plan).await;
        let (holds, held) = watch::channel((1, plan));
        let following = tokio::spawn(async move {
            // The stream ends with the role.
            loop {
                match stream.plan().await {
                    Ok(plan) => {
                        stream.acknowledge(&plan).await;
                        holds.send_modify(|(count, held)| {
                            *count += 1;
                            *held = plan;
                        });
                    }
                    Err(status) if status.code() == tonic::Code::DeadlineExceeded => {}
                    Err(_) => return,
                }
            }
        });
        Self {
            pod: pod.clone(),
            held,
            following,
        }
    }

    /// The number of plans received.
    pub fn plans(&self) -> usize {
        self.held.borrow().0
    }

    /// Waits for a plan that keeps this share in millionths; `None` stands for the service's
    /// fallback.
    pub async fn wait_for_plan(&mut self, millionths: Option<u32>) {
        let what = format!("{} holds {millionths:?}", self.pod.name);
        let held = self
            .held
            .wait_for(|(_, plan)| probability(plan) == millionths);
        tokio::time::timeout(Duration::from_secs(15), held)
            .await
            .expect(&what)
            .expect(&what);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.following.abort();
    }
}
