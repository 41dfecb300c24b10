//! Output to standard output and standard error. When the reader closes the pipe, as `head` does,
//! the command ends without a message, while `println!` and `eprintln!` would panic.

use std::{
    fmt,
    io::{self, Write},
    process,
};

use spoor_policy::message::is_invisible;

/// Prints a line.
macro_rules! outln {
    ($($arguments:tt)*) => {
        $crate::cli::out::write(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

/// Prints text that contains its own line breaks.
macro_rules! out {
    ($($arguments:tt)*) => { $crate::cli::out::write(format_args!($($arguments)*)) };
}

/// Prints a line on standard error. Failures are ignored, since the exit code reports the same.
macro_rules! errln {
    ($($arguments:tt)*) => {
        $crate::cli::out::write_error(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

pub(crate) use {errln, out, outln};

/// The exit code that shells report for a command ended by SIGPIPE: 128 + 13.
const SIGPIPE_EXIT_CODE: i32 = 141;

/// Prints on standard output and ignores failures, for a command that continues in any case.
pub(crate) fn try_write(text: fmt::Arguments<'_>) {
    // Flushed here, so that a closed pipe is noticed now and not when the process ends.
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "cannot write to standard output");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the reader may close the pipe before any write, and the caller cannot continue"
)]
pub(crate) fn write(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            process::exit(SIGPIPE_EXIT_CODE);
        }
        errln!("spoor: cannot write to standard output: {error}");
        process::exit(1);
    }
}

pub(crate) fn write_error(text: fmt::Arguments<'_>) {
    // There is nowhere left to report a failure of standard error.
    let _ = io::stderr().lock().write_fmt(text);
}

/// Prints a value as one line of JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    outln!("{}", visible_json(value)?);
    Ok(())
}

fn visible_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut line = String::new();
    for c in serde_json::to_string(value)?.chars() {
        // JSON allows some of these characters in strings, and a terminal would interpret them.
        match is_invisible(c) {
            true => line += &format!("\\u{:04x}", u32::from(c)),
            false => line.push(c),
        }
    }
    Ok(line)
}

/// The exit code of a command whose check succeeded or failed.
#[must_use]
pub fn exit_code(success: bool) -> process::ExitCode {
    process::ExitCode::from(u8::from(!success))
}

/// A number with its noun, such as `1 policy` or `2 policies`.
pub fn pluralize(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn json_escapes_invisible_characters() {
        let name = "a\u{9b}2J\u{202e}\u{1b}é";
        let line = super::visible_json(&name).unwrap();
        assert_eq!(line, r#""a\u009b2J\u202e\u001bé""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), name);
    }
}
