//! Volumes on a real directory: links, pipes, limits, moves and what a restart finds.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("volume-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn volume(&self, meters: &Meters, limit: Option<u64>) -> Volume {
        let mount = Mount {
            volume: "data".into(),
            path: "/data".parse().unwrap(),
            root: Arc::new(fs::File::open(&self.0).unwrap().into()),
            size_limit: limit,
            read_only: false,
        };
        Volume::new(mount, meters, vec!["/data/out/deep".parse().unwrap()]).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const READ: Opening = Opening {
    read: true,
    write: false,
    directory: false,
    create: false,
    exclusive: false,
    truncate: false,
    sync: false,
    data_sync: false,
};
const CREATE: Opening = Opening {
    write: true,
    create: true,
    ..READ
};
/// What a file costs beside its bytes.
const FILE: u64 = INODE + NAME;
/// What the wanted directories cost.
const WANTED: u64 = 2 * FILE;

fn symlink(to: &str, at: &Path) {
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn no_link_leads_anywhere() {
    let directory = Directory::new("links");
    fs::write(directory.0.join("file"), "inside").unwrap();
    fs::create_dir(directory.0.join("d")).unwrap();
    symlink("file", &directory.0.join("inside"));
    symlink("/etc/passwd", &directory.0.join("outside"));
    symlink("/etc", &directory.0.join("etc"));
    symlink("d", &directory.0.join("to-d"));
    let volume = directory.volume(&Meters::default(), None);
    for path in ["inside", "outside", "etc/passwd", "to-d/new"] {
        for how in [READ, CREATE] {
            assert_eq!(volume.open(path, how).unwrap_err(), Errno::LOOP, "{path}");
        }
        assert_eq!(volume.stat(path, false).unwrap_err(), Errno::LOOP, "{path}");
    }
    assert_eq!(volume.make_directory("etc/x").unwrap_err(), Errno::LOOP);
    assert_eq!(volume.remove_file("etc/passwd").unwrap_err(), Errno::LOOP);
    assert_eq!(volume.open("../x", READ).unwrap_err(), Errno::XDEV);
    assert_eq!(volume.open("file", READ).unwrap().1.st_size, 6);
}

#[test]
fn pipes_sockets_and_devices_are_not_opened() {
    let directory = Directory::new("special");
    let root = fs::File::open(&directory.0).unwrap();
    rustix::fs::mkfifoat(&root, "pipe", FILE_MODE).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.0.join("socket")).unwrap();
    let volume = directory.volume(&Meters::default(), None);
    for path in ["pipe", "socket"] {
        for how in [READ, CREATE, Opening::default()] {
            assert_eq!(volume.open(path, how).unwrap_err(), Errno::NXIO, "{path}");
        }
    }
}

#[test]
fn a_limit_holds_for_bytes_inodes_names_and_holes() {
    let directory = Directory::new("limit");
    let limit = WANTED + 3 * FILE + 1000;
    let volume = directory.volume(&Meters::default(), Some(limit));
    let (a, _) = volume.open("a", CREATE).unwrap();
    assert!(
        directory.0.join("out/deep").is_dir(),
        "what is wanted is made"
    );
    assert_eq!(volume.used(), WANTED + FILE);

    assert_eq!(volume.write(a.as_fd(), Position::At(0), &[1; 600]), Ok(600));
    assert_eq!(volume.write(a.as_fd(), Position::At(0), &[2; 600]), Ok(600));
    assert_eq!(volume.write(a.as_fd(), Position::End, &[3; 100]), Ok(100));
    assert_eq!(volume.used(), WANTED + FILE + 700);
    // A hole costs as much as bytes.
    let too_much = volume.write(a.as_fd(), Position::At(1 << 40), &[1]);
    assert_eq!(too_much, Err(Errno::DQUOT));
    let endless = volume.write(a.as_fd(), Position::At(u64::MAX), &[1]);
    assert_eq!(endless, Err(Errno::FBIG));
    assert_eq!(volume.set_size(a.as_fd(), 1 << 30), Err(Errno::DQUOT));
    volume.set_size(a.as_fd(), 1000).unwrap();
    volume.set_size(a.as_fd(), 10).unwrap();
    assert_eq!(volume.used(), WANTED + FILE + 10);

    volume.make_directory("d").unwrap();
    volume.open("d/b", CREATE).unwrap();
    let full = volume.open(
        "d/c",
        Opening {
            exclusive: true,
            ..CREATE
        },
    );
    assert_eq!(full.unwrap_err(), Errno::DQUOT);
    assert_eq!(volume.make_directory("e"), Err(Errno::DQUOT));
    assert!(!directory.0.join("d/c").exists() && !directory.0.join("e").exists());
    // What is there can still be opened.
    volume.open("d/b", CREATE).unwrap();
}

#[test]
fn what_is_removed_while_open_is_given_back_when_it_is_closed() {
    let directory = Directory::new("orphan");
    let volume = directory.volume(&Meters::default(), Some(1 << 20));
    let (file, stat) = volume.open("a", CREATE).unwrap();
    volume
        .write(file.as_fd(), Position::End, &[0; 5000])
        .unwrap();
    volume.remove_file("a").unwrap();
    assert_eq!(volume.used(), WANTED + INODE + 5000);
    volume
        .write(file.as_fd(), Position::End, &[0; 100])
        .unwrap();
    volume.closing(file.as_fd(), Identity::of(&stat));
    assert_eq!(volume.used(), WANTED);

    // What is replaced by a rename, too.
    for (name, size) in [("old", 10), ("new", 70)] {
        let (file, stat) = volume.open(name, CREATE).unwrap();
        volume
            .write(file.as_fd(), Position::End, &vec![0; size])
            .unwrap();
        volume.closing(file.as_fd(), Identity::of(&stat));
    }
    volume.rename("old", "new", true).unwrap();
    assert_eq!(volume.used(), WANTED + FILE + 10);
    let (file, stat) = volume
        .open(
            "new",
            Opening {
                truncate: true,
                ..CREATE
            },
        )
        .unwrap();
    volume.closing(file.as_fd(), Identity::of(&stat));
    assert_eq!((stat.st_size, volume.used()), (0, WANTED + FILE));
}

#[test]
fn a_restart_counts_again_and_two_mounts_share_one_limit() {
    let directory = Directory::new("recount");
    let meters = Meters::default();
    let first = directory.volume(&meters, Some(1 << 20));
    let (file, _) = first.open("out/deep/a", CREATE).unwrap();
    first
        .write(file.as_fd(), Position::End, &[0; 3000])
        .unwrap();
    let second = directory.volume(&meters, Some(1 << 20));
    assert_eq!(second.used(), WANTED + FILE + 3000);
    symlink("/", &directory.0.join("root"));
    let after_restart = directory.volume(&Meters::default(), Some(1 << 20));
    after_restart.open("out/deep/a", READ).unwrap();
    assert_eq!(after_restart.used(), WANTED + 2 * FILE + 3000);
}

#[test]
fn a_directory_takes_the_place_of_no_file_and_the_volume_itself_stays() {
    let directory = Directory::new("rename");
    let volume = directory.volume(&Meters::default(), None);
    volume.make_directory("d").unwrap();
    assert_eq!(volume.rename("d", "e", true), Err(Errno::PERM));
    volume.rename("d", "e", false).unwrap();
    assert_eq!(volume.rename("", "x", false), Err(Errno::BUSY));
    assert_eq!(volume.remove_directory(""), Err(Errno::BUSY));
    assert_eq!(volume.make_directory(""), Err(Errno::EXIST));
    volume.remove_directory("e").unwrap();
}
