//! Metrics of the process, with the names of Prometheus' own clients. All but the start time are
//! available on Linux only.

use std::{fmt, fs, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::encode;

#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            started: since.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let started = ConstGauge::new(self.started);
        let help = "Start time of the process since the Unix epoch";
        encode(&mut encoder, "process_start_time", help, seconds, started)?;
        if let Some(used) = cpu_seconds() {
            let (help, used) = ("CPU time used", ConstCounter::new(used));
            encode(&mut encoder, "process_cpu", help, seconds, used)?;
        }
        if let Some(resident) = resident_bytes() {
            let (name, resident) = ("process_resident_memory", ConstGauge::new(resident));
            encode(&mut encoder, name, "Resident memory", bytes, resident)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let open = ConstGauge::new(i64::try_from(open.count()).unwrap_or(i64::MAX));
            let help = "Open file descriptors";
            encode(&mut encoder, "process_open_fds", help, None, open)?;
        }
        Ok(())
    }
}

/// `utime` and `stime`, the 12th and 13th fields after the command in proc(5)'s `stat`.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command may contain spaces and parentheses, so fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    #[expect(clippy::cast_precision_loss, reason = "a hundred or a thousand")]
    Some((ticks()? + ticks()?) / ticks_per_second as f64)
}

fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes")]
    Some((pages * rustix::param::page_size() as u64) as f64)
}
