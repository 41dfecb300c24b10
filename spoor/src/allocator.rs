//! The limits of glibc's allocator.

use std::{env, io::Error, os::unix::process::CommandExt, process::Command};

/// The number of the allocator's arenas, and the size in bytes from which an allocation gets its
/// own mapping.
///
/// By default there are eight arenas for each core, and that size rises to 32 MiB. Each arena keeps
/// the most memory that it ever held, so a lab occupies more than twice the memory that it needs.
const LIMITS: [(&str, &str); 2] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "262144"),
];

/// Starts the program again with the limits, unless the number of arenas is set.
///
/// glibc reads them only at the start of a process. Setting them later takes unsafe code. mimalloc
/// kept up to half as much memory again as glibc with these limits.
///
/// # Errors
/// The program cannot be started again; this process may continue.
pub fn limit() -> Result<(), Error> {
    if cfg!(not(target_env = "gnu")) || env::var_os(LIMITS[0].0).is_some() {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).envs(LIMITS);
    // Returns only if it fails. The process keeps its ID and its open files.
    Err(again.exec())
}
