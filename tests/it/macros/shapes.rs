//! `#[transactional_event]` on every shape of function, with names of the user's that the expansion uses as well.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::OutboxBackend;
use outbox::prelude::*;

const OUTBOX: &str = include_str!("../../../outbox-diesel/migrations/sqlite/0001_outbox.sql");

#[derive(EventLog)]
struct Noted {
    text: String,
}

fn noted(text: &str) -> Noted {
    Noted { text: text.to_owned() }
}

fn open() -> SqliteConnection {
    let mut conn = SqliteConnection::establish(":memory:").expect("a database");
    conn.batch_execute(OUTBOX).expect("the outbox");
    conn
}

fn texts(conn: &mut SqliteConnection) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let lines = diesel::sql_query("SELECT json_extract(payload, '$.text') AS text FROM outbox_event ORDER BY seq");
    lines.load::<Line>(conn).expect("the outbox").into_iter().map(|line| line.text).collect()
}

type Alias<T> = QueryResult<T>;

/// Its parameters and locals have every name that the expansion uses.
#[transactional_event]
#[allow(clippy::too_many_arguments)]
fn same_names(conn: &mut SqliteConnection, tx: u8, out: u8, error: u8, ok: u8, failed: u8) -> Alias<u8> {
    let guard = tx + out;
    conn.emit(&noted("names"))?;
    Ok(guard + error + ok + failed)
}

/// What the expansion calls, it calls by its full path.
mod shadowed {
    #![allow(non_snake_case, dead_code, non_camel_case_types)]
    use super::*;

    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) enum core {}
    pub(super) fn Ok() {}
    pub(super) fn Err() {}

    #[transactional_event(emit = |text| noted(text))]
    pub(super) fn runs(conn: &mut SqliteConnection) -> ::std::result::Result<String, diesel::result::Error> {
        conn.emit(&noted("shadowed"))?;
        ::std::result::Result::Ok("told".to_owned())
    }

    #[derive(outbox::EventLog)]
    pub(super) struct Event {
        #[event_log(key)]
        payload: ::std::option::Option<String>,
    }
}

struct Service {
    prefix: String,
}

trait Notes {
    fn note(&self, conn: &mut SqliteConnection, text: &str) -> QueryResult<usize>;
}

impl Service {
    #[transactional_event]
    fn borrowed<'s>(&'s self, conn: &mut SqliteConnection) -> QueryResult<&'s str> {
        conn.emit(&noted(&self.prefix))?;
        Ok(&self.prefix)
    }

    #[transactional_event(conn = db)]
    fn counted(&mut self, mut db: &mut SqliteConnection, (a, b): (&str, &str)) -> QueryResult<usize> {
        self.prefix.push('!');
        let all = [noted(a), noted(b)];
        db = Self::same(db);
        db.emit_all(&all)
    }

    fn same(conn: &mut SqliteConnection) -> &mut SqliteConnection {
        conn
    }

    #[transactional_event]
    fn consumed(self, conn: &mut SqliteConnection) -> QueryResult<String> {
        conn.emit(&noted("consumed"))?;
        Ok(self.prefix)
    }
}

impl Notes for Service {
    #[transactional_event]
    fn note(&self, conn: &mut SqliteConnection, text: &str) -> QueryResult<usize> {
        conn.emit(&noted(text)).map(|_| 1)
    }
}

#[transactional_event]
fn opaque<'t>(
    conn: &mut impl Connection<Backend = Sqlite>,
    texts: impl IntoIterator<Item = &'t str>,
) -> QueryResult<Box<impl Iterator<Item = usize>>> {
    let events: Vec<Noted> = texts.into_iter().map(noted).collect();
    let n = conn.emit_all(&events)?;
    Ok(Box::new(0..n))
}

#[transactional_event]
fn sized<C, const N: usize>(conn: &mut C, texts: [&str; N]) -> QueryResult<[usize; N]>
where
    C: Connection<Backend: OutboxBackend>,
{
    if N == 0 {
        return Err(diesel::result::Error::NotFound);
    }
    conn.emit_all(&texts.map(noted))?;
    Ok([N; N])
}

#[transactional_event(emit = told)]
fn tells(conn: &mut SqliteConnection) -> QueryResult<(String, bool)> {
    conn.emit(&noted("first"))?;
    Ok(("told".to_owned(), true))
}

fn told((text, really): &(String, bool)) -> Option<Noted> {
    really.then(|| noted(text))
}

#[test]
fn blocking_functions_of_every_shape_run_in_a_transaction() {
    let mut conn = open();
    let conn = &mut conn;
    assert_eq!(same_names(conn, 1, 2, 3, 4, 5), Ok(15));
    assert_eq!(shadowed::runs(conn).as_deref(), Ok("told"));
    let mut service = Service { prefix: "p".to_owned() };
    assert_eq!(service.borrowed(conn), Ok("p"));
    assert_eq!(service.counted(conn, ("a", "b")), Ok(2));
    assert_eq!(Notes::note(&service, conn, "trait"), Ok(1));
    assert_eq!(service.consumed(conn).as_deref(), Ok("p!"));
    assert_eq!(opaque(conn, ["x", "y"]).expect("commits").count(), 2);
    assert_eq!(sized(conn, ["z"]), Ok([1]));
    sized(conn, []).expect_err("returns early");
    tells(conn).expect("commits");
    let expected = ["names", "shadowed", "told", "p", "a", "b", "trait", "consumed", "x", "y", "z", "first", "told"];
    assert_eq!(texts(conn), expected);
}

trait AsyncNotes {
    async fn note(&self, conn: &mut AsyncPgConnection, text: &str) -> QueryResult<usize>;
}

impl AsyncNotes for Service {
    #[transactional_event]
    async fn note(&self, conn: &mut AsyncPgConnection, text: &str) -> QueryResult<usize> {
        conn.emit(&noted(text)).await.map(|_| 1)
    }
}

#[transactional_event(emit = |ok| ok.iter().map(|text| noted(text)).collect::<Vec<_>>())]
async fn async_generic<'t, C, I>(conn: &mut C, texts: I, last: &mut Vec<String>) -> QueryResult<Vec<&'t str>>
where
    C: AsyncConnection<Backend: OutboxBackend>,
    I: IntoIterator<Item = &'t str> + Send,
    I::IntoIter: Send,
{
    let mut all = Vec::new();
    for text in texts {
        conn.emit(&noted(text)).await?;
        last.push(text.to_owned());
        all.push(text);
    }
    Ok(all)
}

#[transactional_event]
async fn not_send(conn: &mut AsyncPgConnection) -> QueryResult<u8> {
    let local = std::rc::Rc::new(1);
    conn.emit(&noted("local")).await?;
    Ok(*local)
}

async fn in_a_closure(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let text = "closure".to_owned();
    outbox::transaction(conn, async |conn| {
        conn.emit(&noted(&text)).await?;
        let _ = async_generic(conn, ["a"], &mut Vec::new()).await?;
        Ok(())
    })
    .await
}

/// Compiled, never run: what can be spawned on a runtime of many threads.
#[allow(dead_code)]
async fn futures_are_send(mut conn: AsyncPgConnection) {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let _ = send(async_generic(&mut conn, ["a"], &mut Vec::new())).await;
    let _ = send(in_a_closure(&mut conn)).await;
    let _ = send(conn.emit(&noted("x"))).await;
    let all: Vec<&dyn EventLog> = Vec::new();
    let emitted = conn.emit_all(all);
    let _ = send(emitted).await;
    let _ = not_send(&mut conn).await;
    let _ = AsyncNotes::note(&Service { prefix: String::new() }, &mut conn, "x").await;
    let _ = tokio::spawn(async move { in_a_closure(&mut conn).await }).await;
}
