//! Writes to standard output and standard error. A reader that has had enough, such as `head`,
//! ends the command quietly, where `println!` and `eprintln!` would panic.

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// Prints a line.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::cli::out::write(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

/// Prints text that has its own ends of lines.
macro_rules! show {
    ($($arguments:tt)*) => { $crate::cli::out::write(format_args!($($arguments)*)) };
}

/// Prints a line on standard error, if somebody reads it: the exit code says the same.
macro_rules! say_error {
    ($($arguments:tt)*) => {
        $crate::cli::out::write_error(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

pub(crate) use {say, say_error, show};

/// What shells report of a command that a closed pipe has ended.
const CLOSED_PIPE: i32 = 141;

/// Prints if somebody reads: for a command that goes on either way.
pub(crate) fn offer(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        tracing::debug!("nobody reads standard output: {error}");
    }
}

pub(crate) fn write(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            process::exit(CLOSED_PIPE);
        }
        say_error!("spoor: can't write to standard output: {error}");
        process::exit(1);
    }
}

pub(crate) fn write_error(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}
