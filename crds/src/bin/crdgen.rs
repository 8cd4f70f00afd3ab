//! Writes the custom resource definitions of the kinds into `crds/generated` and,
//! as templates, into the chart that installs them. Called by `make crds` from the
//! root of the repository.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use crds::definition::{File, files, templates};

fn main() -> anyhow::Result<()> {
    write("crds/generated", &files()?)?;
    write("charts/lighterman-crds/templates", &templates()?)
}

fn write(folder: &str, files: &[File]) -> anyhow::Result<()> {
    let folder = Path::new(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
