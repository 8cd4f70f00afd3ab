//! `images`: builds the container images of operator, agent and command line from
//! this checkout, without a daemon and the same bytes every time, writes them with
//! their bills of materials as an OCI layout, and pushes them when asked. Called by
//! `make images` and by the node test; it is shipped to nobody.

mod args;
mod contents;
mod image;
mod layer;
mod materials;
mod programs;
mod roots;

use std::path::Path;
use std::process::ExitCode;

use artifact::ImageReference;
use bytes::Bytes;
use clap::Parser;
use registry::{Client, Config, Credentials, Image, layout};

use crate::args::{BuildArgs, Cli, Command, PushArgs};
use crate::contents::Recipe;

/// Why there are no images, or why they are not where they should be.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The programs.
    #[error(transparent)]
    Programs(#[from] programs::ProgramError),
    /// What is linked into them.
    #[error(transparent)]
    Materials(#[from] materials::MaterialsError),
    /// A layer.
    #[error("a layer could not be packed: {0}")]
    Layer(#[from] std::io::Error),
    /// JSON.
    #[error("a document of an image could not be written: {0}")]
    Document(#[from] serde_json::Error),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
    /// The prefix does not make a reference.
    #[error("{reference} is no image reference: {source}")]
    Reference {
        /// With the name of an image.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: artifact::ReferenceError,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

/// One finished image.
struct Built {
    name: &'static str,
    /// Of the program, in bytes.
    program: usize,
    /// Of the compressed layer, in bytes.
    layer: usize,
    image: Image,
    /// Refers to the image.
    materials: Image,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Build(args) => build_all(&args),
        Command::Push(args) => push_all(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("images: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build_all(args: &BuildArgs) -> Result<(), Error> {
    let BuildArgs {
        programs,
        output,
        version,
    } = args;
    let recipes = Recipe::all();
    let mut files = programs::build(&recipes, *programs)?;
    let mut built = Vec::new();
    for recipe in &recipes {
        let program = files.remove(recipe.program).unwrap_or_default();
        built.push(build(recipe, program, args)?);
    }
    write(&built, output, version)?;
    println!("{:<12} {:>10} {:>10}  digest", "image", "program", "layer");
    for Built {
        name,
        program,
        layer,
        image,
        ..
    } in &built
    {
        println!(
            "{name:<12} {:>10} {:>10}  {}",
            mebibytes(*program),
            mebibytes(*layer),
            image.digest()
        );
    }
    println!("an OCI layout in {}", output.display());
    Ok(())
}

fn build(recipe: &Recipe, program: Bytes, args: &BuildArgs) -> Result<Built, Error> {
    let version = args.version.as_str();
    let program_size = program.len();
    let layer = layer::pack(&recipe.files(program), args.programs)?;
    let image = image::container(recipe, &layer, version)?;
    let list = materials::list(recipe.package, recipe.program, version)?;
    Ok(Built {
        name: recipe.name,
        program: program_size,
        layer: layer.compressed.len(),
        materials: image::attachment(&image, materials::MEDIA_TYPE, list)?,
        image,
    })
}

fn write(built: &[Built], folder: &Path, version: &str) -> Result<(), Error> {
    let names: Vec<String> = built
        .iter()
        .map(|built| format!("{}:{version}", built.name))
        .collect();
    let mut images = Vec::new();
    for (built, name) in built.iter().zip(&names) {
        images.push((Some(name.as_str()), &built.image));
        images.push((None, &built.materials));
    }
    Ok(layout::write_images(folder, &images)?)
}

async fn push_all(args: &PushArgs) -> Result<(), Error> {
    let client = Client::new(Config {
        plain_http: args.plain_http.clone(),
        ..Config::default()
    })?;
    let credentials = match (&args.user, &args.password) {
        (Some(user), Some(password)) => Credentials::basic(user, password),
        _ => Credentials::anonymous(),
    };
    let mut latest = None;
    for (name, image) in layout::read_images(&args.layout)? {
        let reference = match name {
            Some(name) => reference(&args.prefix, &name)?,
            // An attachment goes where the image before it went: `build` wrote them so.
            None => match latest.take() {
                Some(reference) => reference,
                None => continue,
            },
        };
        let digest = client.push_image(&reference, &image, &credentials).await?;
        println!("{}", reference.with_digest(digest));
        latest = Some(reference);
    }
    Ok(())
}

fn reference(prefix: &str, name: &str) -> Result<ImageReference, Error> {
    let reference = format!("{prefix}/{name}");
    reference
        .parse()
        .map_err(|source| Error::Reference { reference, source })
}

/// Sizes as people compare them.
fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests;
