//! The `spoor` command.

mod cli;
mod demo;
mod generate;
mod lessons;
mod load;
mod probe;
mod traces;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use cli::out::errln;

/// glibc's allocator never returns most freed memory: each of its arenas, eight for each core, keeps
/// the most that it ever held. The lab then takes more than twice the memory that is in use, and
/// exceeds the bounds that its documentation promises.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two threads are enough for the lab and for each service, and keep the processes small: the lab
/// starts one for each service.
const WORKER_THREADS: usize = 2;

/// The time for blocking work that is still running after the drain.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Before the runtime starts: `--help` and mistyped options need no threads.
    let command = match cli::Cli::try_parse() {
        Ok(command) => command,
        Err(error) => return cli::explain(&error),
    };
    // Not `#[tokio::main]`, whose thread count is that of the cores: sixteen processes would each
    // start as many.
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
