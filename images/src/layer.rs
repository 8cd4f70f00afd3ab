//! Packs files into a layer: a tar archive, and its gzip. The same files give the
//! same bytes, whenever and wherever: sorted by path, no times, no names of users.
//! It knows nothing of what it packs. Called by `main`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::args::Programs;
use crate::contents::File;

/// A packed layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// What the image config names: its digest is the `diff_id`.
    pub(crate) archive: Bytes,
    /// What is stored and sent.
    pub(crate) compressed: Bytes,
}

/// Packs `files`; the map sorts them. Shipped programs are worth the time that the best
/// compression takes; a debug build of this would take minutes for it.
pub(crate) fn pack(files: &BTreeMap<String, File>, programs: Programs) -> io::Result<Layer> {
    let mut archive = Builder::new(Vec::new());
    for (path, file) in files {
        let (kind, owner, mode, content) = match file {
            File::Folder { owner, mode } => (EntryType::Directory, *owner, *mode, &[][..]),
            File::Text(content) => (EntryType::Regular, 0, 0o444, content.as_ref()),
            File::Program(content) => (EntryType::Regular, 0, 0o555, content.as_ref()),
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_uid(owner.into());
        header.set_gid(owner.into());
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content)?;
    }
    let archive = archive.into_inner()?;
    let compression = match programs {
        Programs::Shipping => Compression::best(),
        Programs::Debug => Compression::fast(),
    };
    // No time and no name in the head, which gzip would else take from the machine.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), compression);
    gzip.write_all(&archive)?;
    Ok(Layer {
        compressed: gzip.finish()?.into(),
        archive: archive.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::contents::Recipe;

    fn packed() -> Layer {
        let [operator, ..] = Recipe::all();
        pack(
            &operator.files(Bytes::from_static(b"program")),
            Programs::Shipping,
        )
        .unwrap()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (first, second) = (packed(), packed());
        assert_eq!(first.compressed, second.compressed);
    }

    #[test]
    fn a_layer_holds_what_it_was_given_and_no_time() {
        let mut archive = Vec::new();
        GzDecoder::new(packed().compressed.as_ref())
            .read_to_end(&mut archive)
            .unwrap();
        let mut seen = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            seen.push((
                entry.path().unwrap().display().to_string(),
                header.uid().unwrap(),
                header.mode().unwrap(),
            ));
        }
        assert!(seen.contains(&("lighterman-operator".to_owned(), 0, 0o555)));
        assert!(seen.contains(&("var/lib/lighterman-operator".to_owned(), 65532, 0o700)));
        assert!(seen.is_sorted());
    }
}
