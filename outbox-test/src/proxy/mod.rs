//! A TCP proxy that breaks connections on purpose, between a client under test and a real server.
//!
//! It knows no protocol. What it cuts it counts, and the counts can be awaited.

mod connection;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Ends a test that would hang; nothing waits this long otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// What happens to connections. A change applies to the open ones, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes through.
    #[default]
    Pass,
    /// Connections are closed at once. (They are accepted first: a closed port is a server that is down.)
    Refuse,
    /// Connections stay open, what the client sends is swallowed, nothing ever comes back.
    Blackhole,
    /// So many bytes of the client's go through, counted per connection from when the mode was set; then both sides are
    /// closed.
    CutAfter(u64),
    /// Requests go through. The first bytes of the server's answer are swallowed and the client's side is closed; the
    /// server is left to finish.
    LoseReply,
}

/// How many connections there were, and how many bytes a black hole took. A cut is a connection that a mode closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    connections: u64,
    cuts: u64,
    swallowed: u64,
}

/// The mode, and how many cuts it still makes before everything passes again (`None`: any number).
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    mode: Mode,
    cuts_left: Option<u64>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    orders: watch::Sender<Orders>,
    counts: watch::Sender<Counts>,
}

impl Shared {
    /// Counts a cut, unless the mode has changed or used its cuts up: then there is none to make.
    fn take_cut(&self, mode: Mode) -> bool {
        let mut taken = false;
        self.orders.send_if_modified(|orders| {
            taken = orders.mode == mode;
            let Some(left) = orders.cuts_left.filter(|_| taken) else { return false };
            match left {
                0 | 1 => *orders = Orders::default(),
                _ => orders.cuts_left = Some(left - 1),
            }
            left <= 1
        });
        taken
    }

    fn count_cut(&self) {
        self.counts.send_modify(|counts| counts.cuts += 1);
    }
}

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy on a port of its own on 127.0.0.1, in front of `upstream` (`host:port`). Everything passes at first.
    ///
    /// # Panics
    /// When `upstream` has no address or no port can be had.
    pub async fn start(upstream: &str) -> Self {
        Self::try_start(upstream).await.unwrap_or_else(|e| panic!("a proxy before {upstream}: {e}"))
    }

    async fn try_start(upstream: &str) -> io::Result<Self> {
        let upstream = tokio::net::lookup_host(upstream).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { upstream, orders: watch::Sender::default(), counts: watch::Sender::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and [`addr`](Self::addr).
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the mode, until it is changed again.
    pub fn set(&self, mode: Mode) {
        self.shared.orders.send_replace(Orders { mode, cuts_left: None });
    }

    /// Changes the mode for one cut, after which everything passes again. No second connection can be hit, however
    /// quickly the client tries again.
    pub fn set_once(&self, mode: Mode) {
        self.shared.orders.send_replace(Orders { mode, cuts_left: Some(1) });
    }

    /// How many connections were made, refused ones included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.counts.borrow().connections
    }

    /// How many connections a mode has closed.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.counts.borrow().cuts
    }

    /// Waits until `cuts` connections have been closed by a mode, since the start.
    ///
    /// # Panics
    /// When two minutes pass first.
    pub async fn wait_for(&self, cuts: u64) {
        self.wait_counts("cuts", cuts, |counts| counts.cuts).await;
    }

    /// Waits until `connections` connections have been made, since the start.
    ///
    /// # Panics
    /// When two minutes pass first.
    pub async fn wait_for_connections(&self, connections: u64) {
        self.wait_counts("connections", connections, |counts| counts.connections).await;
    }

    async fn wait_counts(&self, what: &str, wanted: u64, count: fn(&Counts) -> u64) {
        let mut counts = self.shared.counts.subscribe();
        if timeout(DEADLINE, counts.wait_for(|counts| count(counts) >= wanted)).await.is_err() {
            let now = *self.shared.counts.borrow();
            panic!("the proxy waited {DEADLINE:?} for {wanted} {what}; there were {}", count(&now));
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Owns the connections: they end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                nodelay(&client);
                connections.spawn(connection::serve(client, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The proxy must not add delays of its own to what it carries.
fn nodelay(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}
