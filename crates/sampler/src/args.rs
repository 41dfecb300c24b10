//! The options of the sampler.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use spoor_policy::Namespace;
use spoor_runtime::parse_size;
use spoor_telemetry::duration;

/// The options of the sampler. Its receiver and its control plane are set by environment variables.
#[derive(clap::Args, Clone, Debug)]
pub struct SamplerArgs {
    /// Address to listen on for spans: OTLP over gRPC and HTTP; port 0 takes any free port
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4327"
    )]
    pub listen: SocketAddr,
    /// Address to listen on for /metrics, /healthz and /readyz
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9490"
    )]
    pub ops_listen: SocketAddr,
    /// Time from a trace's root span to the decision, from 100ms to 10m. SDKs export spans every 5 s
    /// by default
    #[arg(
        long,
        env = "SPOOR_DECISION_WAIT",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse
    )]
    pub decision_wait: Duration,
    /// Maximum time from a trace's first span to the decision, whether or not its root span has
    /// arrived, up to 1h
    #[arg(
        long,
        env = "SPOOR_MAX_TRACE_DURATION",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = duration::parse
    )]
    pub max_trace_duration: Duration,
    /// Memory for traces that wait for their decision; when it is full, the oldest are decided
    /// early
    #[arg(
        long,
        env = "SPOOR_MEMORY",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = parse_size
    )]
    pub memory: usize,
    /// Folder for spans that have been accepted but not sent, and for the rules in force. Without
    /// it, both are lost when the sampler is killed
    #[arg(long, env = "SPOOR_JOURNAL", value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// Maximum size of that folder; when it is full, spans are refused until some have been sent
    #[arg(
        long,
        env = "SPOOR_JOURNAL_SIZE",
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = parse_size
    )]
    pub journal_size: usize,
    /// At a shutdown, decide on the traces that wait instead of leaving them to the next start: for
    /// a folder that is lost in between. With --peers, a peer keeps the files of this folder
    /// for the next start, and these traces are decided only if no peer takes them
    #[arg(long, env = "SPOOR_DECIDE_AT_SHUTDOWN")]
    pub decide_at_shutdown: bool,
    /// Namespace whose tail rules apply to root spans without k8s.namespace.name. Without it,
    /// the rules are those of the namespace in service.namespace
    #[arg(long, env = "SPOOR_NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// Name of the TracingStack that the sampler belongs to, for the control plane
    #[arg(
        long,
        env = "SPOOR_STACK",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub stack: String,
    /// Address of the peers' port of each sampler of the stack, with {ordinal} in place of its
    /// ordinal, such as tracing-sampler-{ordinal}.tracing-sampler-pods:4320. Traces are divided among
    /// these samplers. This sampler's ordinal is the number at the end of service.instance.id
    #[arg(long, env = "SPOOR_PEERS", value_name = "ADDRESS")]
    pub peers: Option<String>,
    /// File with a token that the samplers of the stack share, of at least 16 characters; required
    /// with --peers. Calls without it are refused. The file is read again every 5 s
    #[arg(long, env = "SPOOR_PEERS_TOKEN_FILE", value_name = "FILE")]
    pub peers_token_file: Option<PathBuf>,
    /// Address to listen on for the other samplers of the stack, with --peers
    #[arg(
        long,
        env = "SPOOR_PEERS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:4320"
    )]
    pub peers_listen: SocketAddr,
}
