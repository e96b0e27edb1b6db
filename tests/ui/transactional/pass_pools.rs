//! Connections from pools, fields and guards, without a warning.
#![deny(warnings)]
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::{QueryResult, SqliteConnection};
use diesel_async::pooled_connection::{bb8, deadpool};
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection};
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

pub struct Service {
    bb8: bb8::Pool<AsyncPgConnection>,
    deadpool: deadpool::Pool<AsyncMysqlConnection>,
    r2d2: Pool<ConnectionManager<SqliteConnection>>,
}

impl Service {
    #[transactional_event(from = &self.bb8)]
    pub async fn on_bb8(&self) -> QueryResult<()> {
        conn.emit(&Noted).await.map(drop)
    }

    #[transactional_event(from = &self.deadpool, conn = db, retries = 2)]
    pub async fn on_deadpool(&self, _name: String) -> QueryResult<()> {
        db.emit(&Noted).await.map(drop)
    }

    #[transactional_event(from = &self.r2d2, emit = |_| Noted)]
    pub fn on_r2d2(&self) -> QueryResult<&Self> {
        let _ = conn;
        Ok(self)
    }
}

pub struct Own(AsyncPgConnection);

impl Own {
    #[transactional_event(from = &mut self.0)]
    pub async fn on_a_field(&mut self) -> QueryResult<()> {
        conn.emit(&Noted).await.map(drop)
    }
}

#[transactional_event(from = pool)]
pub async fn on_a_clone(pool: deadpool::Pool<AsyncPgConnection>) -> QueryResult<()> {
    conn.emit(&Noted).await.map(drop)
}

fn main() {}
