//! `lighterman new`: a project that builds, from templates inside this program.
//!
//! Knows the templates and the file system; needs no network and asks no tool. The
//! WIT it writes is that of the wasmtime this program was built with (`build.rs`).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::args::{Language, New};
use crate::failure::Failure;

/// The files that were written.
#[derive(Debug, Serialize)]
pub(crate) struct Created {
    directory: PathBuf,
    files: Vec<String>,
}

/// A template: where it goes, and its text. `{{name}}` stands for the project's name
/// (in paths too), `{{module}}` for the name of the built module, `{{wasi}}` for the version of the WIT.
type Template = (&'static str, &'static str);

const RUST: &[Template] = &[
    (
        "Cargo.toml",
        include_str!("../../templates/rust/Cargo.toml.template"),
    ),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (
        "src/lib.rs",
        include_str!("../../templates/rust/src/lib.rs"),
    ),
    (
        "wit/world.wit",
        include_str!("../../templates/rust/wit/world.wit"),
    ),
    (
        "Component.toml",
        include_str!("../../templates/rust/Component.toml"),
    ),
    (
        "{{name}}.yaml",
        include_str!("../../templates/rust/component.yaml"),
    ),
    (".gitignore", "/target\n*.key\n"),
];

/// The WIT packages of WASI: file name and text.
const WASI: &[Template] = include!(concat!(env!("OUT_DIR"), "/wasi_wit.rs"));

/// Kubernetes names of components: DNS-1035 labels, short enough for the names derived from them.
const NAME_MAX: usize = 52;

/// Writes the project.
pub(crate) fn run(args: &New) -> Result<Created, Failure> {
    check_name(&args.name)?;
    let directory = args
        .directory
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    if directory.exists() {
        return Err(Failure::unavailable(
            format!("{} exists already", directory.display()),
            "choose another name, or another folder with --directory",
        ));
    }
    let templates = match args.language {
        Language::Rust => RUST,
    };
    let mut files = Vec::new();
    for (path, text) in templates {
        files.push(write(
            &directory,
            &fill(path, &args.name),
            &fill(text, &args.name),
        )?);
    }
    for (name, text) in WASI {
        files.push(write(&directory, &format!("wit/deps/{name}"), text)?);
    }
    Ok(Created { directory, files })
}

fn check_name(name: &str) -> Result<(), Failure> {
    let legal = name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if legal {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{name:?} is no name for a component"),
        format!(
            "use at most {NAME_MAX} lower-case letters, digits and dashes, a letter first, no dash last"
        ),
    ))
}

fn fill(template: &str, name: &str) -> String {
    template
        .replace("{{name}}", name)
        .replace("{{module}}", &name.replace('-', "_"))
        .replace("{{wasi}}", &wasi_version())
}

/// The version of `wasi:http`, from the first line of its WIT: `package wasi:http@0.2.12;`.
fn wasi_version() -> String {
    WASI.iter()
        .filter_map(|(_, text)| {
            text.lines()
                .find_map(|line| line.strip_prefix("package wasi:http@"))
        })
        .map(|version| version.trim_end_matches(';').to_owned())
        .next()
        .unwrap_or_default()
}

fn write(directory: &Path, path: &str, text: &str) -> Result<String, Failure> {
    let file = directory.join(path);
    let parent = file.parent().unwrap_or(directory);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|error| Failure::file(&file, "write", &error))?;
    Ok(path.to_owned())
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        writeln!(f, "{directory} has {} files.\n", self.files.len())?;
        writeln!(f, "next: cd {directory}")?;
        write!(
            f,
            "      then the three lines of README.md build it and run it"
        )
    }
}
