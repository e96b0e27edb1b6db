//! Everything at once, from a seed: `cargo xtask chaos` says how to run it.
//!
//! Producers write events into an outbox and, in the same transactions, the events' ids into a table `truth`. Meanwhile
//! relays are killed and suspended, the database and ClickHouse crash, and the network between them fails. Then the faults
//! stop, everything drains, and the truth is compared with ClickHouse, id by id. What was sent is compared, too: one token
//! always means the same events in the same order.
//!
//! The seed fixes every actor's choices. It does not fix the timing, so a run with the same seed is alike, not the same.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod calm;
mod drain;
mod faults;
mod mysql;
mod place;
mod postgres;
mod producer;
mod relays;
mod sabotage;
mod sends;
mod sqlite;
mod transaction;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::place::{Place, Source};
use crate::relays::Fleet;
use crate::sabotage::Guard;
use crate::verdict::Verdict;

/// What went wrong with the harness itself.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    #[command(subcommand)]
    helper: Option<Helper>,
    /// Where the events are written.
    #[arg(long, value_enum, default_value = "postgres")]
    database: Database,
    /// How long faults happen.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Default: a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the relays' logs of a run in which all went well, too.
    #[arg(long)]
    keep: bool,
    /// Take a guard out of the SQL (PostgreSQL), to see that the run notices.
    #[arg(long, value_enum, hide = true)]
    without: Option<Guard>,
}

#[derive(Debug, Subcommand)]
enum Helper {
    /// The process that writes into an SQLite file until it is killed.
    #[command(hide = true)]
    Write {
        #[arg(long)]
        path: String,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Postgres,
    #[value(name = "mysql")]
    MySql,
    Sqlite,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Helper::Write { path, seed, seconds }) = arguments.helper {
        return match sqlite::write(&path, seed, Duration::from_secs(seconds)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("seed {seed}");
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return failed(&"no signals".into());
    };
    let ended = tokio::select! {
        ended = chaos(&arguments, seed) => ended,
        // Dropping the run kills what it has started.
        _ = terminate.recv() => Err("interrupted".into()),
        _ = interrupt.recv() => Err("interrupted".into()),
    };
    match ended {
        Ok(verdict) => {
            println!("{verdict}");
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &Failure) -> ExitCode {
    eprintln!("chaos: {error}");
    ExitCode::FAILURE
}

/// The faults, the drain, and the comparison.
async fn chaos(arguments: &Arguments, seed: u64) -> Result<Verdict, Failure> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let duration = Duration::from_secs(arguments.seconds);
    let place = Place::prepare(arguments.database, arguments.without).await?;
    let fleet = Fleet::new(&place, seed)?;
    let Place { source, url, clickhouse, database, proxy, .. } = place;
    eprintln!("{} s of faults; the relays' logs: {}", arguments.seconds, fleet.logs().display());

    let until = Instant::now() + duration;
    let relays = fleet.start(&mut rng, until);
    let cuts = faults::cut_the_network(&proxy, rng.fork(), until);
    let clickhouse_crashes = faults::crash_clickhouse(clickhouse, &database, rng.fork(), until);
    let (ended, cuts, (clickhouse, clickhouse_crashes)) = tokio::join!(
        async {
            match source {
                Source::Postgres(server) => Ok(postgres::chaos(server, &url, &mut rng, duration, until).await),
                Source::MySql(server, database) => mysql::chaos(server, database, &mut rng, duration, until).await,
                Source::Sqlite(file) => Ok(sqlite::chaos(file, &mut rng, duration, until).await),
            }
        },
        cuts,
        clickhouse_crashes,
    );
    let (source, mut counts) = ended?;
    counts.cuts = cuts;
    counts.clickhouse_crashes = clickhouse_crashes;
    eprintln!("the faults are over: draining");
    if let Source::Postgres(_) = source {
        postgres::end_prepared(&url).await?;
    }
    let drained = drain::drain(&source, &url, &database).await;
    let relays = relays.stop().await?;
    counts.relay_kills = relays.kills;
    counts.pruned += relays.pruned;

    let committed = source.truth(&url).await?;
    let delivered = place::delivered(&database).await?;
    let verdict = Verdict::new(arguments.database, &committed, &delivered, relays.sends, counts);
    verdict.explain(&committed, &delivered);
    if !verdict.is_good() || drained.is_err() || arguments.keep {
        eprintln!("kept: {}", fleet.logs().display());
    } else {
        fleet.forget_logs();
    }
    drop((clickhouse, source));
    // Both are worth knowing: what is stuck, and what is wrong with the rest.
    match drained {
        Ok(()) => Ok(verdict),
        Err(error) => {
            println!("{verdict}");
            Err(error)
        }
    }
}
