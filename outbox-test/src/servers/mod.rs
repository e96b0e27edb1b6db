//! Servers of a test's own, to be killed and started again.
//!
//! They keep their data and their port over a crash, and end with the test, however it ends. Give such a test a name with
//! `crash` or `kill` in it: those run one at a time under nextest, because a crash test on a loaded machine tells little.

mod clickhouse;
mod mariadb;
mod pgbouncer;
mod postgres;

pub use clickhouse::PrivateClickHouse;
pub use mariadb::PrivateMariaDb;
pub use pgbouncer::PrivatePgBouncer;
pub use postgres::PrivatePostgres;
