use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Kills the program when the script's standard input ends, and so also when this process ends
/// without cleaning up: a test binary does not drop its statics, and a debugger may kill it.
const WATCHDOG: &str = r#"
folder=$1; shift
"$@" </dev/null & program=$!
echo "$program" >&3
exec 3>&-
cat >/dev/null
kill -KILL "$program" 2>/dev/null
wait "$program" 2>/dev/null
[ -z "$folder" ] || rm -rf "$folder"
"#;

/// A program that does not outlive the test.
#[derive(Debug)]
pub struct Process {
    watchdog: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in the file `log`.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
        log: PathBuf,
    ) -> Self {
        Self::start_owning(None, program, arguments, environment, log)
    }

    /// Starts a program, and deletes the folder once the program has ended.
    pub fn start_owning<A: AsRef<OsStr>>(
        folder: Option<&Path>,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
        log: PathBuf,
    ) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let pid_file = log.with_extension("pid");
        // The shell opens the pid file as descriptor 3, and writes the program's process ID to it.
        let script = format!("exec 3>\"$0\"\n{WATCHDOG}");
        let _ = std::fs::remove_file(&pid_file);
        let watchdog = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(&pid_file)
            .arg(folder.map_or(OsStr::new(""), Path::as_os_str))
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self {
            watchdog,
            pid: pid_in(&pid_file),
            log,
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the program at once, as the failure of its node would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Sends SIGTERM to the program, as the kubelet does.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }

    /// Returns true if the program runs. A zombie does not.
    pub fn is_running(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| !rest.starts_with('Z'))
        })
    }

    /// The resident memory of the program in kilobytes, from `VmRSS`.
    pub fn resident_kilobytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// The last lines of the program's output.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn end(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of {}:\n{}", self.log.display(), self.log_tail());
        }
        self.end();
    }
}

/// Reads the process ID that the shell writes right after its start.
fn pid_in(file: &Path) -> u32 {
    let start = std::time::Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = text.strip_suffix('\n').and_then(|text| text.parse().ok()) {
            return pid;
        }
        assert!(
            start.elapsed().as_secs() < 10,
            "no pid in {}",
            file.display()
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
