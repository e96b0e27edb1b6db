//! The fake in front of the real server: it speaks HTTP, passes on what the script leaves alone, and does to the rest what
//! the script says.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outbox_test::databases::ClickHouseDatabase;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::http::{Message, read_answer, read_head, read_request_body};
use crate::position::How;
use crate::script::{Act, POISON, ROW, Script, Step, is_insert};

/// What the connections share.
struct Shared {
    database: Arc<ClickHouseDatabase>,
    script: Mutex<Script>,
    /// What was sent under each token.
    bodies: Mutex<HashMap<String, Vec<u8>>>,
    /// Tokens that were sent with other bytes than before.
    differing: Mutex<Vec<String>>,
}

/// A running front. Dropping it closes every connection.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn start(database: Arc<ClickHouseDatabase>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            database,
            script: Mutex::default(),
            bodies: Mutex::default(),
            differing: Mutex::default(),
        });
        let of_connections = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let _ = client.set_nodelay(true);
                // A peer that hangs up is what this is about.
                connections.spawn(serve(client, Arc::clone(&of_connections)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, shared, accepting })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn arm(&self, steps: Vec<Step>) {
        *locked(&self.shared.script) = Script(steps);
    }

    /// What the script still waits for; None when it is through.
    pub(crate) fn waits_for(&self) -> Option<String> {
        let script = locked(&self.shared.script);
        (!script.is_through()).then(|| format!("{:?}", script.0))
    }

    /// Tokens under which not always the same bytes were sent.
    pub(crate) fn differing(&self) -> Vec<String> {
        locked(&self.shared.differing).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    while let Some(head) = read_head(&mut client).await? {
        let early = locked(&shared.script).early(&head);
        if let Some(answer) = early {
            client.write_all(&answer).await?;
            return client.shutdown().await;
        }
        let body = read_request_body(&mut client, &head).await?;
        let request = Message { head, body };
        remember(&shared, &request);
        let act = locked(&shared.script).next(&request);
        let Some(act) = act else {
            let answer = forward(&shared, &request).await?;
            client.write_all(&answer.bytes()).await?;
            continue;
        };
        if !perform(&mut client, &shared, &request, act).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the connection goes on.
async fn perform(client: &mut BufReader<TcpStream>, shared: &Shared, request: &Message, act: Act) -> io::Result<bool> {
    match act {
        Act::Answer(answer) | Act::AnswerEarly(answer) => {
            client.write_all(&answer).await?;
            client.shutdown().await?;
        }
        Act::AnswerRow(text) => {
            let answer = crate::answer::exception("500 Internal Server Error", &text.replace("{row}", &row(request)));
            client.write_all(&answer).await?;
            client.shutdown().await?;
        }
        Act::AnswerAfter(answer) => {
            forward(shared, request).await?;
            client.write_all(&answer).await?;
            client.shutdown().await?;
        }
        Act::CutRequest(cut, how) => {
            let mut server = upstream(shared).await?;
            server.write_all(&request.bytes()[..cut.offset(request)]).await?;
            server.flush().await?;
            close(client, how);
            return Ok(false);
        }
        Act::Shorten(keeps_lines) => {
            let answer = forward(shared, &request.shortened(keeps_lines)).await?;
            client.write_all(&answer.bytes()).await?;
            return Ok(true);
        }
        Act::CutAnswer(cut, how) => {
            let answer = forward(shared, request).await?;
            client.write_all(&answer.bytes()[..cut.offset(&answer)]).await?;
            client.flush().await?;
            close(client, how);
            return Ok(false);
        }
        Act::Silence(seen) => {
            if seen {
                forward(shared, request).await?;
            }
            // Until the client has had enough.
            let _ = read_head(client).await;
        }
        Act::Drip(pause) => {
            for byte in forward(shared, request).await?.bytes() {
                client.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            return Ok(true);
        }
        Act::Alter(sql) => {
            shared.database.try_query(sql).await.map_err(io::Error::other)?;
            let answer = forward(shared, request).await?;
            client.write_all(&answer.bytes()).await?;
            return Ok(true);
        }
        Act::LoseThenAlter(sql) => {
            forward(shared, request).await?;
            shared.database.try_query(sql).await.map_err(io::Error::other)?;
        }
    }
    Ok(false)
}

/// One token is one body, however often it is sent.
fn remember(shared: &Shared, request: &Message) {
    if !is_insert(&request.head) {
        return;
    }
    let head = String::from_utf8_lossy(&request.head);
    let Some((_, token)) = head.split_once("insert_deduplication_token=") else { return };
    let token: String = token.chars().take_while(|char| char.is_ascii_hexdigit() || *char == '-').collect();
    let mut bodies = locked(&shared.bodies);
    if bodies.get(&token).is_some_and(|before| *before != request.body) {
        locked(&shared.differing).push(token);
    } else {
        bodies.insert(token, request.body.clone());
    }
}

/// The number of the first bad row in the body, from 1.
fn row(request: &Message) -> String {
    let body = String::from_utf8_lossy(&request.body);
    let until = body.find(POISON).unwrap_or(body.len());
    body[..until].matches(ROW).count().to_string()
}

async fn upstream(shared: &Shared) -> io::Result<TcpStream> {
    let server = TcpStream::connect(shared.database.address()).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

async fn forward(shared: &Shared, request: &Message) -> io::Result<Message> {
    let mut server = BufReader::new(upstream(shared).await?);
    server.write_all(&request.bytes()).await?;
    read_answer(&mut server).await
}

fn close(client: &mut BufReader<TcpStream>, how: How) {
    if how == How::Rst {
        // What cannot be reset is closed in order: the case is another one then, and as good.
        let _ = client.get_ref().set_zero_linger();
    }
}
