//! The orders over WASI 0.3.

use crate::order::{Order, code};
use std::collections::BTreeMap;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    NewTimestamp, OpenFlags, PathFlags,
};
use wasip3::http::types::{ErrorCode as HttpError, Fields, Request, Response};
use wasip3::wit_bindgen::{FutureReader, StreamReader};
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Files;

wasip3::http::service::export!(Files);

type Listing = (StreamReader<DirectoryEntry>, FutureReader<Result<(), ErrorCode>>);

/// Handles by their names, and listings that nobody reads.
#[derive(Default)]
struct Hands {
    open: BTreeMap<String, Descriptor>,
    listings: Vec<Listing>,
}

impl wasip3::exports::http::handler::Guest for Files {
    async fn handle(request: Request) -> Result<Response, HttpError> {
        let (_done, done) = wit_future::new(|| Ok(()));
        let (body, _trailers) = Request::consume_body(request, done);
        let text = body.collect().await;
        let mut hands = Hands::default();
        for (handle, path) in get_directories() {
            hands.open.insert(path, handle);
        }
        let mut lines = String::new();
        for order in Order::all(core::str::from_utf8(&text).unwrap_or_default()) {
            let told = hands.carry_out(&order).await;
            lines += &(told.unwrap_or_else(|error| code(&format!("{error:?}"))) + "\n");
        }
        let (mut body, receiver) = wit_stream::new();
        let (trailers, trailers_receiver) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(receiver), trailers_receiver);
        wit_bindgen::spawn(async move {
            body.write_all(lines.into_bytes()).await;
            drop(body);
            drop(trailers);
        });
        Ok(response)
    }
}

impl Hands {
    fn hand(&self, name: &str) -> Result<&Descriptor, ErrorCode> {
        self.open.get(name).ok_or(ErrorCode::BadDescriptor)
    }

    async fn carry_out(&mut self, order: &Order) -> Result<String, ErrorCode> {
        let done = |()| "done".to_owned();
        let path = order.get("path").to_owned();
        let into = order.get("into").to_owned();
        let follow = PathFlags::SYMLINK_FOLLOW;
        let now = NewTimestamp::Now;
        match order.get("do") {
            "preopens" => Ok(join(self.open.keys().cloned())),
            "open" => {
                let from = self.hand(order.get("from"))?;
                let opened = open(from, path, order.get("for")).await?;
                self.open.insert(order.get("as").to_owned(), opened);
                Ok("open".to_owned())
            }
            "close" => {
                let closed = self.open.remove(order.get("from"));
                Ok(closed.map_or("none", |_| "closed").to_owned())
            }
            "read" => {
                let file = self.hand(order.get("from"))?;
                let bytes = read(file, order.number("offset", 0), order.number("length", 0));
                Ok(text(&bytes.await?))
            }
            "write" => {
                let offset = order.number("offset", 0);
                let file = self.hand(order.get("to"))?;
                write_all(bytes(order), |data| file.write_via_stream(data, offset)).await.map(done)
            }
            "append" => {
                let file = self.hand(order.get("to"))?;
                write_all(bytes(order), |data| file.append_via_stream(data)).await.map(done)
            }
            "stat" => {
                let from = self.hand(order.get("from"))?;
                let stat = match path.is_empty() {
                    true => from.stat().await,
                    false => from.stat_at(follow, path).await,
                };
                stat.map(|stat| told(&stat))
            }
            "list" => self.list(order.get("from")).await,
            "listings" => self.listings(order).await,
            "mkdir" => self.hand(order.get("from"))?.create_directory_at(path).await.map(done),
            "rmdir" => self.hand(order.get("from"))?.remove_directory_at(path).await.map(done),
            "unlink" => self.hand(order.get("from"))?.unlink_file_at(path).await.map(done),
            "touch" => {
                let from = self.hand(order.get("from"))?;
                from.set_times_at(follow, path, now, now).await.map(done)
            }
            "touch-it" => self.hand(order.get("to"))?.set_times(now, now).await.map(done),
            "rename" => {
                let (from, to) = (self.hand(order.get("from"))?, self.hand(order.get("to"))?);
                from.rename_at(path, to, into).await.map(done)
            }
            "link" => {
                let (from, to) = (self.hand(order.get("from"))?, self.hand(order.get("to"))?);
                from.link_at(follow, path, to, into).await.map(done)
            }
            "symlink" => {
                let target = order.get("target").to_owned();
                self.hand(order.get("from"))?.symlink_at(target, path).await.map(done)
            }
            "readlink" => self.hand(order.get("from"))?.readlink_at(path).await,
            "resize" => {
                let size = order.number("size", 0);
                self.hand(order.get("to"))?.set_size(size).await.map(done)
            }
            "sync" => self.hand(order.get("from"))?.sync().await.map(done),
            "hash" => {
                let from = self.hand(order.get("from"))?;
                let hash = match path.is_empty() {
                    true => from.metadata_hash().await,
                    false => from.metadata_hash_at(follow, path).await,
                };
                hash.map(|hash| format!("{:x}{:x}", hash.upper, hash.lower))
            }
            "same" => {
                let other = self.hand(order.get("other"))?;
                let same = self.hand(order.get("from"))?.is_same_object(other).await;
                Ok(same.to_string())
            }
            "type" => {
                let found = self.hand(order.get("from"))?.get_type().await?;
                Ok(kind(&found).to_owned())
            }
            "flags" => Ok(flags(self.hand(order.get("from"))?.get_flags().await?)),
            "hoard" => self.hoard(order).await,
            "cycle" => self.cycle(order).await,
            other => Ok(format!("no such order: {other}")),
        }
    }

    async fn list(&self, name: &str) -> Result<String, ErrorCode> {
        let (stream, ended) = self.hand(name)?.read_directory();
        let entries = stream.collect().await;
        ended.await?;
        let mut names: Vec<String> = entries
            .into_iter()
            .map(|entry| {
                let end = if kind(&entry.type_) == "directory" { "/" } else { "" };
                entry.name + end
            })
            .collect();
        names.sort();
        Ok(join(names))
    }

    async fn listings(&mut self, order: &Order) -> Result<String, ErrorCode> {
        for _ in 0..order.number("count", 1) {
            let mut listing = self.hand(order.get("from"))?.read_directory();
            if !order.get("first").is_empty() {
                listing.0.next().await;
            }
            self.listings.push(listing);
        }
        Ok(self.listings.len().to_string())
    }

    async fn hoard(&self, order: &Order) -> Result<String, ErrorCode> {
        let from = self.hand(order.get("from"))?;
        let mut held = Vec::new();
        for _ in 0..order.number("count", 1) {
            match open(from, order.get("path").to_owned(), "r").await {
                Ok(file) => held.push(file),
                Err(error) => {
                    return Ok(format!("{} {}", held.len(), code(&format!("{error:?}"))));
                }
            }
        }
        Ok(held.len().to_string())
    }

    async fn cycle(&self, order: &Order) -> Result<String, ErrorCode> {
        let from = self.hand(order.get("from"))?;
        let mut length = 0;
        for _ in 0..order.number("count", 1) {
            let file = open(from, order.get("path").to_owned(), "r").await?;
            length += read(&file, 0, 4096).await?.len();
        }
        Ok(length.to_string())
    }
}

async fn open(from: &Descriptor, path: String, wish: &str) -> Result<Descriptor, ErrorCode> {
    let has = |letter| wish.contains(letter);
    let mut how = OpenFlags::empty();
    how.set(OpenFlags::CREATE, has('c'));
    how.set(OpenFlags::EXCLUSIVE, has('x'));
    how.set(OpenFlags::TRUNCATE, has('t'));
    how.set(OpenFlags::DIRECTORY, has('d'));
    let mut flags = DescriptorFlags::empty();
    flags.set(DescriptorFlags::READ, has('r'));
    flags.set(DescriptorFlags::WRITE, has('w'));
    from.open_at(PathFlags::SYMLINK_FOLLOW, path, how, flags).await
}

/// Reads to the end, or `length` bytes.
async fn read(file: &Descriptor, offset: u64, length: usize) -> Result<Vec<u8>, ErrorCode> {
    let (mut stream, ended) = file.read_via_stream(offset);
    if length == 0 {
        let bytes = stream.collect().await;
        ended.await?;
        return Ok(bytes);
    }
    let (_, bytes) = stream.read(Vec::with_capacity(length)).await;
    drop(stream);
    ended.await?;
    Ok(bytes)
}

async fn write_all(
    bytes: Vec<u8>,
    write: impl FnOnce(StreamReader<u8>) -> FutureReader<Result<(), ErrorCode>>,
) -> Result<(), ErrorCode> {
    let (mut data, reader) = wit_stream::new();
    let ended = write(reader);
    data.write_all(bytes).await;
    drop(data);
    ended.await
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

fn kind(kind: &DescriptorType) -> &'static str {
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
    format!("{} {}{times}", kind(&stat.type_), stat.size)
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
