//! The metrics of the sampler.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use spoor_traces::Forwarder;

use crate::{custody::CustodyFolder, in_force::RulesInForce, peers::Peers, send::SendCounts};

/// All metrics of the sampler. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Registry>);

impl Metrics {
    pub(crate) fn new(
        forwarder: &Forwarder,
        sent: &SendCounts,
        rules: Arc<RulesInForce>,
        peers: Option<&Peers>,
    ) -> Self {
        let mut registry = Registry::default();
        forwarder.register(&mut registry);
        sent.register(&mut registry);
        registry.register_collector(Box::new(RuleMetrics(rules)));
        if let Some(peers) = peers {
            let name = "spoor_sampler_forward_failures";
            let help = "Calls to other samplers that failed and are repeated";
            registry.register(name, help, peers.failures.clone());
            let name = "spoor_sampler_peer_calls_unauthenticated";
            let help = "Calls refused on the port for other samplers, since they lack its token";
            registry.register(name, help, peers.token.refused.clone());
        }
        registry.register_collector(Box::new(ForwardMetrics {
            forwarder: forwarder.clone(),
            has_peers: peers.is_some(),
            custody: peers.and_then(|peers| peers.custody.clone()),
        }));
        Self(Arc::new(registry))
    }

    /// The metrics in OpenMetrics' text format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

impl SendCounts {
    fn register(&self, registry: &mut Registry) {
        let help = "Batches that the receiver accepted";
        registry.register("spoor_sampler_batches_sent", help, self.batches.clone());
        let name = "spoor_sampler_sent";
        let help = "Size of the batches that the receiver accepted, before compression";
        registry.register_with_unit(name, help, Unit::Bytes, self.bytes.clone());
        let help = "Spans that the receiver accepted";
        registry.register("spoor_sampler_spans_sent", help, self.spans.clone());
        let help = "Spans that the receiver refused for good";
        registry.register("spoor_sampler_spans_refused", help, self.refused.clone());
        let help = "Attempts to send a batch that failed and are repeated";
        registry.register("spoor_sampler_send_failures", help, self.failures.clone());
        let name = "spoor_sampler_batches_in_flight";
        let help = "Batches that are being sent";
        registry.register(name, help, self.in_flight.clone());
    }
}

/// Reads the state of the rules when it is scraped.
#[derive(Debug)]
struct RuleMetrics(Arc<RulesInForce>);

impl Collector for RuleMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = "spoor_sampler_control_plane_connected";
        let help = "1 if the stream of tail rules is connected";
        let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.0.is_connected())).encode(gauge)?;
        let Some(held) = self.0.held() else {
            return Ok(());
        };
        let name = "spoor_sampler_rules";
        let help = "The tail rules in force, by version and digest";
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = [
            ("version", held.version.to_string()),
            ("digest", held.digest.to_string()),
        ];
        ConstGauge::new(1_i64).encode(gauge.encode_family(&labels)?)
    }
}

/// Reads what is left in the forwarder, and the state of its rings, when it is scraped.
#[derive(Debug)]
struct ForwardMetrics {
    forwarder: Forwarder,
    has_peers: bool,
    custody: Option<Arc<CustodyFolder>>,
}

impl Collector for ForwardMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pending = self.forwarder.forward_pending();
        let for_peers: usize = pending.iter().map(|(_, bytes)| *bytes).sum();
        // Read in the order in which spans move on, so that none is missed.
        let traces = self.forwarder.totals().traces_gathering;
        let bytes = self.forwarder.backlog().bytes;
        let kept = self.custody.as_ref().map_or(0, |it| it.held_bytes());
        let undelivered = traces + (for_peers + bytes) as u64 + kept;
        let name = "spoor_sampler_undelivered";
        let help = "Traces that wait, plus bytes to send, to hand over, and in other samplers' \
                    files that are kept here; 0 if nothing is left";
        gauge(&mut encoder, name, help, undelivered)?;
        let name = "spoor_sampler_spans_resent";
        let help = "Spans of the journal sent again after the start, as they were not confirmed";
        let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.forwarder.recovery().resent).encode(counter)?;
        if !self.has_peers {
            return Ok(());
        }
        let rings = self.forwarder.rings();
        let generation = rings.map_or(0, |rings| rings.generation());
        let name = "spoor_sampler_rings_generation";
        let help = "Generation of the rings in force; 0 if they are not known yet";
        gauge(&mut encoder, name, help, generation)?;
        let name = "spoor_sampler_rings_settled_generation";
        let help = "Newest generation of rings that is settled: the sampler knows no trace from \
                    before it; 0 if not known yet";
        gauge(
            &mut encoder,
            name,
            help,
            self.forwarder.settled_generation(),
        )?;
        let name = "spoor_sampler_forward_pending";
        let help = "Bytes of spans that wait for another sampler";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (peer, bytes) in pending {
            let labels = [("peer", peer.to_string())];
            ConstGauge::new(bytes as u64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(gauge)
}
