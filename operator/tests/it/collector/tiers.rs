//! Both tiers, with a proxy in place of the Service between them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use spoor_api::stack::Stack;
use spoor_operator::stacks::collector::Tier;
use spoor_policy::TailTable;

use super::{
    configuration::{ListenAddresses, Upstreams, relocated, with_peers},
    objects,
    program::Program,
    proxy::Proxy,
    sink::Sink,
};

/// The gathering programs, the deciding one, and the receiver behind it.
pub struct Tiers {
    pub gather: Vec<Program>,
    pub decide: Program,
    pub sink: Sink,
    proxy: Proxy,
    program: PathBuf,
    stack: Stack,
}

impl Tiers {
    /// Starts as many gathering programs as the stack has replicas.
    pub async fn start(
        program: &Path,
        stack: Stack,
        tail: &TailTable,
        counts_endpoint: SocketAddr,
    ) -> Self {
        let sink = Sink::start().await;
        let objects = objects(&stack, tail);
        let decide = start_decide(program, &objects.decide, sink.address).await;
        let proxy = Proxy::start(decide.addresses.grpc).await;
        let replicas = super::managed(&stack).replicas;
        let addresses: Vec<ListenAddresses> = (0..replicas)
            .map(|_| ListenAddresses::on_free_ports())
            .collect();
        let peers: Vec<SocketAddr> = addresses.iter().map(|addresses| addresses.peers).collect();
        let upstreams = Upstreams {
            next: proxy.address,
            counts_endpoint,
        };
        let mut gather = Vec::new();
        for addresses in addresses {
            let mut config = relocated(&objects.gather, &addresses, &upstreams);
            if replicas > 1 {
                config = with_peers(config, &peers);
            }
            gather.push(Program::start(program, &objects.gather, &config, addresses).await);
        }
        Self {
            gather,
            decide,
            sink,
            proxy,
            program: program.to_owned(),
            stack,
        }
    }

    /// Replaces the deciding program for new rules as its Deployment does: the new one first, and
    /// the old one continues for the delay of its `preStop`.
    pub async fn change_rules(&mut self, tail: &TailTable) {
        let tier = objects(&self.stack, tail).decide;
        let new = start_decide(&self.program, &tier, self.sink.address).await;
        self.proxy.set_target(new.addresses.grpc);
        let old = std::mem::replace(&mut self.decide, new);
        tokio::time::sleep(pre_stop(&tier)).await;
        old.stop().await;
    }

    /// Kills the deciding program, and starts another one.
    pub async fn kill_decide(&mut self, tail: &TailTable) {
        let tier = objects(&self.stack, tail).decide;
        // To a port without a listener, like a Service without endpoints.
        self.proxy.set_target(ListenAddresses::on_free_ports().grpc);
        self.decide.kill();
        self.decide = start_decide(&self.program, &tier, self.sink.address).await;
        self.proxy.set_target(self.decide.addresses.grpc);
    }

    /// Ends all programs, those of the gathering tier first. Returns the receiver.
    pub async fn stop(self) -> Sink {
        for gather in self.gather {
            gather.stop().await;
        }
        self.decide.stop().await;
        self.sink
    }
}

async fn start_decide(program: &Path, tier: &Tier, sink: SocketAddr) -> Program {
    let addresses = ListenAddresses::on_free_ports();
    let upstreams = Upstreams {
        next: sink,
        counts_endpoint: sink,
    };
    let config = relocated(tier, &addresses, &upstreams);
    Program::start(program, tier, &config, addresses).await
}

fn pre_stop(tier: &Tier) -> Duration {
    let spec = tier.workload.spec.as_ref().unwrap();
    let pod = spec.template.spec.as_ref().unwrap();
    let lifecycle = pod.containers[0].lifecycle.as_ref().unwrap();
    let sleep = lifecycle.pre_stop.as_ref().unwrap().sleep.as_ref().unwrap();
    Duration::from_secs(sleep.seconds.try_into().unwrap())
}
