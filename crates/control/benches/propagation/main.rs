//! The time that a policy change takes to reach the last subscriber.
//!
//! Each subscriber is a connection over loopback, held by a second process. The time is measured
//! from the publication to the receipt of the acknowledgement.
//!
//! `cargo bench -p spoor-control --bench propagation -- --subscribers 1000,10000 --rounds 50`
#![allow(missing_docs)]

mod subscribers;

use std::{
    env,
    error::Error,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spoor_control::{Control, ControlSettings};
use spoor_policy::{Policy, PolicyFields, PolicyKey, Probability, Strategy, resolve};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

const MAX_WAIT: Duration = Duration::from_secs(60);

/// The pause between rounds, so that they do not overlap.
const ROUND_PAUSE: Duration = Duration::from_millis(20);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    raise_file_limit()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(address) = option("--connect-to") {
        let count = option("--count").unwrap_or_default().parse()?;
        return subscribers::run(address.parse()?, count);
    }
    let counts = option("--subscribers").unwrap_or_else(|| "1000,10000".to_owned());
    let rounds: Option<usize> = option("--rounds").map(|it| it.parse()).transpose()?;
    println!("subscribers  rounds  acks p50  acks p99  last p50  last p99  last max  missed");
    for count in counts.split(',') {
        let count: usize = count.parse()?;
        let rounds = rounds.unwrap_or(if count > 2_000 { 20 } else { 100 });
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(measure(count, rounds))?;
    }
    Ok(())
}

async fn measure(count: usize, rounds: usize) -> Result<()> {
    let shutdown = CancellationToken::new();
    let control = Control::new(ControlSettings {
        max_streams: count,
        max_clients: count,
        shutdown: shutdown.clone(),
        ..ControlSettings::default()
    });
    let mut version = control.publish(resolve(&[policy(0)?], Timestamp::now()));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let server = tokio::spawn(
        Server::builder()
            .add_service(control.policy_stream())
            .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned()),
    );
    let mut subscribers = start_subscribers(address, count)?;
    let deadline = Instant::now() + MAX_WAIT;
    while control
        .convergence(version)
        .is_none_or(|it| it.instances < count)
    {
        if Instant::now() > deadline {
            subscribers.kill()?;
            return Err("not all subscribers connected".into());
        }
        sleep(Duration::from_millis(50)).await;
    }

    let mut acknowledged = Histogram::<u64>::new(3)?;
    let mut last = Histogram::<u64>::new(3)?;
    let mut missed = 0;
    for round in 1..=rounds {
        sleep(ROUND_PAUSE).await;
        let resolution = resolve(&[policy(round)?], Timestamp::now());
        version = control.publish(resolution);
        if let Ok(convergence) = timeout(MAX_WAIT, control.converged(version)).await {
            last.record(micros(convergence.took))?;
        }
        for instance in control.instances() {
            match instance.took.filter(|_| instance.held == Some(version)) {
                Some(took) => acknowledged.record(micros(took))?,
                None => missed += 1,
            }
        }
        missed += count.saturating_sub(control.instances().len());
    }
    let millis = |micros: u64| format!("{:.1} ms", micros as f64 / 1e3);
    println!(
        "{count:>11}  {rounds:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {missed:>6}",
        millis(acknowledged.value_at_quantile(0.5)),
        millis(acknowledged.value_at_quantile(0.99)),
        millis(last.value_at_quantile(0.5)),
        millis(last.value_at_quantile(0.99)),
        millis(last.max()),
    );
    shutdown.cancel();
    server.await??;
    subscribers.wait()?;
    Ok(())
}

fn policy(round: usize) -> Result<Policy> {
    let key = PolicyKey {
        namespace: "default".parse()?,
        name: "bench".parse()?,
    };
    let probability = Probability::from_millionths(u32::try_from(round % 1_000)? + 1)?;
    let head = Some(Strategy::Probability(probability));
    Ok(Policy::new(PolicyFields {
        key,
        priority: 0,
        created: Timestamp::UNIX_EPOCH,
        targets: vec![],
        head,
        tail: None,
        expires_at: None,
    })?)
}

fn start_subscribers(address: SocketAddr, count: usize) -> Result<Child> {
    let child = Command::new(env::current_exe()?)
        .args(["--connect-to", &address.to_string()])
        .args(["--count", &count.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// Raises the limit of open files: this process holds one end of each connection.
fn raise_file_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
