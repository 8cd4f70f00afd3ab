//! Runs the program that compares enforcement with none, in a process that has nothing else to
//! do. It knows nothing of what is compared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The ratios that it printed, by name.
pub(crate) fn measure(root: &Path) -> Result<Vec<(String, f64)>> {
    let program = root.join("target/dist/enforced");
    let output = Command::new(&program)
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", program.display());
    let ratio = |line: &str| {
        let (name, ratio) = line.split_once(' ').context(line.to_owned())?;
        Ok((name.to_owned(), ratio.parse()?))
    };
    String::from_utf8(output.stdout)?
        .lines()
        .map(ratio)
        .collect()
}
