//! The `outbox` command: the relay as a process of its own, and what an operator needs beside it.
//!
//! Every setting comes from the environment or from a `.env` file; nothing secret is ever an argument. Exit codes: 0 done,
//! 1 it did not work, 2 the command or a setting is wrong.

mod database;
mod environment;
mod held;
mod logging;
mod migrate;
mod rebase;
mod replay;
mod routes;
mod run;
mod status;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outbox_core::{VarError, Vars};

/// Delivers the events of a transactional outbox. Settings come from the environment and from .env, see .env.example.
#[derive(Debug, Parser)]
#[command(name = "outbox", version)]
struct Arguments {
    /// Read settings from this file instead of .env. The environment wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the relay until it is told to stop (SIGTERM or ^C).
    Run {
        /// Deliver what is there and exit: for cron. Exits with 1 when something could not be delivered.
        #[arg(long)]
        once: bool,
    },
    /// Show what waits in the outbox.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List or remove routes.
    #[command(subcommand)]
    Routes(routes::Verb),
    /// Look at what was put aside, and decide what becomes of it.
    #[command(subcommand)]
    Held(held::Verb),
    /// Deliver events once more that are still kept (OUTBOX_KEEP_DELIVERED): only those that are missing, unless told otherwise.
    Replay(replay::Arguments),
    /// Recover an outbox that was restored into another PostgreSQL cluster. Stop relays and producers first.
    Rebase {
        /// The cluster was made by pg_upgrade, which keeps transaction ids: only note its new identity.
        #[arg(long)]
        upgraded: bool,
    },
    /// Install or upgrade the outbox tables.
    Migrate {
        /// Print the SQL instead, for migrations of your own.
        #[arg(long)]
        print: bool,
        /// With --print: for which database. Default: the one of DATABASE_URL.
        #[arg(long, requires = "print")]
        database: Option<database::Kind>,
    },
}

/// Why the command ends with something other than 0.
#[derive(Debug)]
enum Failure {
    /// A setting is wrong: exit code 2.
    Setting(VarError),
    /// It did not work: exit code 1.
    Failed(Box<dyn Error + Send + Sync>),
}

impl From<VarError> for Failure {
    fn from(error: VarError) -> Self {
        Self::Setting(error)
    }
}

impl From<crate::RelayError> for Failure {
    fn from(error: crate::RelayError) -> Self {
        match error {
            crate::RelayError::Setting(error) => Self::Setting(error),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<outbox_core::StoreError> for Failure {
    fn from(error: outbox_core::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(error) => write!(f, "{error}"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Runs the command with the process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    match run_command(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing can be done when even this cannot be written.
            let _ = writeln!(std::io::stderr(), "outbox: {failure}");
            ExitCode::from(match failure {
                Failure::Setting(_) => 2,
                Failure::Failed(_) => 1,
            })
        }
    }
}

fn run_command(arguments: Arguments) -> Result<(), Failure> {
    // Before the runtime: reading a `.env` file changes the environment, which is only sound while there is one thread.
    let vars = environment::load(arguments.env_file.as_deref())?;
    logging::start(&vars)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(perform(arguments.command, &vars))
}

async fn perform(task: Task, vars: &Vars) -> Result<(), Failure> {
    match task {
        Task::Run { once } => run::run(vars, once).await,
        Task::Status { json } => status::status(vars, json).await,
        Task::Routes(verb) => routes::perform(vars, verb).await,
        Task::Held(verb) => held::perform(vars, verb).await,
        Task::Replay(arguments) => replay::replay(vars, &arguments).await,
        Task::Rebase { upgraded } => rebase::rebase(vars, upgraded).await,
        Task::Migrate { print: true, database } => migrate::print(vars, database),
        Task::Migrate { print: false, .. } => migrate::migrate(vars).await,
    }
}
