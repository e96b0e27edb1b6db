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
    let stack = Stack::up(&args.services())?;
    for (name, value) in stack.env() {
        println!("export {name}='{value}'");
    }
    eprintln!("up; ^C stops everything");
    interrupt::wait_for_end();
    Ok(())
}

impl Args {
    fn services(&self) -> Vec<Service> {
        let wanted = |service: &Service| match service {
            Service::Postgres => self.postgres,
            Service::MySql => self.mysql,
            Service::ClickHouse => self.clickhouse,
        };
        let named: Vec<Service> = Service::ALL.into_iter().filter(wanted).collect();
        if named.is_empty() { Service::ALL.to_vec() } else { named }
    }
}
