//! From a committed transaction into ClickHouse.

mod clickhouse_down;
mod crash;
mod memory;
mod relays;
mod resent;
mod road;
mod tables;
