//! A component that is told whom to call, in the body of the request, one order a line.
//!
//! An order is a form: `do=fetch&scheme=https&authority=api.example&path=/`. The answer has
//! one line for each order: what came back, or the error's name in kebab case. The same orders
//! are understood by the build for WASI 0.2 and the one for 0.3.
//!
//! | order | what it does |
//! |---|---|
//! | `do=fetch` | sends a request: `method`, `scheme`, `authority`, `path`, `header=name:value`, `body`, `trailer=name:value`; answers the status, the headers named by `show`, and the body. `times=N` sends N at once |
//! | `do=resolve&name=N` | the addresses of a name |
//! | `do=connect&port=P` | opens a TCP connection to `address`, or to the first address of `name`; with `send`, answers what comes back |
//! | `do=bind&address=A&port=P` | binds a TCP socket; with `listen=1`, listens on it |
//! | `do=sockets&count=N` | how many of N TCP sockets could be made, and the error of the next |
//! | `do=udp&address=A&port=P&send=T` | sends a datagram |

mod order;

#[cfg(not(feature = "p3"))]
mod two;

#[cfg(feature = "p3")]
mod three;
