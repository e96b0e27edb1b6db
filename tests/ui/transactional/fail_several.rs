//! Several faults of one function show at once.
use diesel::QueryResult;
use outbox::prelude::*;

#[transactional_event(isolation = "serial", retries = 500, nested = "joint", emti = |_| ())]
const fn everything(mut self, db: &mut Vec<u8>) {
    let _: QueryResult<()> = Ok(());
}

fn main() {}
