//! `kubectl lighterman`: the program under its full name.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_lighterman::main()
}
