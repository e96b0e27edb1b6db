//! What can be run again: every kind of error type, of parameters and of return types.
#![deny(warnings)]
use std::error::Error;
use std::sync::Arc;

use diesel::{QueryResult, SqliteConnection};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::prelude::*;
use outbox::{OutboxBackend, TransientError};

#[derive(Debug, thiserror::Error)]
pub enum Thiserror {
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// As `anyhow::Error`.
pub struct Opaque(Box<dyn Error + Send + Sync>);
impl<E: Error + Send + Sync + 'static> From<E> for Opaque {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}
impl AsRef<dyn Error + Send + Sync> for Opaque {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

pub struct Own;
impl From<diesel::result::Error> for Own {
    fn from(_: diesel::result::Error) -> Self {
        Self
    }
}
impl TransientError for Own {
    fn is_transient(&self) -> bool {
        true
    }
}

#[transactional_event(retries = 3)]
pub async fn thiserror_(conn: &mut AsyncPgConnection, names: Vec<String>) -> Result<usize, Thiserror> {
    Ok(names.len())
}

#[transactional_event(retries = 3)]
pub async fn opaque(conn: &mut AsyncPgConnection, (a, mut b): (u8, Arc<str>)) -> Result<Arc<str>, Opaque> {
    if a > 0 {
        b = "other".into();
    }
    Ok(b)
}

#[transactional_event(retries = 3)]
pub fn boxed(conn: &mut SqliteConnection, text: &str) -> Result<String, Box<dyn Error>> {
    Ok(text.to_owned())
}

#[transactional_event(retries = 3)]
pub fn boxed_send(conn: &mut SqliteConnection) -> Result<Box<impl Iterator<Item = u8>>, Box<dyn Error + Send + Sync>> {
    Ok(Box::new(0..3))
}

#[transactional_event(retries = 3)]
pub fn own(conn: &mut SqliteConnection) -> Result<(), Own> {
    Ok(())
}

#[transactional_event(retries = 3)]
pub async fn generic<C, T, E>(conn: &mut C, value: T, _shared: &Vec<T>) -> Result<T, E>
where
    C: AsyncConnection<Backend: OutboxBackend>,
    T: Clone + Send,
    E: From<diesel::result::Error> + Error + 'static,
{
    Ok(value)
}

pub struct Service;

impl Service {
    #[transactional_event(retries = 3)]
    pub fn method<'s>(&'s self, conn: &mut SqliteConnection, text: impl Into<String> + Clone) -> QueryResult<(&'s Self, String)> {
        Ok((self, text.into()))
    }
}

fn main() {}
