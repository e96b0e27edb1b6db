//! A service that stops between its writes and COMMIT, says so, and waits to be killed. With `--users N`, or
//! `--users FROM..TO`, it creates users and ends.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a helper of tests")]

use std::convert::Infallible;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection};
use outbox::prelude::*;
use outbox_tests::service::{Conn, Mode, email, user_created, users};

#[transactional_event]
async fn hang_postgres(conn: &mut AsyncPgConnection) -> Result<Infallible, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(1), users::email.eq(email(1))));
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    conn.emit(&user_created(1)).await?;
    hang()
}

#[transactional_event]
async fn hang_mysql(conn: &mut AsyncMysqlConnection) -> Result<Infallible, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(1), users::email.eq(email(1))));
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    conn.emit(&user_created(1)).await?;
    hang()
}

#[transactional_event]
fn hang_sqlite(conn: &mut SqliteConnection) -> Result<Infallible, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(1), users::email.eq(email(1))));
    diesel::RunQueryDsl::execute(insert, conn)?;
    conn.emit(&user_created(1))?;
    hang()
}

fn hang() -> ! {
    println!("written");
    loop {
        std::thread::park();
    }
}

#[tokio::main]
async fn main() -> Result<(), DieselError> {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let mode = if url.starts_with("sqlite://") { Mode::Blocking } else { Mode::Async };
    let mut conn = Conn::open(&url, mode).await;
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, users] = arguments.as_slice()
        && flag == "--users"
    {
        let (from, to) = users.split_once("..").unwrap_or(("0", users));
        for id in from.parse().expect("a number")..to.parse().expect("a number") {
            conn.create_user(id).await?;
        }
        return Ok(());
    }
    match conn {
        Conn::Postgres(mut conn) => hang_postgres(&mut conn).await.map(drop),
        Conn::MySql(mut conn) => hang_mysql(&mut conn).await.map(drop),
        Conn::Sqlite(mut conn) => hang_sqlite(&mut conn).map(drop),
        _ => Ok(()),
    }
}
