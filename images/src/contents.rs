//! Which image holds which program and which files. Values only: it reads nothing,
//! and knows no tar and no OCI. Called by `main`.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::roots;

/// The user that every image starts as, unless the pod says otherwise. Its number,
/// not its name, is in the image: kubelet can tell from it that it is not root.
pub(crate) const USER: u32 = 65532;

/// Worker and compiler have users of their own, so that neither can touch the
/// other's processes or control's files.
const PASSWD: &str = "\
root:x:0:0::/:/none
lighterman:x:65532:65532::/:/none
worker:x:65533:65533::/:/none
compiler:x:65534:65534::/:/none
";
const GROUP: &str = "\
root:x:0:
lighterman:x:65532:
worker:x:65533:
compiler:x:65534:
";
/// Said although it is the default of glibc: a name server that is down must not
/// hide what /etc/hosts has.
const NSSWITCH: &str = "hosts: files dns\n";

/// One image.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The last part of its repository.
    pub(crate) name: &'static str,
    /// Shown by tools that list images.
    pub(crate) title: &'static str,
    /// The cargo package of the program.
    pub(crate) package: &'static str,
    /// The program: its file is `/PROGRAM`, and it is the entrypoint.
    pub(crate) program: &'static str,
    /// Where it starts.
    pub(crate) working_directory: &'static str,
    /// Whether it speaks TLS to hosts of the open network, and needs to know whom to trust.
    roots: bool,
    /// A folder that belongs to [`USER`].
    own_folder: Option<&'static str>,
}

/// A file or folder of a layer. All belong to root unless said otherwise, and none
/// can be written by whom it does not belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// A folder.
    Folder {
        /// User and group.
        owner: u32,
        /// Permission bits.
        mode: u32,
    },
    /// Read by everybody.
    Text(Bytes),
    /// Executed by everybody.
    Program(Bytes),
}

impl Recipe {
    /// All images.
    pub(crate) fn all() -> [Recipe; 3] {
        [
            Recipe {
                name: "operator",
                title: "Lighterman operator",
                package: "operator",
                program: "lighterman-operator",
                working_directory: "/",
                roots: true,
                own_folder: Some("var/lib/lighterman-operator"),
            },
            Recipe {
                name: "agent",
                title: "Lighterman node agent",
                package: "node-agent",
                program: "lighterman-agent",
                working_directory: "/",
                // It speaks to the API server and the operator, whose authorities it is told.
                roots: false,
                own_folder: None,
            },
            Recipe {
                name: "lighterman",
                title: "Lighterman command line",
                package: "lighterman",
                program: "lighterman",
                working_directory: "/work",
                roots: true,
                own_folder: Some("work"),
            },
        ]
    }

    /// All files of the image by path, parents included.
    pub(crate) fn files(&self, program: Bytes) -> BTreeMap<String, File> {
        let text = |text: &'static str| File::Text(Bytes::from_static(text.as_bytes()));
        let mut files = BTreeMap::from([
            ("etc/passwd".to_owned(), text(PASSWD)),
            ("etc/group".to_owned(), text(GROUP)),
            ("etc/nsswitch.conf".to_owned(), text(NSSWITCH)),
            (self.program.to_owned(), File::Program(program)),
        ]);
        if self.roots {
            files.insert(roots::PATH.to_owned(), File::Text(roots::pem().into()));
        }
        if let Some(path) = self.own_folder {
            files.insert(
                path.to_owned(),
                File::Folder {
                    owner: USER,
                    mode: 0o700,
                },
            );
        }
        let parents: Vec<String> = files.keys().flat_map(|path| parents(path)).collect();
        for parent in parents {
            files.entry(parent).or_insert(File::Folder {
                owner: 0,
                mode: 0o755,
            });
        }
        files
    }
}

/// The folders above `path`.
fn parents(path: &str) -> Vec<String> {
    path.match_indices('/')
        .filter_map(|(end, _)| path.get(..end))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_comes_before_what_is_in_it() {
        for recipe in Recipe::all() {
            let files = recipe.files(Bytes::new());
            for path in files.keys() {
                for parent in parents(path) {
                    assert!(matches!(files[&parent], File::Folder { .. }), "{parent}");
                    assert!(parent < *path);
                }
            }
        }
    }

    #[test]
    fn nothing_but_its_own_folder_belongs_to_the_user() {
        for recipe in Recipe::all() {
            let owned: Vec<String> = recipe
                .files(Bytes::new())
                .into_iter()
                .filter(|(_, file)| matches!(file, File::Folder { owner, .. } if *owner != 0))
                .map(|(path, _)| path)
                .collect();
            let expected: Vec<String> = recipe.own_folder.map(str::to_owned).into_iter().collect();
            assert_eq!(owned, expected);
        }
    }
}
