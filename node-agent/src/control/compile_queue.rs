//! The queue in front of the compiler: one compile at a time, in turn by namespace, so that a
//! tenant's slow components do not hold up the rollouts of others. What failed is not tried
//! again for a while, or a component that bombs the compiler would keep it busy for ever.
//! Called by `prepare`; knows nothing of placements.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use artifact::{Digest, VerifiedComponent};
use crds::Reason;
use runtime::EngineClass;
use tokio::sync::{mpsc, oneshot};

use crate::compiler::Input;
use crate::memfd::Sealed;
use crate::message::{CompileOrder, Compiled, Envelope, Refused};
use crate::transport::Link;

/// How long a failed compile is remembered.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Failures that are remembered at most; the oldest go first.
const REMEMBERED_MOST: usize = 1_024;
/// Orders that may wait; beyond it, preparations wait themselves.
const WAITING: usize = 256;

/// A handle to the queue.
#[derive(Clone, Debug)]
pub struct CompileQueue(mpsc::Sender<Order>);

/// The queue's own end, for the task that runs it.
#[derive(Debug)]
pub struct CompileQueueTask {
    orders: mpsc::Receiver<Order>,
    waiting: BTreeMap<String, VecDeque<Order>>,
    /// The namespace that was served last: the next one is served next.
    last: String,
    failed: HashMap<(Digest, EngineClass), (Refused, Instant)>,
    next_id: u64,
}

#[derive(Debug)]
struct Order {
    namespace: String,
    digest: Digest,
    class: EngineClass,
    input: Input,
    answer: oneshot::Sender<Result<Sealed, Refused>>,
}

/// A new queue and the task that has to be run for it.
pub fn queue() -> (CompileQueue, CompileQueueTask) {
    let (sender, orders) = mpsc::channel(WAITING);
    let task = CompileQueueTask {
        orders,
        waiting: BTreeMap::new(),
        last: String::new(),
        failed: HashMap::new(),
        next_id: 0,
    };
    (CompileQueue(sender), task)
}

impl CompileQueue {
    /// Machine code for a component that was verified on this node. Waits its turn.
    pub async fn compile(
        &self,
        namespace: &str,
        component: &VerifiedComponent,
        class: EngineClass,
    ) -> Result<Sealed, Refused> {
        let gone = || unavailable("the compile queue has ended");
        let input = Input::new(class, component.wasm())
            .map_err(|error| unavailable(&format!("no memory for the component: {error}")))?;
        let (answer, answered) = oneshot::channel();
        let order = Order {
            namespace: namespace.to_owned(),
            digest: *component.digest(),
            class,
            input,
            answer,
        };
        self.0.send(order).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl CompileQueueTask {
    /// Serves orders with whatever compiler is connected, until every handle is gone.
    pub async fn run(mut self, mut compilers: mpsc::Receiver<Link<CompileOrder, Compiled>>) {
        let Some(mut link) = compilers.recv().await else {
            return;
        };
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.enqueue(order);
            }
            let Some(order) = self.next() else {
                match self.orders.recv().await {
                    Some(order) => self.enqueue(order),
                    None => return,
                }
                continue;
            };
            let failure_key = (order.digest, order.class);
            let result = match self.remembered(&failure_key) {
                Some(refused) => Err(refused),
                None => self.ask(&mut link, &mut compilers, order.input).await,
            };
            if let Err(refused) = &result
                && refused.reason != Reason::CompilerUnavailable
            {
                self.remember(failure_key, refused.clone());
            }
            // Whoever asked may be gone: its placement was deleted meanwhile.
            let _ = order.answer.send(result);
        }
    }

    fn enqueue(&mut self, order: Order) {
        self.waiting
            .entry(order.namespace.clone())
            .or_default()
            .push_back(order);
    }

    /// The next order, from the namespace after the one that was served last.
    fn next(&mut self) -> Option<Order> {
        let after = self
            .waiting
            .range::<String, _>((
                std::ops::Bound::Excluded(&self.last),
                std::ops::Bound::Unbounded,
            ))
            .next()
            .or_else(|| self.waiting.iter().next())
            .map(|(namespace, _)| namespace.clone())?;
        let orders = self.waiting.get_mut(&after)?;
        let order = orders.pop_front();
        if orders.is_empty() {
            self.waiting.remove(&after);
        }
        self.last = after;
        order
    }

    async fn ask(
        &mut self,
        link: &mut Link<CompileOrder, Compiled>,
        compilers: &mut mpsc::Receiver<Link<CompileOrder, Compiled>>,
        input: Input,
    ) -> Result<Sealed, Refused> {
        // A newer compiler replaces one that died while nobody asked it anything.
        while let Ok(newer) = compilers.try_recv() {
            *link = newer;
        }
        self.next_id += 1;
        let id = self.next_id;
        let order = Envelope {
            message: CompileOrder { id },
            fds: vec![input.into_sealed().into_fd()],
        };
        let gone = "the compiler has ended; it is being started again";
        if link.outgoing.send(order).await.is_err() {
            return Err(unavailable(gone));
        }
        loop {
            let Some(Envelope { message, fds }) = link.incoming.recv().await else {
                return Err(unavailable(gone));
            };
            // An answer to an earlier order of a compiler that was given up on.
            if message.id != id {
                continue;
            }
            if let Some(refused) = message.refused {
                return Err(refused);
            }
            return match fds.into_iter().next().map(Sealed::received) {
                Some(Ok(code)) => Ok(code),
                Some(Err(error)) => Err(unavailable(&error.to_string())),
                None => Err(unavailable("the compiler sent no machine code")),
            };
        }
    }

    fn remembered(&mut self, key: &(Digest, EngineClass)) -> Option<Refused> {
        self.failed
            .retain(|_, (_, time)| time.elapsed() < REMEMBERED);
        self.failed.get(key).map(|(refused, _)| refused.clone())
    }

    fn remember(&mut self, key: (Digest, EngineClass), refused: Refused) {
        if self.failed.len() >= REMEMBERED_MOST
            && let Some(oldest) = self
                .failed
                .iter()
                .min_by_key(|(_, (_, time))| *time)
                .map(|(key, _)| *key)
        {
            self.failed.remove(&oldest);
        }
        self.failed.insert(key, (refused, Instant::now()));
    }
}

fn unavailable(message: &str) -> Refused {
    Refused {
        reason: Reason::CompilerUnavailable,
        message: message.to_owned(),
    }
}
