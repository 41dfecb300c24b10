//! `spoor fault`: makes a service slow or wrong, while it runs.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use spoor_policy::{OperationName, Probability, ServiceName};

use super::out::{say, show};
use super::{LabArgs, Output, duration::duration, print_json, table::Table};
use crate::lab::admin::{FaultSetting, Faults, MAX_DELAY};

/// Make a service slow or failing, or see which are
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor fault service-b --delay 300ms --errors 20%
  spoor fault service-a --operation 'GET /' --errors 5%
  spoor fault                    which there are
  spoor fault service-b --clear  end those of one service
  spoor fault --clear            end all")]
pub struct FaultArgs {
    /// The service
    service: Option<ServiceName>,
    /// Only requests of this operation (the server span's name)
    #[arg(long, requires = "service")]
    operation: Option<OperationName>,
    /// Hold up each request this long
    #[arg(long, value_parser = delay, requires = "service")]
    delay: Option<Duration>,
    /// Let this share of the requests fail, such as 20%
    #[arg(long, requires = "service")]
    errors: Option<Probability>,
    /// End the service's faults, or all
    #[arg(long, conflicts_with_all = ["operation", "delay", "errors"])]
    clear: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

fn delay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        delay if delay > MAX_DELAY => Err(format!("must be at most {}s", MAX_DELAY.as_secs())),
        delay => Ok(delay),
    }
}

impl FaultArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.lab.client();
        let service = self.service.as_ref().map(ServiceName::as_str);
        let faults = match (self.clear, service) {
            (true, service) => client.clear_faults(service).await?,
            (false, Some(service)) if self.delay.is_some() || self.errors.is_some() => {
                client.add_fault(service, &self.setting()).await?
            }
            (false, Some(_)) => {
                let asked = "say what is to go wrong: --delay 300ms, --errors 20%, or --clear";
                return Err(super::failure::Invalid(vec![asked.into()]).into());
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
        let delay = self.delay.unwrap_or_default().as_millis();
        FaultSetting {
            operation: self.operation.as_ref().map(ToString::to_string),
            delay_milliseconds: u64::try_from(delay).unwrap_or(u64::MAX),
            errors: self.errors.map(|share| share.to_string()),
        }
    }
}

fn print(faults: &Faults) {
    if faults.is_empty() {
        say!("No faults.");
        return;
    }
    let mut table = Table::new(&["SERVICE", "OPERATION", "DELAY", "ERRORS"]);
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
    show!("{table}");
}
