//! `cargo xtask up`: servers for a person's own experiments, and for tests from an editor.

use crate::error::Result;
use crate::interrupt;
use crate::stack::{Service, Stack};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    postgres: bool,
    #[arg(long)]
    mysql: bool,
    #[arg(long)]
    clickhouse: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let named = args.services();
    let stack = if named.is_empty() { Stack::for_tests()? } else { Stack::up(&named)? };
    for (name, value) in stack.env() {
        println!("export {name}='{value}'");
    }
    eprintln!("up; ^C stops everything");
    interrupt::wait_for_end();
    Ok(())
}

impl Args {
    /// Those that were named.
    fn services(&self) -> Vec<Service> {
        let wanted = |service: &Service| match service {
            Service::Postgres => self.postgres,
            Service::MySql => self.mysql,
            Service::ClickHouse => self.clickhouse,
        };
        Service::ALL.into_iter().filter(wanted).collect()
    }
}
