//! The services' output, line by line, each with the name of its service. It is held until all
//! services are ready and then mostly dropped, so that the list of addresses usually comes first.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::service::Service;

/// The length at which an unfinished line is split, so that the memory for a line is bounded.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most lines that wait to be written. While the queue is full, output waits up to [`MAX_WAIT`].
const MAX_WAITING_LINES: usize = 256;
/// The longest wait for a terminal. A terminal that is paused, with Ctrl-S or by a pager, must not
/// stop the services, which block when their pipes are full.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The most bytes that are held until the services are ready. The oldest lines are dropped first.
const MAX_HELD_BYTES: usize = 256 * 1024;
/// The width to which names are padded. Only those of the marketplaces are longer.
const NAME_WIDTH_CHARS: usize = 14;
/// ANSI colours that are legible on dark and light backgrounds: cyan, green, magenta, yellow, blue.
const COLOURS: [u8; 5] = [36, 32, 35, 33, 34];

/// The output of all services, which goes to standard error.
#[derive(Clone)]
pub(super) struct Logs {
    entries: mpsc::Sender<Entry>,
    colour: bool,
}

enum Entry {
    Line(Service, Vec<u8>),
    /// Releases the held lines. The channel reports when they have been printed.
    Release(Release, oneshot::Sender<()>),
}

enum Release {
    /// Print the held lines of these services and all held warnings, and every line from now on.
    PassOn(Vec<Service>),
    /// Print all held lines, those of these services last, and no line from now on.
    PrintAndSilence(Vec<Service>),
}

impl Logs {
    /// Starts the thread that writes, so that a slow terminal delays only the output.
    pub(super) fn start() -> io::Result<Self> {
        let (entries, mut received) = mpsc::channel::<Entry>(MAX_WAITING_LINES);
        thread::Builder::new().name("logs".into()).spawn(move || {
            let mut printer = Printer::new(io::stderr());
            while let Some(entry) = received.blocking_recv() {
                printer.handle(entry);
            }
        })?;
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Self { entries, colour })
    }

    /// Drops the lines held so far, except warnings and those of services that were `restarted`,
    /// and passes on every later one. With `RUST_LOG` all lines are printed.
    pub(super) async fn pass_on(&self, restarted: Vec<Service>) {
        let shown = match std::env::var_os("RUST_LOG") {
            Some(_) => Service::ALL.to_vec(),
            None => restarted,
        };
        self.release(Release::PassOn(shown)).await;
    }

    /// Prints the lines held so far, those of the `failed` services last, and no later ones.
    pub(super) async fn print_and_silence(&self, failed: Vec<Service>) {
        self.release(Release::PrintAndSilence(failed)).await;
    }

    async fn release(&self, release: Release) {
        let (done, printed) = oneshot::channel();
        // If the thread has ended, sending fails and drops `done`, so there is no wait.
        let _ = self.entries.send(Entry::Release(release, done)).await;
        let _ = printed.await;
    }

    /// Passes on all that a service writes, until it ends.
    pub(super) async fn follow(self, service: Service, from: impl AsyncRead + Unpin) {
        let prefix = prefix(service, self.colour);
        let mut output = Output {
            service,
            entries: self.entries,
            left_out: 0,
        };
        let mut reader = BufReader::with_capacity(MAX_LINE_BYTES, from);
        let mut line = prefix.clone().into_bytes();
        loop {
            let (taken, ended) = match reader.fill_buf().await {
                Ok([]) | Err(_) => break,
                Ok(buffered) => take_line(buffered, &mut line),
            };
            reader.consume(taken);
            if ended || line.len() >= MAX_LINE_BYTES {
                if !ended {
                    line.push(b'\n');
                }
                output.send(&prefix, line).await;
                line = prefix.clone().into_bytes();
            }
        }
        if line.len() > prefix.len() {
            line.push(b'\n');
            output.send(&prefix, line).await;
        }
        output.finish(&prefix).await;
    }
}

/// The lines of one service to be printed.
struct Output {
    service: Service,
    entries: mpsc::Sender<Entry>,
    /// The number of lines left out since the last one that was sent.
    left_out: u64,
}

impl Output {
    /// Sends a line, or leaves it out while the terminal is paused.
    async fn send(&mut self, prefix: &str, line: Vec<u8>) {
        let permit = match self.left_out {
            0 => timeout(MAX_WAIT, self.entries.reserve()).await.ok(),
            // An earlier line has already waited.
            _ => self.entries.try_reserve().map(Ok).ok(),
        };
        let Some(Ok(permit)) = permit else {
            self.left_out += 1;
            return;
        };
        let line = match self.left_out {
            0 => line,
            count => [left_out_note(prefix, count), line].concat(),
        };
        self.left_out = 0;
        permit.send(Entry::Line(self.service, line));
    }

    /// Reports how many lines were left out at the end, if any, once the terminal continues.
    async fn finish(self, prefix: &str) {
        if self.left_out > 0 {
            let note = left_out_note(prefix, self.left_out);
            // If the thread has ended, nothing can be printed.
            let _ = self.entries.send(Entry::Line(self.service, note)).await;
        }
    }
}

fn left_out_note(prefix: &str, count: u64) -> Vec<u8> {
    let lines = if count == 1 { "line" } else { "lines" };
    format!("{prefix}({count} {lines} left out: the terminal was paused)\n").into_bytes()
}

/// Writes lines, or holds them.
struct Printer<W> {
    out: W,
    mode: Mode,
}

enum Mode {
    Hold(Held),
    PassOn,
    Silent,
}

#[derive(Default)]
struct Held {
    lines: VecDeque<(Service, Vec<u8>)>,
    bytes: usize,
}

impl<W: Write> Printer<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            mode: Mode::Hold(Held::default()),
        }
    }

    fn handle(&mut self, entry: Entry) {
        match (entry, &mut self.mode) {
            (Entry::Line(service, line), Mode::Hold(held)) => held.push(service, line),
            (Entry::Line(_, line), Mode::PassOn) => self.write(&line),
            (Entry::Line(..), Mode::Silent) => {}
            (Entry::Release(release, done), _) => {
                self.release(release);
                let _ = done.send(());
            }
        }
    }

    fn release(&mut self, release: Release) {
        let (mut lines, next) = match (std::mem::replace(&mut self.mode, Mode::PassOn), &release) {
            (Mode::Hold(held), Release::PassOn(_)) => (held.lines, Mode::PassOn),
            (Mode::Hold(held), Release::PrintAndSilence(_)) => (held.lines, Mode::Silent),
            (mode, _) => (VecDeque::new(), mode),
        };
        self.mode = next;
        match release {
            Release::PassOn(shown) => {
                lines.retain(|(service, line)| shown.contains(service) || is_warning(line));
            }
            // The sort is stable, so that each service's lines stay in order.
            Release::PrintAndSilence(last) => lines
                .make_contiguous()
                .sort_by_key(|(service, _)| last.contains(service)),
        }
        for (_, line) in lines {
            self.write(&line);
        }
    }

    fn write(&mut self, line: &[u8]) {
        // If standard error is closed, the error cannot be reported.
        let _ = self.out.write_all(line);
    }
}

/// Returns true for warnings and errors, except the warning that the control plane is unavailable: on
/// a busy machine a service may try to connect before the control plane responds. A ready service
/// works without it, and logs when it is connected.
fn is_warning(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    (line.contains(" WARN ") || line.contains(" ERROR "))
        && !line.contains("control plane unavailable")
}

impl Held {
    fn push(&mut self, service: Service, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back((service, line));
        while self.bytes > MAX_HELD_BYTES
            && let Some((_, oldest)) = self.lines.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

/// Moves bytes to `line` up to the end of the line. Returns their number, and whether the line
/// ended.
fn take_line(buffered: &[u8], line: &mut Vec<u8>) -> (usize, bool) {
    let end = buffered.iter().position(|byte| *byte == b'\n');
    let taken = end.map_or(buffered.len(), |end| end + 1);
    line.extend(buffered.iter().take(taken));
    (taken, end.is_some())
}

fn prefix(service: Service, colour: bool) -> String {
    let name = service.name();
    if !colour {
        return format!("{name:<NAME_WIDTH_CHARS$} | ");
    }
    let mut colours = COLOURS.iter().cycle();
    let colour = colours.nth(service as usize).unwrap_or(&36);
    format!("\x1b[{colour}m{name:<NAME_WIDTH_CHARS$} |\x1b[0m ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn followed(output: &[u8]) -> Vec<String> {
        let (entries, mut received) = mpsc::channel(64);
        let logs = Logs {
            entries,
            colour: false,
        };
        logs.follow(Service::ServiceA, output).await;
        let mut lines = vec![];
        while let Some(entry) = received.recv().await {
            let Entry::Line(Service::ServiceA, line) = entry else {
                continue;
            };
            lines.push(String::from_utf8(line).unwrap());
        }
        lines
    }

    #[tokio::test]
    async fn prefixes_each_line_and_ends_the_last() {
        assert_eq!(
            followed(b"one\ntwo").await,
            ["service-a      | one\n", "service-a      | two\n"]
        );
    }

    #[tokio::test]
    async fn paused_terminal_leaves_lines_out() {
        let (entries, mut received) = mpsc::channel(1);
        let mut output = Output {
            service: Service::ServiceA,
            entries,
            left_out: 0,
        };
        for line in ["1\n", "2\n", "3\n"] {
            output.send("a | ", line.into()).await;
        }
        received.recv().await.unwrap();
        output.send("a | ", "4\n".into()).await;
        let written = match received.recv().await {
            Some(Entry::Line(_, line)) => String::from_utf8(line).unwrap(),
            _ => String::new(),
        };
        let note = "a | (2 lines left out: the terminal was paused)\n4\n";
        assert_eq!(written, note);

        // The last lines are reported at the end of the output.
        output.send("a | ", "5\n".into()).await;
        output.send("a | ", "6\n".into()).await;
        let ((), read) = tokio::join!(output.finish("a | "), async {
            received.recv().await.unwrap();
            received.recv().await
        });
        let note = b"a | (1 line left out: the terminal was paused)\n";
        assert!(matches!(read, Some(Entry::Line(_, written)) if written == note));
    }

    #[tokio::test]
    async fn splits_an_endless_line() {
        let lines = followed(&vec![b'x'; 3 * MAX_LINE_BYTES]).await;
        let limit = 2 * MAX_LINE_BYTES + 64;
        assert!(lines.len() >= 3 && lines.iter().all(|line| line.len() < limit));
    }

    fn line(service: Service, text: &str) -> Entry {
        Entry::Line(service, text.as_bytes().to_vec())
    }

    /// Returns which of three lines before the release and one after it are printed.
    fn printed(release: Release) -> String {
        let mut printer = Printer::new(vec![]);
        printer.handle(line(Service::Wishlist, "w1 "));
        printer.handle(line(Service::ServiceA, "a1 "));
        printer.handle(line(Service::Wishlist, "w2 "));
        assert!(printer.out.is_empty(), "held until released");
        printer.handle(Entry::Release(release, oneshot::channel().0));
        printer.handle(line(Service::ServiceA, "a2 "));
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn held_lines_are_dropped_when_ready() {
        assert_eq!(printed(Release::PassOn(vec![])), "a2 ");
    }

    #[test]
    fn lines_of_restarted_services_are_printed() {
        let shown = vec![Service::Wishlist];
        assert_eq!(printed(Release::PassOn(shown)), "w1 w2 a2 ");
    }

    #[test]
    fn warnings_are_passed_on() {
        let mut printer = Printer::new(vec![]);
        for text in ["1 WARN x", "2 WARN control plane unavailable", "3 INFO x"] {
            printer.handle(line(Service::Wishlist, text));
        }
        printer.handle(Entry::Release(
            Release::PassOn(vec![]),
            oneshot::channel().0,
        ));
        assert_eq!(printer.out, b"1 WARN x");
    }

    #[test]
    fn lines_of_failed_services_come_last() {
        let failed = vec![Service::Wishlist];
        assert_eq!(printed(Release::PrintAndSilence(failed)), "a1 w1 w2 ");
    }

    #[test]
    fn held_lines_are_bounded() {
        let mut held = Held::default();
        for _ in 0..100 {
            held.push(Service::ServiceA, vec![b'x'; MAX_LINE_BYTES]);
        }
        assert!(held.bytes <= MAX_HELD_BYTES);
        assert_eq!(held.bytes, held.lines.len() * MAX_LINE_BYTES);
    }
}
