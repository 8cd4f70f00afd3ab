//! The network namespace that `tests/in-namespace` makes: its addresses, and the
//! check that the tests run inside it. Called by the suite before anything starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, ensure};

/// How many agents have an address: 192.0.2.1 to 192.0.2.3 of the nine on `lo`.
pub const AGENTS: u8 = 3;

/// The address of agent `number`, from 1.
pub fn agent_address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

/// The address the API server advertises, which must not be loopback.
pub fn control_plane_address() -> IpAddr {
    agent_address(9)
}

/// Where agents keep sockets and values: memory that the namespace takes with it.
pub fn run_directory() -> &'static Path {
    Path::new("/run/lighterman")
}

/// Fails with what to do when the process is not inside the namespace.
pub fn require() -> Result<()> {
    let address = SocketAddr::new(control_plane_address(), 0);
    ensure!(
        TcpListener::bind(address).is_ok(),
        "the cluster tests need the addresses 192.0.2.1 to 192.0.2.9: run them in a namespace of their own, with `make test` or `tests/in-namespace cargo test -p e2e --test cluster`"
    );
    Ok(())
}

/// A port of `address` that nothing listens on and that is given to nobody else. Below the
/// ports that outgoing connections get: a part that is stopped and started again finds it free.
pub fn free_port(address: IpAddr) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    /// Where the ports of components begin.
    const END: u16 = 20_000;
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port < END, "no free port below {END} on {address}");
        if TcpListener::bind(SocketAddr::new(address, port)).is_ok() {
            return Ok(port);
        }
    }
}
