//! One database per test: made when the test begins, dropped when it ends.

mod clickhouse;
mod mysql;
mod postgres;
mod sqlite;

pub use clickhouse::ClickHouseDatabase;
pub use mysql::MySqlDatabase;
pub use postgres::PostgresDatabase;
pub use sqlite::SqliteFile;

/// A name that no other test has, and that tells a test's database from a person's.
fn fresh_name() -> String {
    format!("outbox_test_{}", uuid::Uuid::now_v7().simple())
}
