//! What goes over the wire between a client and a database, counted by a proxy that knows just enough of the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// A proxy, and how often the server was asked through it.
pub(crate) struct Wire {
    pub(crate) url: String,
    count: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Protocol {
    Postgres,
    Mysql,
}

impl Wire {
    pub(crate) async fn postgres(url: &str) -> Self {
        Self::start(url, Protocol::Postgres).await
    }

    pub(crate) async fn mysql(url: &str) -> Self {
        Self::start(url, Protocol::Mysql).await
    }

    async fn start(url: &str, protocol: Protocol) -> Self {
        let (before, rest) = url.split_once('@').expect("a user");
        let (host, database) = rest.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{before}@{}/{database}", listener.local_addr().expect("an address"));
        let (count, upstream) = (Arc::new(AtomicUsize::new(0)), host.to_owned());
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.expect("the server");
                tokio::spawn(pass(client, server, protocol, Arc::clone(&counted)));
            }
        });
        Self { url, count }
    }

    /// How often the server was asked since the last call.
    pub(crate) fn take(&self) -> usize {
        self.count.swap(0, Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: TcpStream, protocol: Protocol, count: Arc<AtomicUsize>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    match protocol {
        // ReadyForQuery ends the answer to everything that was sent in one go.
        Protocol::Postgres => {
            tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            let _ = packets(&mut from_server, &mut to_client, postgres_length, |header, _| {
                if header[0] == b'Z' {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
            .await;
        }
        // A command starts with the sequence number 0; some of them want no answer.
        Protocol::Mysql => {
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            let _ = packets(&mut from_client, &mut to_server, mysql_length, |header, body| {
                const QUIT: u8 = 0x01;
                const CLOSE_STATEMENT: u8 = 0x19;
                if header[3] == 0 && !matches!(body.first(), Some(&(QUIT | CLOSE_STATEMENT)) | None) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
            .await;
        }
    }
}

/// A header, and how much follows it.
type Length<const N: usize> = fn(&[u8; N]) -> usize;

fn postgres_length(header: &[u8; 5]) -> usize {
    u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize - 4
}

fn mysql_length(header: &[u8; 4]) -> usize {
    u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize
}

async fn packets<const N: usize>(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    length: Length<N>,
    see: impl Fn(&[u8; N], &[u8]),
) -> std::io::Result<()> {
    loop {
        let mut header = [0; N];
        from.read_exact(&mut header).await?;
        let mut body = vec![0; length(&header)];
        from.read_exact(&mut body).await?;
        see(&header, &body);
        to.write_all(&header).await?;
        to.write_all(&body).await?;
    }
}
