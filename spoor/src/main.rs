//! The `spoor` command.

mod allocator;
mod cli;
mod demo;
mod generate;
mod lessons;
mod load;
mod probe;
mod traces;

use std::{process::ExitCode, time::Duration};

use cli::out::errln;

/// Two threads are enough for the lab and for each service, and keep the processes small: the lab
/// starts a process for each service.
const WORKER_THREADS: usize = 2;

/// The limit of file descriptors, unless the process starts with a higher one: enough for 512 policy
/// streams, each with its own connection.
const MAX_DESCRIPTORS: u64 = 4_096;

/// The time for blocking work that is still running after the drain.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Before the runtime starts: `--help` and mistyped options need no threads.
    let command = match cli::parse() {
        Ok(command) => command,
        Err(error) => return cli::explain(&error),
    };
    if let Err(error) = spoor_runtime::raise_descriptor_limit(MAX_DESCRIPTORS) {
        errln!("spoor: cannot raise the limit of file descriptors: {error}");
    }
    if command.starts_a_lab()
        && let Err(error) = allocator::limit()
    {
        errln!(
            "spoor: cannot limit the memory allocator, so the lab may take more memory: {error}"
        );
    }
    // Not `#[tokio::main]`, which would start a thread for each core, in each of sixteen processes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(command.execute());
            // Dropping the runtime would wait for all blocking work, such as a query whose client
            // has gone, and a second Ctrl-C would not end the lab.
            runtime.shutdown_timeout(BLOCKING_GRACE);
            result.unwrap_or_else(|error| cli::report(&error))
        }
        Err(error) => {
            errln!("spoor: cannot start the async runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
