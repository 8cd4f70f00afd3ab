//! `kubectl lm`: the program under its short name.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_lighterman::main()
}
