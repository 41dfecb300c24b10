//! The services' output, a line at a time, each with its service's name before it.

use std::{
    io::{self, IsTerminal, Write},
    thread,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::mpsc,
};

/// Longer lines are broken here, so that no service can make the lab hold an endless one.
const LINE_BYTES: usize = 16 * 1024;
/// Lines waiting to be written; when they are this many, the services wait.
const WAITING_LINES: usize = 256;
/// Names are padded to the longest, `service-a`.
const NAME_WIDTH: usize = 9;
/// ANSI colours that read well on dark and light: cyan, green, magenta, yellow, blue.
const COLOURS: [u8; 5] = [36, 32, 35, 33, 34];

/// Where all services' lines go: standard error.
#[derive(Clone)]
pub(super) struct Logs {
    lines: mpsc::Sender<Vec<u8>>,
    colour: bool,
}

impl Logs {
    /// Starts the thread that writes, so that a slow terminal holds up nothing else.
    pub(super) fn start() -> io::Result<Self> {
        let (lines, mut written) = mpsc::channel::<Vec<u8>>(WAITING_LINES);
        thread::Builder::new().name("logs".into()).spawn(move || {
            while let Some(line) = written.blocking_recv() {
                // Nobody is left to tell when standard error itself is gone.
                let _ = io::stderr().lock().write_all(&line);
            }
        })?;
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Self { lines, colour })
    }

    /// Passes on all that a service writes, until it ends.
    pub(super) async fn follow(
        self,
        name: &'static str,
        position: usize,
        from: impl AsyncRead + Unpin,
    ) {
        let prefix = prefix(name, self.colour.then_some(position));
        let mut reader = BufReader::with_capacity(LINE_BYTES, from);
        let mut line = prefix.clone().into_bytes();
        loop {
            let (taken, ended) = match reader.fill_buf().await {
                Ok([]) | Err(_) => break,
                Ok(buffered) => take_line(buffered, &mut line),
            };
            reader.consume(taken);
            if ended || line.len() >= LINE_BYTES {
                if !ended {
                    line.push(b'\n');
                }
                let whole = std::mem::replace(&mut line, prefix.clone().into_bytes());
                if self.lines.send(whole).await.is_err() {
                    return;
                }
            }
        }
        if line.len() > prefix.len() {
            line.push(b'\n');
            let _ = self.lines.send(line).await;
        }
    }
}

/// Moves bytes to `line` up to the end of the line; says how many, and whether it ended.
fn take_line(buffered: &[u8], line: &mut Vec<u8>) -> (usize, bool) {
    let end = buffered.iter().position(|byte| *byte == b'\n');
    let taken = end.map_or(buffered.len(), |end| end + 1);
    line.extend(buffered.iter().take(taken));
    (taken, end.is_some())
}

fn prefix(name: &str, colour: Option<usize>) -> String {
    match colour {
        Some(position) => {
            let colour = COLOURS
                .iter()
                .cycle()
                .nth(position % COLOURS.len())
                .unwrap_or(&36);
            format!("\x1b[{colour}m{name:<NAME_WIDTH$} |\x1b[0m ")
        }
        None => format!("{name:<NAME_WIDTH$} | "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn followed(output: &[u8]) -> Vec<String> {
        let (lines, mut written) = mpsc::channel(64);
        Logs {
            lines,
            colour: false,
        }
        .follow("service-a", 0, output)
        .await;
        let mut found = vec![];
        while let Some(line) = written.recv().await {
            found.push(String::from_utf8(line).unwrap());
        }
        found
    }

    #[tokio::test]
    async fn names_each_line_and_ends_the_last() {
        assert_eq!(
            followed(b"one\ntwo").await,
            ["service-a | one\n", "service-a | two\n"]
        );
    }

    #[tokio::test]
    async fn breaks_an_endless_line() {
        let lines = followed(&vec![b'x'; 3 * LINE_BYTES]).await;
        assert!(lines.len() >= 3 && lines.iter().all(|line| line.len() < 2 * LINE_BYTES + 64));
    }
}
