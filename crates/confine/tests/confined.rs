//! What a confined thread cannot do any more. Each test confines a thread of its own: files,
//! networks and system calls are closed to a thread and to what it starts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::fs::File;
use std::hash::RandomState;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use confine::{Access, Below, Budget, Connections, Enforced, Program, Rights};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open, openat};
use rustix::process::{Resource, getrlimit};

/// What came of something that was tried: nothing, or why it failed.
type Tried = Option<ErrorKind>;

const CLOSED: Tried = Some(ErrorKind::PermissionDenied);

fn tried<T, E: Into<io::Error>>(result: Result<T, E>) -> Tried {
    result.err().map(|error| error.into().kind())
}

fn below(path: &str, rights: Rights) -> Access<'_> {
    Access {
        below: Below::Path(Path::new(path)),
        rights,
    }
}

#[test]
fn a_server_opens_no_file_but_those_it_named_and_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let confined = std::thread::spawn(move || {
        let proc = below("/proc", Rights::Read);
        let enforced = confine::server(&[proc], Connections::Closed).unwrap();
        (
            enforced,
            tried(File::open("/proc/self/status")),
            tried(File::open(Path::new("/etc").join("passwd"))),
            tried(File::create(
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("confined"),
            )),
            tried(TcpStream::connect(address)),
            tried(TcpListener::bind("127.0.0.1:0")),
        )
    });
    let (enforced, named, other, written, connected, bound) = confined.join().unwrap();
    println!("Landlock is enforced: {enforced:?}");
    assert_eq!(named, None, "what it named stays open");
    match enforced {
        Enforced::Fully => {
            assert_eq!((other, written), (CLOSED, CLOSED));
            assert_eq!((connected, bound), (CLOSED, CLOSED));
        }
        Enforced::Partly => assert_eq!((other, written), (CLOSED, CLOSED)),
        // Said to the caller, who says it in its log.
        Enforced::Not => assert_eq!((other, connected), (None, None)),
    }
}

#[test]
fn a_server_whose_connections_stay_open_dials_and_does_not_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let confined = std::thread::spawn(move || {
        let enforced = confine::server(&[], Connections::Open).unwrap();
        (
            enforced,
            tried(TcpStream::connect(address)),
            tried(UdpSocket::bind("127.0.0.1:0")),
            tried(TcpListener::bind("127.0.0.1:0")),
        )
    });
    let (enforced, connected, datagrams, listened) = confined.join().unwrap();
    assert_eq!((connected, datagrams), (None, None));
    if enforced == Enforced::Fully {
        assert_eq!(listened, CLOSED);
    }
}

#[test]
fn a_server_has_no_sockets_but_those_of_the_internet() {
    let confined = std::thread::spawn(|| {
        confine::server(&[], Connections::Open).unwrap();
        tried(UnixDatagram::unbound())
    });
    assert_eq!(confined.join().unwrap(), CLOSED);
}

/// A volume: the worker has a descriptor of it and no path to it.
#[test]
fn a_directory_that_came_by_descriptor_stays_open_and_its_neighbours_do_not() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["volume", "neighbour"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let confined = std::thread::spawn(move || {
        let directory = |name: &str| {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            open(folder.path().join(name), flags, Mode::empty()).unwrap()
        };
        let (volume, neighbour) = (directory("volume"), directory("neighbour"));
        let enforced = confine::server(
            &[Access {
                below: Below::Directory(volume.as_fd()),
                rights: Rights::Write,
            }],
            Connections::Closed,
        )
        .unwrap();
        let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let write = |at: &_, name: &str| tried(openat(at, name, create, Mode::RUSR));
        (
            enforced,
            write(&volume, "mine"),
            tried(rustix::fs::symlinkat("mine", &volume, "link")),
            write(&neighbour, "theirs"),
        )
    });
    let (enforced, mine, link, theirs) = confined.join().unwrap();
    assert_eq!(mine, None);
    if enforced != Enforced::Not {
        assert_eq!((link, theirs), (CLOSED, CLOSED));
    }
}

/// A library that cannot draw randomness panics in the middle of a request.
#[test]
fn a_server_draws_randomness_without_a_file() {
    let confined = std::thread::spawn(|| {
        confine::server(&[], Connections::Closed).unwrap();
        // The first of a thread asks the kernel, and panics when that gives none.
        drop(RandomState::new());
    });
    assert!(confined.join().is_ok());
}

#[test]
fn a_file_can_be_left_open_like_a_directory() {
    let confined = |files: fn() -> Vec<Access<'static>>| {
        let confined = std::thread::spawn(move || {
            let enforced = confine::server(&files(), Connections::Open).unwrap();
            (enforced, tried(File::open("/dev/urandom")))
        });
        confined.join().unwrap()
    };
    let (without, _) = confined(Vec::new);
    let (with, opened) = confined(|| vec![below("/dev/urandom", Rights::Read)]);
    assert_eq!((with, opened), (without, None));
}

#[test]
fn a_server_starts_no_program() {
    let confined = std::thread::spawn(|| {
        confine::server(&[below("/", Rights::Write)], Connections::Open).unwrap();
        tried(Command::new("/bin/true").status())
    });
    assert_eq!(confined.join().unwrap(), CLOSED);
}

#[test]
fn a_computation_opens_nothing_on_any_kernel() {
    // Its limits are those of the whole process: as large as they are without it.
    let budget = Budget {
        address_space: u64::MAX,
        cpu_seconds: u64::MAX,
        file_size: u64::MAX,
        nice: 0,
    };
    let confined = std::thread::spawn(move || {
        confine::computation(budget).unwrap();
        tried(File::open("/proc/self/status"))
    });
    assert_eq!(confined.join().unwrap(), CLOSED);
}

#[test]
fn a_starter_starts_programs_and_has_no_socket_and_no_file_to_write() {
    let confined = std::thread::spawn(|| {
        let enforced = confine::starter().unwrap();
        (
            enforced,
            tried(Command::new("/bin/true").status()),
            tried(UdpSocket::bind("127.0.0.1:0")),
            tried(UnixDatagram::unbound()),
            tried(File::create(
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("starter"),
            )),
        )
    });
    let (enforced, started, internet, local, written) = confined.join().unwrap();
    assert_eq!((started, internet, local), (None, CLOSED, CLOSED));
    if enforced != Enforced::Not {
        assert_eq!(written, CLOSED);
    }
}

#[test]
fn a_program_is_one_process_without_sockets() {
    // Its limits are those of the whole process: as large as they are without it.
    let most = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let program = Program {
        memory: most(Resource::Data),
        address_space: most(Resource::As),
        cpu_seconds: most(Resource::Cpu),
        file_size: most(Resource::Fsize),
        open_files: most(Resource::Nofile),
        threads: most(Resource::Nproc),
        nice: 0,
    };
    let confined = std::thread::spawn(move || {
        let open = below("/bin/true", Rights::Execute);
        let enforced = confine::program(program, &[open]).unwrap();
        let thread = std::thread::Builder::new().spawn(|| 7);
        (
            enforced,
            thread.map(|thread| thread.join().unwrap()).ok(),
            [
                tried(Command::new("/bin/true").status()),
                tried(UdpSocket::bind("127.0.0.1:0")),
                tried(UnixDatagram::unbound()),
                tried(UnixDatagram::pair()),
                tried(memfd_create("nameless", MemfdFlags::CLOEXEC)),
            ],
            tried(File::open(Path::new("/etc").join("passwd"))),
        )
    });
    let (enforced, thread, closed, read) = confined.join().unwrap();
    assert_eq!(thread, Some(7));
    assert_eq!(closed, [CLOSED; 5]);
    if enforced != Enforced::Not {
        assert_eq!(read, CLOSED);
    }
}
