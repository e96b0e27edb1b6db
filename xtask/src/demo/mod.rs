//! `cargo xtask run`: the outbox at work, on real components, with a relay that is killed half way.
//!
//! Business transactions by the example `users`, the relay as its own process, ClickHouse for real. Every wait here is
//! for another process' data, which sends no signal: it is looked at in short steps.

mod client;
mod place;
mod relay;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use place::Place;
use relay::Relay;

use crate::error::{Error, Result};
use crate::interrupt::{self, foreground};
use crate::{cargo, local};

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);
/// Between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Without any movement for so long, something is broken. A killed relay's lease is over long before.
const STUCK_AFTER: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many users to create
    #[arg(long, default_value_t = 10_000, conflicts_with = "input")]
    users: u64,
    /// Where the service keeps its rows, and the outbox
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// Create the users of a CSV file instead: email, first_name, last_name
    #[arg(long, value_name = "FILE.csv")]
    input: Option<PathBuf>,
    /// Keep the files, and the servers until ^C, to look around
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
    /// MySQL or MariaDB
    #[value(name = "mysql")]
    MySql,
}

/// Runs the demo. Its verdict is that of `users report`, whose code becomes ours.
pub(crate) fn run(args: &Args) -> Result<()> {
    let users = Users::of(args)?;
    let place = Place::prepare(args.database, args.keep)?;
    eprintln!("building the relay and the example");
    cargo::build(&["--package", "outbox-relay", "--bin", "outbox"])?;
    cargo::build(&["--package", "outbox", "--example", "users"])?;
    foreground(&mut place.outbox(&["migrate"]))?;

    let started = Instant::now();
    let mut relay = Relay::start(&place)?;
    eprintln!("the relay is process {}; its log: {}", relay.id(), relay.log().display());
    let mut create = place.users("create");
    let create = in_our_lifetime(create.args(&users.args)).spawn().map_err(Error::io("users create"))?;
    kill_half_way(&place, &mut relay, Creating(create), users.expected)?;
    drain(&place, &mut relay)?;
    let seconds = started.elapsed().as_secs_f64();
    relay.stop()?;

    let verdict = foreground(place.users("report").args(["--seconds", &format!("{seconds:.1}")]));
    if args.keep {
        eprintln!("kept: {}", place.describe());
        interrupt::wait_for_end();
    }
    verdict
}

/// What `users create` is told, and about how many users that makes.
struct Users {
    args: Vec<String>,
    expected: u64,
}

impl Users {
    fn of(args: &Args) -> Result<Self> {
        let Some(file) = &args.input else {
            return Ok(Self { args: vec!["--users".into(), args.users.to_string()], expected: args.users });
        };
        let told = |e| Error::io(file.display().to_string())(e);
        let file = file.canonicalize().map_err(told)?;
        let lines = fs::read(&file).map_err(told)?.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Less the heading. Bad lines make it fewer; only the moment of the kill depends on it.
        Ok(Self { args: vec!["--input".into(), file.display().to_string()], expected: lines.saturating_sub(1) })
    }
}

/// Kills the relay with SIGKILL when a quarter is delivered, or when all users are made and some are still pending, and
/// starts it again. Returns when all users are made.
fn kill_half_way(place: &Place, relay: &mut Relay, mut create: Creating, expected: u64) -> Result<()> {
    let mut killed = false;
    loop {
        interrupt::check()?;
        let created = create.0.try_wait().map_err(Error::io("users create"))?;
        if !killed {
            let delivered = place.delivered();
            let due = created.is_some() || delivered >= (expected / 4).max(1);
            if due && pending(place)? > 0 {
                relay.kill();
                eprintln!("\nkilled the relay with SIGKILL after {delivered} deliveries; starting it again");
                *relay = Relay::start(place)?;
                killed = true;
            }
        }
        match created {
            Some(status) if !status.success() => {
                return Err(Error::Command { command: "users create".into(), status });
            }
            Some(_) => break,
            None => {
                relay.check()?;
                thread::sleep(POLL);
            }
        }
    }
    if !killed {
        eprintln!("everything was delivered before the relay could be killed; more --users make it busier");
    }
    Ok(())
}

/// Waits until nothing is pending.
fn drain(place: &Place, relay: &mut Relay) -> Result<()> {
    let mut last = None;
    let mut moved = Instant::now();
    let mut reported: Option<Instant> = None;
    loop {
        interrupt::check()?;
        relay.check()?;
        let now = (pending(place)?, place.delivered());
        let (pending, delivered) = now;
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) || pending == 0 {
            eprintln!("delivered {delivered}, pending {pending}");
            reported = Some(Instant::now());
        }
        if pending == 0 {
            return Ok(());
        }
        if last != Some(now) {
            (last, moved) = (Some(now), Instant::now());
        } else if moved.elapsed() > STUCK_AFTER {
            return Err(Error::Stuck { seconds: STUCK_AFTER.as_secs(), pending, log: local::tail(relay.log()) });
        }
        thread::sleep(POLL);
    }
}

/// Committed and not settled, over all routes, as `outbox status` has it.
fn pending(place: &Place) -> Result<u64> {
    let output = place.outbox(&["status", "--json"]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(Error::io("outbox status"))?;
    if !output.status.success() {
        return Err(Error::Command { command: "outbox status --json".into(), status: output.status });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    pending_of(&text).ok_or_else(|| Error::Status(text.into_owned()))
}

fn pending_of(status: &str) -> Option<u64> {
    let status: serde_json::Value = serde_json::from_str(status).ok()?;
    let routes = status.get("routes")?.as_array().filter(|routes| !routes.is_empty())?;
    let events = |route: &serde_json::Value, name| route.get(name)?.as_u64();
    routes.iter().map(|route| Some(events(route, "unsealed_events")? + events(route, "sealed_events")?)).sum()
}

/// `users create`, which does not outlive us.
struct Creating(Child);

impl Drop for Creating {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes the kernel kill the command when we die, however we die. Only for the main thread: it is the thread's death that
/// counts.
fn in_our_lifetime(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_is_the_sum_over_the_routes() {
        let status = r#"{"routes":[{"route":"main","unsealed_events":3,"sealed_events":4},
                                   {"route":"audit","unsealed_events":0,"sealed_events":5}],"stored_events":99}"#;
        assert_eq!(pending_of(status), Some(12));
    }

    #[test]
    fn a_status_without_routes_is_not_taken_for_an_empty_outbox() {
        assert_eq!(pending_of(r#"{"routes":[]}"#), None);
        assert_eq!(pending_of(r#"{"routes":[{"route":"main"}]}"#), None);
        assert_eq!(pending_of("error"), None);
    }
}
