//! A component that is told what to do with files, in the body of the request, one order a
//! line.
//!
//! An order is a form: `do=open&from=/data&path=x&for=r&as=f`. The answer has one line for
//! each order: what came of it, or the error's name in kebab case. Handles have names: those
//! of preopened directories are their paths, others are named by `as`. The same orders are
//! understood by the build for WASI 0.2 and the one for 0.3.
//!
//! | order | what it does |
//! |---|---|
//! | `do=preopens` | the paths of the preopened directories |
//! | `do=open&from=H&path=P&for=F&as=H` | opens; `for` is of `r` read, `w` write, `c` create, `x` exclusive, `t` truncate, `d` directory |
//! | `do=read&from=H` | reads a stream from `offset` to its end, or `length` bytes |
//! | `do=write&to=H&text=T` | writes a stream at `offset`; `size` bytes where there is no text |
//! | `do=append&to=H&text=T` | the same at the end |
//! | `do=stat&from=H` | type and size; with `path` below a directory |
//! | `do=list&from=H` | the names in a directory, sorted; those of directories end in `/` |
//! | `do=mkdir`, `rmdir`, `unlink`, `touch`, `readlink` `&from=H&path=P` | what they say |
//! | `do=rename`, `link` `&from=H&path=P&to=H&into=Q` | what they say |
//! | `do=symlink&from=H&target=T&path=P` | what it says |
//! | `do=resize&to=H&size=N`, `do=touch-it&to=H`, `do=sync&from=H` | of an open file |
//! | `do=hash&from=H` | the metadata hash; with `path` below a directory |
//! | `do=same&from=H&other=H`, `do=type&from=H`, `do=flags&from=H`, `do=close&from=H` | what they say |
//! | `do=hoard&from=H&path=P&count=N` | how many of N handles of a file can be open, and the error of the next |
//! | `do=listings&from=H&count=N` | opens N listings that nobody reads; `&first=1` reads one entry of each |
//! | `do=cycle&from=H&path=P&count=N` | N times: opens a file, reads 4 KiB, closes it |

#[path = "../../caller/src/order.rs"]
#[allow(dead_code)]
mod order;

#[cfg(not(feature = "p3"))]
mod two;

#[cfg(feature = "p3")]
mod three;
