//! `spoor fault`: injects delays and errors into a running service.

use std::process::ExitCode;

use clap::Args;
use spoor_policy::{FaultDelay, OperationName, Probability, ServiceName, unseen_operation};

use super::out::{errln, out, outln};
use super::{
    InvalidOption, LabArgs, LabClient, Output, duration::duration, print_json, table::TextTable,
};
use crate::traces::trace_client;
use spoor_lab::wire::{FaultSetting, FaultsByService};

/// Inject delays and errors into a service, or list the faults in force
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor fault service-b --delay 300ms --errors 20%
  spoor fault service-a --operation 'GET /' --errors 5%
  spoor fault                    list the faults in force
  spoor fault service-b --clear  clear those of one service
  spoor fault --clear            clear all")]
pub struct FaultArgs {
    /// The service to inject the fault into
    service: Option<ServiceName>,
    /// Affect only requests of this operation (the server span's name)
    #[arg(long, requires = "service")]
    operation: Option<OperationName>,
    /// Delay each request by this time, at most 60s
    #[arg(long, value_name = "DURATION", value_parser = delay, requires = "service", allow_hyphen_values = true)]
    delay: Option<FaultDelay>,
    /// Fail this share of the requests, such as 20%
    #[arg(long, requires = "service")]
    errors: Option<Probability>,
    /// Clear the faults of the service, or all faults
    #[arg(long, conflicts_with_all = ["operation", "delay", "errors"])]
    clear: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

fn delay(text: &str) -> Result<FaultDelay, String> {
    FaultDelay::new(duration(text)?).map_err(|error| error.to_string())
}

impl FaultArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.lab.client();
        let service = self.service.as_ref().map(ServiceName::as_str);
        let faults = match (self.clear, service) {
            (true, service) => client.clear_faults(service).await?,
            (false, Some(service)) if self.delay.is_some() || self.errors.is_some() => {
                let faults = client.add_fault(service, &self.setting()).await?;
                if let Some(operation) = &self.operation {
                    warn_if_unknown(service, operation.as_str(), &client).await?;
                }
                faults
            }
            // Without options this could mean listing or clearing, so neither is done.
            (false, Some(_)) => {
                let missing = "no fault given; add --delay 300ms, --errors 20% or --clear";
                return Err(InvalidOption(missing.to_owned()).into());
            }
            (false, None) => client.faults().await?,
        };
        match self.output {
            Output::Json => print_json(&faults)?,
            Output::Table => print(&faults),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn setting(&self) -> FaultSetting {
        FaultSetting {
            // The wire form has text and milliseconds: other clients of the API have neither type.
            operation: self.operation.as_ref().map(ToString::to_string),
            delay_milliseconds: self.delay.unwrap_or_default().as_millis().into(),
            errors: self.errors.map(|share| share.to_string()),
        }
    }
}

/// Warns if the service has sent server spans, but none with this name.
async fn warn_if_unknown(service: &str, operation: &str, client: &LabClient) -> anyhow::Result<()> {
    let status = client.status().await?;
    // A lab always has this address.
    let Some(url) = status.urls.get("traces") else {
        return Ok(());
    };
    let traces = trace_client(url);
    let known = traces.operations(service, Some("server")).await?;
    if !known.is_empty() && !known.contains(operation) {
        let known = known.iter().map(String::as_str);
        let warning = unseen_operation(operation, service, "the fault", known);
        errln!("Warning: {warning}");
    }
    Ok(())
}

fn print(faults: &FaultsByService) {
    if faults.is_empty() {
        outln!("No faults.");
        return;
    }
    let mut table = TextTable::new(&["SERVICE", "OPERATION", "DELAY", "ERRORS"]);
    for (service, faults) in faults {
        for fault in faults {
            let delay = match fault.delay_milliseconds {
                0 => String::new(),
                millis => format!("{millis}ms"),
            };
            let operation = fault.operation.clone().unwrap_or_else(|| "all".into());
            table.row([
                service.clone(),
                operation,
                delay,
                fault.errors.clone().unwrap_or_default(),
            ]);
        }
    }
    out!("{table}");
}
