//! SQLite: several processes write into one file and are killed in the middle.

use std::time::{Duration, Instant as StdInstant};

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::Text;
use fastrand::Rng;
use outbox::prelude::*;
use outbox_test::databases::SqliteFile;
use outbox_test::process::Process;
use outbox_tests::service::user_created;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Failure;
use crate::place::{Source, open_sqlite};
use crate::transaction::{Nested, Transaction, millis};
use crate::verdict::Counts;

const WRITERS: u64 = 4;
/// How long one lives, in milliseconds.
const LIFE: std::ops::Range<u64> = 200..2_000;
/// There is one writer at a time: thinking in a transaction holds everybody up, so it is done this much more quickly.
const HASTE: u32 = 100;

/// Writers until `until`, killed again and again.
pub(crate) async fn chaos(file: SqliteFile, rng: &mut Rng, duration: Duration, until: Instant) -> (Source, Counts) {
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(kill_again_and_again(file.path().display().to_string(), rng.fork(), duration, until));
    }
    let kills: u64 = writers.join_all().await.into_iter().sum();
    (Source::Sqlite(file), Counts { database_crashes: kills, ..Counts::default() })
}

async fn kill_again_and_again(path: String, mut rng: Rng, duration: Duration, until: Instant) -> u64 {
    let mut kills = 0;
    while Instant::now() < until {
        let Ok(program) = std::env::current_exe() else { break };
        let (seed, seconds) = (rng.u64(..).to_string(), duration.as_secs().max(1).to_string());
        let mut command = Command::new(program);
        command.args(["write", "--path", &path, "--seed", &seed, "--seconds", &seconds]);
        let mut writer = Process::spawn(command);
        if timeout(millis(&mut rng, LIFE), writer.ended()).await.is_err() {
            writer.kill9().await;
            kills += 1;
        }
    }
    kills
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the writer thought better of it")]
    Wanted,
    #[error(transparent)]
    Database(#[from] DieselError),
}

/// The process that is killed: it writes as long as it may.
pub(crate) fn write(path: &str, seed: u64, duration: Duration) -> Result<(), Failure> {
    let mut rng = Rng::with_seed(seed);
    let mut conn = open_sqlite(path)?;
    let started = StdInstant::now();
    while started.elapsed() < duration {
        let transaction = Transaction::random(&mut rng);
        match business(&mut conn, &transaction) {
            Ok(()) | Err(Refused::Wanted) => {}
            // Another writer was quicker for ten seconds, on a busy machine: the next transaction.
            Err(Refused::Database(DieselError::DatabaseError(_, info))) if info.message().contains("locked") => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(transaction.pause);
    }
    Ok(())
}

#[transactional_event]
fn business(conn: &mut SqliteConnection, transaction: &Transaction) -> Result<(), Refused> {
    emit(conn, transaction.events)?;
    if let Some(savepoint) = transaction.nested {
        match nested(conn, savepoint) {
            Ok(()) | Err(Refused::Wanted) => {}
            Err(error) => return Err(error),
        }
        emit(conn, 1)?;
    }
    std::thread::sleep(transaction.think / HASTE);
    if transaction.commits { Ok(()) } else { Err(Refused::Wanted) }
}

#[transactional_event]
fn nested(conn: &mut SqliteConnection, savepoint: Nested) -> Result<(), Refused> {
    emit(conn, savepoint.events)?;
    if savepoint.commits { Ok(()) } else { Err(Refused::Wanted) }
}

/// Each event with its id in the table `truth`.
fn emit(conn: &mut SqliteConnection, events: usize) -> QueryResult<()> {
    for no in 0..events {
        let id = conn.emit(&user_created(no as i64))?;
        sql_query("INSERT INTO truth (event_id) VALUES (?)").bind::<Text, _>(id.to_string()).execute(conn)?;
    }
    Ok(())
}
