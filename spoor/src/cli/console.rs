//! `spoor console`: a cluster's policies and traces in the browser.

use std::{
    io::{self, IsTerminal},
    net::{Ipv4Addr, SocketAddr},
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use spoor_cluster::{ClusterClient, ClusterOptions};
use spoor_console::{Console, ConsoleSettings, Source};
use spoor_policy::Namespace;
use spoor_runtime::{DEFAULT_LOG_FILTER, Listener, bind, cancel_on_shutdown_signal};
use tokio::process::Command;
use tracing_subscriber::EnvFilter;

use super::{
    out::{self, errln},
    target::ClusterArgs,
};
use crate::traces::{address, trace_client};

/// The default port, next to that of a lab's pages.
const DEFAULT_PORT: u16 = 16_687;

/// The time for requests in progress when the console ends.
const GRACE: Duration = Duration::from_secs(5);

/// Show and change a cluster's policies in the browser, with the rights of the kubeconfig
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor console
  spoor console --context kind-spoor -n shop
  spoor console -A --read-only --no-open

A lab has its own console, at the address that `spoor up` prints.")]
pub struct ConsoleArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The namespace to show [default: the context's]
    #[arg(short, long, conflicts_with = "all_namespaces")]
    namespace: Option<Namespace>,
    /// Show all namespaces, if the kubeconfig's user may list policies in all
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The address of Jaeger's query API [default: that of the cluster's TracingStack, through the
    /// API server]
    #[arg(long, value_name = "URL", value_parser = address)]
    traces_url: Option<String>,
    /// The port on this machine; 0 for any free one
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Do not open the browser
    #[arg(long)]
    no_open: bool,
    /// Refuse changes
    #[arg(long)]
    read_only: bool,
}

impl ConsoleArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        log_to_standard_error();
        // Before the connection, so that Ctrl-C ends that, too.
        let stop = cancel_on_shutdown_signal()?;
        let connecting = stop.run_until_cancelled(ClusterClient::connect(self.options()));
        let Some(client) = connecting.await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let sockets = bind((Ipv4Addr::LOCALHOST, self.port).into(), "--port")?;
        let address = sockets.local_addr()?;
        let settings = ConsoleSettings {
            is_read_only: self.read_only,
        };
        let console = Console::new(Arc::new(client.clone()), settings);
        self.announce(client.source(), address);
        let serving = Listener::new(sockets, console.router()).serve(GRACE, stop.clone());
        let (served, (), ()) =
            tokio::join!(serving, client.watch(&stop), console.record(stop.clone()));
        served?;
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self) -> ClusterOptions {
        ClusterOptions {
            all_namespaces: self.all_namespaces,
            traces: self.traces_url.as_deref().map(trace_client),
            ..self.cluster.options(self.namespace.as_ref())
        }
    }

    /// Prints the address, and opens it in the browser if a person is there to see it.
    fn announce(&self, source: &Source, address: SocketAddr) {
        let url = format!("http://{address}/");
        if let (true, Some(namespace)) = (self.all_namespaces, &source.namespace) {
            errln!(
                "The user of this context may not list policies in all namespaces, so only \
                 {namespace} is shown."
            );
        }
        // Not `outln!`, which ends the process if the reader is gone.
        out::try_write(format_args!("{}\n", summary(source, &url, self.read_only)));
        if !self.no_open && io::stdout().is_terminal() {
            open(&url);
        }
    }
}

fn summary(source: &Source, url: &str, is_read_only: bool) -> String {
    let context = &source.name;
    let namespaces = match &source.namespace {
        Some(namespace) => format!("namespace {namespace}"),
        None => "all namespaces".to_owned(),
    };
    let read_only = match is_read_only {
        true => " (read-only)",
        false => "",
    };
    format!(
        "The console for context {context}, {namespaces}{read_only}:\n  {url}\nPress Ctrl-C to stop it."
    )
}

/// Opens a URL in the browser. A failure is only logged: the address is in the terminal.
fn open(url: &str) {
    let opener = match cfg!(target_os = "macos") {
        true => "open",
        // Without a desktop, `xdg-open` may start a browser for the terminal.
        false if !has_desktop() => return,
        false => "xdg-open",
    };
    let mut command = Command::new(opener);
    command.arg(url).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, opener, "cannot open the browser");
    }
}

fn has_desktop() -> bool {
    let variables = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];
    variables.iter().any(|it| std::env::var_os(it).is_some())
}

fn log_to_standard_error() {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG_FILTER.into());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .compact();
    if let Err(error) = lines.try_init() {
        errln!("spoor: cannot set up logging: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;
    use spoor_console::SourceKind;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn address_is_printed_with_the_cluster() {
        let source = Source {
            kind: SourceKind::Cluster,
            name: "kind-lab".to_owned(),
            namespace: Some(Namespace::new("shop").unwrap()),
        };
        let expected = "The console for context kind-lab, namespace shop (read-only):\n  \
                        http://127.0.0.1:1/\nPress Ctrl-C to stop it.";
        assert_eq!(summary(&source, "http://127.0.0.1:1/", true), expected);
    }

    #[test]
    fn one_namespace_or_all_can_be_chosen() {
        let both = Cli::try_parse_from(["spoor", "console", "-A", "-n", "shop"]);
        let error = both.err().unwrap().to_string();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
