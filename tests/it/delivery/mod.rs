//! From a committed transaction into ClickHouse.

mod clickhouse_down;
mod crash;
mod postgres;
mod relays;
mod road;
mod store;
