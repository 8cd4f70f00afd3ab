//! `tools`: finds the external programs of the cluster tests and builds those
//! that are missing, with progress. `make test` runs it before it enters the
//! namespace of the tests, where there is no network.

use e2e::tools::Tool;

fn main() -> anyhow::Result<()> {
    for tool in Tool::ALL {
        if tool.find().is_err() {
            tool.package().build()?;
        }
        println!("{}", tool.find()?.display());
    }
    Ok(())
}
