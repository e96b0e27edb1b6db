//! One connection through the proxy: two pumps, which both follow the mode.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::{Mode, Orders, Shared, nodelay};

const BUFFER: usize = 16 * 1024;

/// Why a pump stopped.
enum End {
    /// A peer closed or broke its side.
    Peer,
    /// The mode closes the connection.
    Cut,
    /// The mode closes the client's side; the server may finish.
    ReplyLost,
}

pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    shared.counts.send_modify(|counts| counts.connections += 1);
    if orders.borrow_and_update().mode == Mode::Refuse && shared.take_cut(Mode::Refuse) {
        drop(client);
        return shared.count_cut();
    }
    let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
    nodelay(&server);
    let (from_client, to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let mut up = Up { from_client, to_server, orders: orders.clone(), sent: 0 };
    let mut down = Down { to_client, orders };
    let end = tokio::select! {
        end = up.pump(&shared) => end,
        end = down.pump(&mut from_server, &shared) => end,
    };
    // Closed first and counted then: who waits for the count finds the connection closed.
    match end.unwrap_or(End::Peer) {
        End::Peer => {}
        End::Cut => {
            drop((up, down, from_server));
            shared.count_cut();
        }
        End::ReplyLost => {
            let Up { from_client, to_server, .. } = up;
            drop((from_client, down));
            shared.count_cut();
            // Until the server is done: closing its side could make it break off what it does.
            let _ = tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await;
            drop(to_server);
        }
    }
}

/// Client to server.
struct Up {
    from_client: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    orders: watch::Receiver<Orders>,
    /// Bytes since the mode was set.
    sent: u64,
}

impl Up {
    async fn pump(&mut self, shared: &Shared) -> io::Result<End> {
        let mut buffer = vec![0; BUFFER];
        loop {
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return Ok(End::Peer);
                    }
                    if let Some(end) = self.obey(shared) {
                        return Ok(end);
                    }
                }
                read = self.from_client.read(&mut buffer) => match read? {
                    0 => {
                        self.to_server.shutdown().await?;
                        // The answer may still be under way; the other pump knows when it is over.
                        return std::future::pending().await;
                    }
                    length => if let Some(end) = self.forward(&buffer[..length], shared).await? {
                        return Ok(end);
                    },
                },
            }
        }
    }

    /// Looks at a mode that was set.
    fn obey(&mut self, shared: &Shared) -> Option<End> {
        self.sent = 0;
        let mode = self.orders.borrow_and_update().mode;
        (mode == Mode::Refuse && shared.take_cut(mode)).then_some(End::Cut)
    }

    async fn forward(&mut self, bytes: &[u8], shared: &Shared) -> io::Result<Option<End>> {
        // Set while these bytes were under way: what went before them does not count.
        if self.orders.has_changed().unwrap_or(false)
            && let Some(end) = self.obey(shared)
        {
            return Ok(Some(end));
        }
        let mode = self.orders.borrow().mode;
        match mode {
            Mode::Blackhole => {
                shared.counts.send_modify(|counts| counts.swallowed += bytes.len() as u64);
                return Ok(None);
            }
            Mode::CutAfter(limit) if self.sent + bytes.len() as u64 >= limit => {
                let allowed = usize::try_from(limit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
                if shared.take_cut(mode) {
                    self.to_server.write_all(&bytes[..allowed]).await?;
                    return Ok(Some(End::Cut));
                }
            }
            _ => {}
        }
        self.to_server.write_all(bytes).await?;
        self.sent += bytes.len() as u64;
        Ok(None)
    }
}

/// Server to client.
struct Down {
    to_client: OwnedWriteHalf,
    orders: watch::Receiver<Orders>,
}

impl Down {
    async fn pump(&mut self, from_server: &mut OwnedReadHalf, shared: &Shared) -> io::Result<End> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = from_server.read(&mut buffer).await?;
            // As it is now, not as it was when the read began.
            let mode = self.orders.borrow_and_update().mode;
            match mode {
                // A client that is kept waiting does not learn that the server gave up, either.
                Mode::Blackhole if length == 0 => return std::future::pending().await,
                _ if length == 0 => return Ok(End::Peer),
                Mode::Blackhole => {}
                Mode::LoseReply if shared.take_cut(mode) => return Ok(End::ReplyLost),
                _ => self.to_client.write_all(&buffer[..length]).await?,
            }
        }
    }
}
