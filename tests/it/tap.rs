//! A proxy that lets everything through and keeps what clients say, to be looked at as HTTP requests afterwards.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What each connection's client has said.
type Said = Arc<Mutex<Vec<Vec<u8>>>>;

/// Dropping it closes every connection.
pub(crate) struct Tap {
    url: String,
    said: Said,
    accepting: JoinHandle<()>,
}

/// A request that was there to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The query string's parameters, as they were sent.
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Tap {
    /// Before `upstream`, `host:port`.
    pub(crate) async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (said, upstream) = (Said::default(), upstream.to_owned());
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&said)));
        Self { url, said, accepting }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everything so far, connection by connection.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().flat_map(|bytes| requests(bytes)).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, said: Said) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(serve(client, upstream.clone(), Arc::clone(&said)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, upstream: String, said: Said) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let connection = {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(Vec::new());
        said.len() - 1
    };
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            said.lock().unwrap_or_else(PoisonError::into_inner)[connection].extend(&buffer[..length]);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// The requests that one connection carried; one that was cut is left out.
fn requests(mut bytes: &[u8]) -> Vec<Request> {
    let mut found = Vec::new();
    while let Some((request, rest)) = request(bytes) {
        found.push(request);
        bytes = rest;
    }
    found
}

fn request(bytes: &[u8]) -> Option<(Request, &[u8])> {
    let (head, rest) = split_once(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(head).into_owned();
    let (line, headers) = head.split_once("\r\n")?;
    let header = |name: &str| {
        let found = headers.lines().filter_map(|line| line.split_once(':'));
        found.filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let (body, rest) = match header("transfer-encoding").as_deref() {
        Some("chunked") => chunks(rest)?,
        _ => {
            let length = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
            let (body, rest) = rest.split_at_checked(length)?;
            (body.to_vec(), rest)
        }
    };
    let query = line.split_whitespace().nth(1)?.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Some((Request { parameters: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(), body }, rest))
}

fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (size, rest) = split_once(bytes, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?.trim(), 16).ok()?;
        let (chunk, rest) = rest.split_at_checked(size)?;
        body.extend(chunk);
        bytes = rest.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, bytes));
        }
    }
}

fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[test]
fn requests_are_told_apart_and_a_cut_one_is_left_out() {
    let bytes =
        b"POST /?query_id=a&token=t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
        GET / HTTP/1.1\r\ncontent-length: 2\r\n\r\nxyPOST /?a=b HTTP/1.1\r\ncontent-length: 9\r\n\r\ncut";
    let found = requests(bytes);
    let bodies: Vec<&[u8]> = found.iter().map(|request| request.body.as_slice()).collect();
    assert_eq!(bodies, [b"abcde".as_slice(), b"xy"]);
    assert_eq!(found[0].parameters["token"], "t");
}
