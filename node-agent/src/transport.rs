//! How messages travel. Both ends hold a [`Link`]: a bounded channel out and one in.
//! In one process the channels meet directly ([`pair`]); between processes a pump moves them
//! over a unix socket ([`socket`]). Knows nothing of what the messages say.

pub mod socket;

use tokio::sync::mpsc;

use crate::message::Envelope;

/// Messages that may wait in one direction. A burst is one message per slot at a worker's
/// start; beyond it the sender waits, nothing is lost.
const WAITING: usize = 256;

/// One end of a conversation.
#[derive(Debug)]
pub struct Link<Out, In> {
    /// What this end says.
    pub outgoing: mpsc::Sender<Envelope<Out>>,
    /// What the other end says; `None` when it is gone.
    pub incoming: mpsc::Receiver<Envelope<In>>,
}

/// The two ends of a conversation inside one process.
pub fn pair<A, B>() -> (Link<A, B>, Link<B, A>) {
    let (to_right, from_left) = mpsc::channel(WAITING);
    let (to_left, from_right) = mpsc::channel(WAITING);
    (
        Link {
            outgoing: to_right,
            incoming: from_right,
        },
        Link {
            outgoing: to_left,
            incoming: from_left,
        },
    )
}
