//! A server that answers what it is told, over real HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the fake does with each request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These bytes after the whole body was read, then the connection is closed.
    Raw(String),
    /// These bytes as soon as the head was read, without a look at the body.
    Early(String),
    /// Reads everything and never answers.
    Silence,
}

impl Reply {
    /// An answer as ClickHouse writes it.
    pub(crate) fn exception(status: &str, code: i32, body: &str) -> Self {
        Self::Raw(format!(
            "HTTP/1.1 {status}\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// What ClickHouse answers to an INSERT that went through.
    pub(crate) fn ok() -> Self {
        Self::Raw(
            "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n".into(),
        )
    }

    pub(crate) fn plain(status: &str, body: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
    }
}

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    accepting: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is no fault of the fake.
                tokio::spawn(serve(stream, reply.clone(), Arc::clone(&seen)));
            }
        });
        Self { address, requests, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<Request>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse::<usize>().ok();
        }
    }
    if let Reply::Early(bytes) = &reply {
        stream.write_all(bytes.as_bytes()).await?;
        return stream.shutdown().await;
    }
    let body = match length {
        Some(length) => {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            body
        }
        None => chunks(&mut stream).await?,
    };
    seen.lock().unwrap().push(Request { target, body });
    match reply {
        Reply::Raw(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::Silence | Reply::Early(_) => std::future::pending().await,
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let at = body.len();
        body.resize(at + length + 2, 0);
        stream.read_exact(&mut body[at..]).await?;
        body.truncate(at + length);
        if length == 0 {
            return Ok(body);
        }
    }
}
