//! Every answer and every cut, one after another: `cargo xtask faults` says how to run it.
//!
//! A case is one named scenario, an entry in the tables under `cases`. It has tables in a database of its own on a real
//! ClickHouse, a real outbox with twenty committed events, and a real relay with the real sink. Between the sink and the
//! server stand a proxy that knows no protocol and a fake that speaks HTTP: the fake answers in the server's place, or cuts
//! what goes through it at every class of position, and then lets go. When everything is settled, the ids of the events are
//! compared with the table, with what a materialized view made of it, and with what is held as dead.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod answer;
mod cases;
mod front;
mod http;
mod position;
mod scene;
mod script;
mod server;
mod tally;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use tokio::task::{JoinSet, LocalSet};

use crate::cases::Case;
use crate::server::Server;
use crate::tally::Tally;

/// What went wrong.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Only name the cases.
    #[arg(long)]
    list: bool,
    /// Only this case; may come several times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// How many cases are played at once.
    #[arg(long, default_value_t = 6)]
    at_once: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut cases = cases::all();
    if let Some(unknown) = arguments.cases.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        eprintln!("faults: no case is called {unknown}: see --list");
        return ExitCode::FAILURE;
    }
    cases.retain(|case| arguments.cases.is_empty() || arguments.cases.contains(&case.name));
    if arguments.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let (tally, failed) = LocalSet::new().run_until(play_all(cases, arguments.at_once.max(1))).await;
    println!("{tally}");
    if tally.is_good() && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays them, so many at once, and says which failed.
async fn play_all(cases: Vec<Case>, at_once: usize) -> (Tally, usize) {
    let server = Arc::new(Server::start().await);
    let (mut tally, mut failed) = (Tally::default(), 0);
    let mut playing = JoinSet::new();
    let mut waiting = cases.into_iter();
    let started = Instant::now();
    loop {
        while playing.len() < at_once
            && let Some(case) = waiting.next()
        {
            let server = Arc::clone(&server);
            playing.spawn_local(async move { (scene::play(&case, &server).await, case.name) });
        }
        let Some(played) = playing.join_next().await else { break };
        match played {
            Ok((Ok(of_case), name)) => {
                eprintln!("{:>4} ms after the start: {name}", started.elapsed().as_millis());
                tally.add(&of_case);
            }
            Ok((Err((of_case, failure)), name)) => {
                failed += 1;
                tally.add(&Tally { cases: 1, ..of_case });
                eprintln!("FAILED {name}: {failure}");
            }
            Err(panicked) => {
                failed += 1;
                tally.cases += 1;
                eprintln!("FAILED: {panicked}");
            }
        }
    }
    eprintln!("{failed} cases failed; ClickHouse was started again {} times", server.restarts());
    (tally, failed)
}
