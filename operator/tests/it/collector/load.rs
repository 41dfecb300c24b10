//! Traces at a steady rate, and their outcomes.

use std::{fmt, net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use spoor_policy::Probability;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::sink::Received;

/// The load to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub traces_per_second: u32,
    pub lasts: Duration,
    /// The time from a trace's first span to its last.
    pub spread: Duration,
}

/// The spans of each trace.
pub const SPANS: u8 = 8;

/// A trace of the load.
#[derive(Clone, Debug)]
pub struct Sent {
    id: [u8; 16],
    randomness: u64,
    fails: bool,
}

const TICK: Duration = Duration::from_millis(100);

/// Sends traces, a part of each to every address. Returns the sent traces.
pub async fn send(load: Load, to: &[SocketAddr]) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(7);
    let mut clients: Vec<_> = to.iter().map(client).collect();
    let start = Instant::now();
    let (mut sent, mut due) = (Vec::new(), Vec::new());
    let gap = load.spread / u32::from(SPANS - 1);
    loop {
        let now = start.elapsed();
        let begun = now.min(load.lasts).as_secs_f64() * f64::from(load.traces_per_second);
        while (sent.len() as f64) < begun {
            let trace = trace(&mut random);
            let failing = random.random_range(0..SPANS);
            due.extend((0..SPANS).map(|number| {
                let fails = trace.fails && number == failing;
                (now + gap * u32::from(number), span(&trace, number, fails))
            }));
            sent.push(trace);
        }
        let (ready, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|(at, _)| *at <= now);
        due = later;
        let mut parts = vec![Vec::new(); clients.len()];
        for (_, span) in ready {
            // Each trace has spans at every address.
            let part = usize::from(span.span_id[7]) % clients.len();
            parts[part].push(span);
        }
        for (client, spans) in clients.iter_mut().zip(parts) {
            export(client, spans).await;
        }
        if due.is_empty() && now >= load.lasts {
            return sent;
        }
        tokio::time::sleep_until(start + now + TICK).await;
    }
}

fn client(address: &SocketAddr) -> TraceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    TraceServiceClient::new(endpoint.connect_lazy())
}

/// Exports spans, with retries until they are accepted, as the services' exporters do.
async fn export(client: &mut TraceServiceClient<Channel>, spans: Vec<Span>) {
    if spans.is_empty() {
        return;
    }
    let request = request(spans);
    while let Err(refused) = client.export(request.clone()).await {
        // Not the receiver's response, but the end of a connection at its maximum age.
        let is_of_the_connection = std::error::Error::source(&refused).is_some();
        let is_retryable = refused.code() == tonic::Code::Unavailable || is_of_the_connection;
        assert!(is_retryable, "{refused}");
        tokio::time::sleep(TICK).await;
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue("a".to_owned())),
        }),
        ..KeyValue::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![service],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn trace(random: &mut StdRng) -> Sent {
    Sent {
        id: random.random(),
        randomness: random.random::<u64>() >> 8,
        fails: random.random_ratio(1, 20),
    }
}

/// The root comes last.
fn span(trace: &Sent, number: u8, fails: bool) -> Span {
    let id = |number: u8| [&trace.id[..7], &[number + 1]].concat();
    let root = SPANS - 1;
    Span {
        trace_id: trace.id.to_vec(),
        span_id: id(number),
        parent_span_id: if number == root { vec![] } else { id(root) },
        name: "work".to_owned(),
        trace_state: format!("ot=rv:{:014x}", trace.randomness),
        start_time_unix_nano: 1_800_000_000_000_000_000,
        end_time_unix_nano: 1_800_000_000_001_000_000,
        status: fails.then(|| Status {
            code: StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Span::default()
    }
}

/// The outcomes of all traces, under rules that keep errors and a share of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceOutcomes {
    pub traces: usize,
    pub to_be_kept: usize,
    /// Traces to be kept of which no span was received.
    pub lost: usize,
    /// Traces of which only some spans were received.
    pub split: usize,
    /// Traces received although the rules drop them.
    pub kept_wrongly: usize,
    /// Spans received more than once.
    pub repeated: usize,
}

impl TraceOutcomes {
    pub fn of(sent: &[Sent], received: &Received, least: Probability, most: Probability) -> Self {
        let mut outcomes = Self {
            traces: sent.len(),
            ..Self::default()
        };
        for trace in sent {
            let spans = received.get(trace.id.as_slice());
            let received_spans = spans.map_or(0, std::collections::BTreeMap::len);
            let is_kept = trace.fails || least.threshold().keeps(trace.randomness);
            let may_be_kept = trace.fails || most.threshold().keeps(trace.randomness);
            outcomes.to_be_kept += usize::from(is_kept);
            outcomes.lost += usize::from(is_kept && received_spans == 0);
            outcomes.split +=
                usize::from(received_spans > 0 && received_spans < usize::from(SPANS));
            outcomes.kept_wrongly += usize::from(!may_be_kept && received_spans > 0);
            let times = spans.into_iter().flat_map(|spans| spans.values());
            outcomes.repeated += times.map(|times| times - 1).sum::<usize>();
        }
        outcomes
    }

    /// The outcomes of the same load without a loss.
    pub fn without_loss(self) -> Self {
        Self {
            traces: self.traces,
            to_be_kept: self.to_be_kept,
            ..Self::default()
        }
    }
}

impl fmt::Display for TraceOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} traces, {} to be kept: {} lost, {} split, {} kept wrongly, {} spans repeated",
            self.traces, self.to_be_kept, self.lost, self.split, self.kept_wrongly, self.repeated
        )
    }
}
