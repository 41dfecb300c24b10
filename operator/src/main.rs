//! `spoor-operator`: the operator's two roles, and the definitions of its resources.

use std::process::ExitCode;

fn main() -> ExitCode {
    spoor_operator::cli::main()
}
