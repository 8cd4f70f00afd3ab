//! A name server that answers what the test wants, and remembers what it was asked.

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// What is known of one name.
#[derive(Debug, Clone)]
enum Entry {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// The first at the first question, and so on; the last for ever.
    InTurn(Vec<IpAddr>),
    /// No answer ever.
    Silence,
}

/// The server, until the test ends.
#[derive(Debug, Clone)]
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Entry>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Dns {
    pub(crate) async fn start() -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns {
            address: socket.local_addr().unwrap(),
            zone: Arc::default(),
            asked: Arc::default(),
        };
        tokio::spawn(dns.clone().serve(socket));
        dns
    }

    /// The name leads to these addresses.
    pub(crate) fn name(&self, name: &str, to: &[&str]) {
        self.set(name, Entry::Addresses(addresses(to)));
    }

    /// The name leads to another address at every question.
    pub(crate) fn name_in_turn(&self, name: &str, to: &[&str]) {
        self.set(name, Entry::InTurn(addresses(to)));
    }

    /// Nobody answers for the name.
    pub(crate) fn silence(&self, name: &str) {
        self.set(name, Entry::Silence);
    }

    /// The names that were asked for, each as often as it was, types apart.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn set(&self, name: &str, entry: Entry) {
        self.zone.lock().unwrap().insert(name.to_owned(), entry);
    }

    async fn serve(self, socket: UdpSocket) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = self.answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_string().to_ascii_lowercase();
        self.asked.lock().unwrap().push(name.clone());
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        let mut zone = self.zone.lock().unwrap();
        let found = match zone.get_mut(name.trim_end_matches('.')) {
            Some(Entry::Silence) => return None,
            Some(Entry::Addresses(found)) => found.clone(),
            // Both types are one question.
            Some(Entry::InTurn(turns)) => match (query.query_type(), turns.len()) {
                (RecordType::A, 2..) => vec![turns.remove(0)],
                _ => turns[..1].to_vec(),
            },
            None => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                Vec::new()
            }
        };
        for address in found {
            let data = match (address, query.query_type()) {
                (IpAddr::V4(address), RecordType::A) => RData::A(A(address)),
                (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(address)),
                _ => continue,
            };
            // A life of nothing: whoever believes it, asks again at every use.
            answer.add_answer(Record::from_rdata(query.name().clone(), 0, data));
        }
        answer.to_vec().ok()
    }
}
