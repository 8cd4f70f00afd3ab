//! The orders over WASI 0.2.

use crate::order::Order;
use std::collections::BTreeMap;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream, ErrorCode,
    NewTimestamp, OpenFlags, PathFlags, filesystem_error_code,
};
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

struct Files;

wasip2::http::proxy::export!(Files);

/// Handles by their names, and listings that nobody reads.
#[derive(Default)]
struct Hands {
    open: BTreeMap<String, Descriptor>,
    listings: Vec<DirectoryEntryStream>,
}

impl wasip2::exports::http::incoming_handler::Guest for Files {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let body = request.consume().expect("the first look at the body");
        let text = read_all(&body.stream().expect("the first look at the stream"));
        let orders = Order::all(core::str::from_utf8(&text).unwrap_or_default());
        let mut hands = Hands::default();
        for (handle, path) in get_directories() {
            hands.open.insert(path, handle);
        }
        let lines: String = orders.iter().map(|order| hands.told(order) + "\n").collect();
        answer(outparam, &lines);
    }
}

impl Hands {
    fn told(&mut self, order: &Order) -> String {
        self.carry_out(order).unwrap_or_else(|code| code.name().to_owned())
    }

    fn hand(&self, name: &str) -> Result<&Descriptor, ErrorCode> {
        self.open.get(name).ok_or(ErrorCode::BadDescriptor)
    }

    fn carry_out(&mut self, order: &Order) -> Result<String, ErrorCode> {
        let done = |()| "done".to_owned();
        let path = order.get("path");
        let follow = PathFlags::SYMLINK_FOLLOW;
        let size = order.number("size", 0);
        match order.get("do") {
            "preopens" => Ok(join(self.open.keys().cloned())),
            "open" => {
                let opened = open(self.hand(order.get("from"))?, path, order.get("for"))?;
                self.open.insert(order.get("as").to_owned(), opened);
                Ok("open".to_owned())
            }
            "close" => {
                let closed = self.open.remove(order.get("from"));
                Ok(closed.map_or("none", |_| "closed").to_owned())
            }
            "read" => self.read(order),
            "write" => {
                let stream = self
                    .hand(order.get("to"))?
                    .write_via_stream(order.number("offset", 0))?;
                write_all(&stream, &bytes(order)).map(done)
            }
            "append" => {
                let stream = self.hand(order.get("to"))?.append_via_stream()?;
                write_all(&stream, &bytes(order)).map(done)
            }
            "stat" => {
                let from = self.hand(order.get("from"))?;
                let stat = match path {
                    "" => from.stat(),
                    path => from.stat_at(follow, path),
                };
                stat.map(|stat| told(&stat))
            }
            "list" => self.list(order.get("from")),
            "listings" => self.listings(order),
            "mkdir" => self.hand(order.get("from"))?.create_directory_at(path).map(done),
            "rmdir" => self.hand(order.get("from"))?.remove_directory_at(path).map(done),
            "unlink" => self.hand(order.get("from"))?.unlink_file_at(path).map(done),
            "touch" => {
                let (from, now) = (self.hand(order.get("from"))?, NewTimestamp::Now);
                from.set_times_at(follow, path, now, now).map(done)
            }
            "touch-it" => {
                let now = NewTimestamp::Now;
                self.hand(order.get("to"))?.set_times(now, now).map(done)
            }
            "rename" => {
                let (from, to) = (self.hand(order.get("from"))?, self.hand(order.get("to"))?);
                from.rename_at(path, to, order.get("into")).map(done)
            }
            "link" => {
                let (from, to) = (self.hand(order.get("from"))?, self.hand(order.get("to"))?);
                from.link_at(follow, path, to, order.get("into")).map(done)
            }
            "symlink" => {
                let from = self.hand(order.get("from"))?;
                from.symlink_at(order.get("target"), path).map(done)
            }
            "readlink" => self.hand(order.get("from"))?.readlink_at(path),
            "resize" => self.hand(order.get("to"))?.set_size(size).map(done),
            "sync" => self.hand(order.get("from"))?.sync().map(done),
            "hash" => {
                let from = self.hand(order.get("from"))?;
                let hash = match path {
                    "" => from.metadata_hash(),
                    path => from.metadata_hash_at(follow, path),
                };
                hash.map(|hash| format!("{:x}{:x}", hash.upper, hash.lower))
            }
            "same" => {
                let other = self.hand(order.get("other"))?;
                Ok(self.hand(order.get("from"))?.is_same_object(other).to_string())
            }
            "type" => Ok(kind(self.hand(order.get("from"))?.get_type()?).to_owned()),
            "flags" => Ok(flags(self.hand(order.get("from"))?.get_flags()?)),
            "hoard" => self.hoard(order),
            "cycle" => self.cycle(order),
            other => Ok(format!("no such order: {other}")),
        }
    }

    fn read(&self, order: &Order) -> Result<String, ErrorCode> {
        let file = self.hand(order.get("from"))?;
        let offset = order.number("offset", 0);
        let length = order.number("length", 0);
        if length > 0 {
            let (bytes, _) = file.read(length, offset)?;
            return Ok(text(&bytes));
        }
        let stream = file.read_via_stream(offset)?;
        Ok(text(&read_all(&stream)))
    }

    fn list(&self, name: &str) -> Result<String, ErrorCode> {
        let listing = self.hand(name)?.read_directory()?;
        let mut names = Vec::new();
        while let Some(entry) = listing.read_directory_entry()? {
            let end = if entry.type_ == DescriptorType::Directory { "/" } else { "" };
            names.push(entry.name + end);
        }
        names.sort();
        Ok(join(names))
    }

    fn listings(&mut self, order: &Order) -> Result<String, ErrorCode> {
        for _ in 0..order.number("count", 1) {
            let listing = self.hand(order.get("from"))?.read_directory()?;
            if !order.get("first").is_empty() {
                listing.read_directory_entry()?;
            }
            self.listings.push(listing);
        }
        Ok(self.listings.len().to_string())
    }

    fn hoard(&mut self, order: &Order) -> Result<String, ErrorCode> {
        let from = self.hand(order.get("from"))?;
        let mut held = Vec::new();
        for _ in 0..order.number("count", 1) {
            match open(from, order.get("path"), "r") {
                Ok(file) => held.push(file),
                Err(code) => return Ok(format!("{} {}", held.len(), code.name())),
            }
        }
        Ok(held.len().to_string())
    }

    fn cycle(&self, order: &Order) -> Result<String, ErrorCode> {
        let from = self.hand(order.get("from"))?;
        let mut read = 0;
        for _ in 0..order.number("count", 1) {
            let file = open(from, order.get("path"), "r")?;
            let stream = file.read_via_stream(0)?;
            read += stream.blocking_read(4096).map_err(|_| ErrorCode::Io)?.len();
        }
        Ok(read.to_string())
    }
}

fn open(from: &Descriptor, path: &str, wish: &str) -> Result<Descriptor, ErrorCode> {
    let has = |letter| wish.contains(letter);
    let mut how = OpenFlags::empty();
    how.set(OpenFlags::CREATE, has('c'));
    how.set(OpenFlags::EXCLUSIVE, has('x'));
    how.set(OpenFlags::TRUNCATE, has('t'));
    how.set(OpenFlags::DIRECTORY, has('d'));
    let mut flags = DescriptorFlags::empty();
    flags.set(DescriptorFlags::READ, has('r'));
    flags.set(DescriptorFlags::WRITE, has('w'));
    from.open_at(PathFlags::SYMLINK_FOLLOW, path, how, flags)
}

fn read_all(stream: &InputStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(piece) = stream.blocking_read(64 * 1024) {
        bytes.extend(piece);
    }
    bytes
}

fn write_all(stream: &OutputStream, bytes: &[u8]) -> Result<(), ErrorCode> {
    for piece in bytes.chunks(4096) {
        stream.blocking_write_and_flush(piece).map_err(|error| match error {
            StreamError::LastOperationFailed(error) => {
                filesystem_error_code(&error).unwrap_or(ErrorCode::Io)
            }
            StreamError::Closed => ErrorCode::Pipe,
        })?;
    }
    Ok(())
}

fn bytes(order: &Order) -> Vec<u8> {
    match order.get("text") {
        "" => vec![b'x'; order.number("size", 0)],
        text => text.as_bytes().to_vec(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\n', "\\n")
}

fn join(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}

fn kind(kind: DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Directory => "directory",
        DescriptorType::RegularFile => "file",
        _ => "other",
    }
}

fn told(stat: &DescriptorStat) -> String {
    let times = match stat.data_modification_timestamp {
        Some(_) => "",
        None => " without times",
    };
    format!("{} {}{times}", kind(stat.type_), stat.size)
}

fn flags(flags: DescriptorFlags) -> String {
    let names = [
        (DescriptorFlags::READ, "read"),
        (DescriptorFlags::WRITE, "write"),
        (DescriptorFlags::MUTATE_DIRECTORY, "mutate"),
    ];
    let set = names.into_iter().filter(|(flag, _)| flags.contains(*flag));
    join(set.map(|(_, name)| name.to_owned()))
}

fn answer(outparam: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first use of the body");
    ResponseOutparam::set(outparam, Ok(response));
    let stream = body.write().expect("the first use of the stream");
    let _ = write_all(&stream, text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
