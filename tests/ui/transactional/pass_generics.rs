//! Generic connections, `impl Trait`, const generics, traits, borrowed and opaque returns.
#![deny(warnings)]
use std::future::Future;

use diesel::pg::Pg;
use diesel::{Connection, QueryResult};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::OutboxBackend;
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted {
    text: String,
}

fn noted(text: &str) -> Noted {
    Noted { text: text.to_owned() }
}

#[transactional_event]
pub fn any_database<C: Connection<Backend: OutboxBackend>>(conn: &mut C) -> QueryResult<()> {
    conn.emit(&noted("a")).map(drop)
}

#[transactional_event]
pub async fn one_database<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
    conn.emit(&noted("a")).await.map(drop)
}

#[transactional_event]
pub fn anonymous(conn: &mut impl Connection<Backend: OutboxBackend>, events: impl IntoIterator<Item = String>) -> QueryResult<usize> {
    let events: Vec<Noted> = events.into_iter().map(|text| noted(&text)).collect();
    conn.emit_all(&events)
}

#[transactional_event(emit = |texts| texts.map(noted))]
pub async fn sized<'t, const N: usize>(conn: &mut AsyncPgConnection, texts: [&'t str; N]) -> QueryResult<[&'t str; N]> {
    Ok(texts)
}

#[transactional_event]
pub async fn opaque<'a>(conn: &mut AsyncPgConnection, text: &'a str) -> QueryResult<impl Iterator<Item = char> + use<'a>> {
    Ok(text.chars())
}

pub trait Repository {
    fn save(&self, conn: &mut AsyncPgConnection) -> impl Future<Output = QueryResult<&str>> + Send;
    fn rename(&mut self, conn: &mut diesel::SqliteConnection, name: String) -> QueryResult<&mut String>;
}

pub struct Service {
    name: String,
}

impl Repository for Service {
    #[transactional_event]
    async fn save(&self, conn: &mut AsyncPgConnection) -> QueryResult<&str> {
        conn.emit(&noted(&self.name)).await?;
        Ok(&self.name)
    }

    #[transactional_event]
    fn rename(&mut self, conn: &mut diesel::SqliteConnection, name: String) -> QueryResult<&mut String> {
        self.name = name;
        Ok(&mut self.name)
    }
}

fn main() {}
