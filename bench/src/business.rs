//! The service whose events these are: an order is placed, and an account is charged.

use outbox::EventLog;

use crate::data::PAYLOAD_BYTES;

diesel::table! {
    bench_order (id) {
        id -> BigInt,
        account -> BigInt,
        note -> Text,
    }
}

diesel::table! {
    bench_account (id) {
        id -> BigInt,
        charged -> BigInt,
    }
}

/// How many accounts there are: enough that two transactions seldom want the same.
pub(crate) const ACCOUNTS: i64 = 10_000;

/// An event with 200 bytes of payload, more or less.
#[derive(Clone, Debug, EventLog)]
pub(crate) struct OrderPlaced {
    order: i64,
    account: i64,
    note: String,
}

impl OrderPlaced {
    pub(crate) fn new(order: i64, account: i64) -> Self {
        Self { order, account, note: "n".repeat(PAYLOAD_BYTES - 40) }
    }

    /// So many of one order.
    pub(crate) fn several(count: usize, order: i64) -> Vec<Self> {
        vec![Self::new(order, account(order)); count]
    }
}

/// Whose order it is.
pub(crate) fn account(order: i64) -> i64 {
    order.wrapping_mul(7_919).rem_euclid(ACCOUNTS)
}

/// What a transaction does beside its business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// A plain transaction of Diesel's.
    Plain,
    /// The attribute, and no event.
    Attribute,
    /// The attribute, and so many calls of `emit`.
    Emit(usize),
    /// The attribute, and one call of `emit_all` with so many events.
    EmitAll(usize),
}

impl Variant {
    pub(crate) const ALL: [Self; 6] =
        [Self::Plain, Self::Attribute, Self::Emit(1), Self::EmitAll(10), Self::Emit(10), Self::EmitAll(100)];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Plain => "plain Diesel".to_owned(),
            Self::Attribute => "attribute, no event".to_owned(),
            Self::Emit(1) => "1 event".to_owned(),
            Self::Emit(count) => format!("{count} events by emit"),
            Self::EmitAll(count) => format!("{count} events by emit_all"),
        }
    }

    pub(crate) fn events(self) -> usize {
        match self {
            Self::Plain | Self::Attribute => 0,
            Self::Emit(count) | Self::EmitAll(count) => count,
        }
    }
}

/// The transactions over an async connection. The text is the same for each database, the types are not.
macro_rules! transactions {
    ($module:ident, $connection:ty) => {
        pub(crate) mod $module {
            use diesel::prelude::*;
            use diesel_async::{AsyncConnection, RunQueryDsl};
            use outbox::prelude::*;

            use super::{OrderPlaced, Variant, account, bench_account, bench_order};

            pub(crate) type Connection = $connection;

            async fn business(conn: &mut Connection, order: i64) -> QueryResult<()> {
                use bench_order::dsl;
                let row = (dsl::id.eq(order), dsl::account.eq(account(order)), dsl::note.eq("an order"));
                let insert = diesel::insert_into(dsl::bench_order).values(row);
                RunQueryDsl::execute(insert, conn).await?;
                let charged = bench_account::table.find(account(order));
                let charged = diesel::update(charged).set(bench_account::charged.eq(bench_account::charged + 1));
                RunQueryDsl::execute(charged, conn).await?;
                Ok(())
            }

            #[transactional_event]
            async fn attribute(conn: &mut Connection, order: i64) -> QueryResult<()> {
                business(conn, order).await
            }

            #[transactional_event]
            async fn emit(conn: &mut Connection, order: i64, events: &[OrderPlaced]) -> QueryResult<()> {
                business(conn, order).await?;
                for event in events {
                    conn.emit(event).await?;
                }
                Ok(())
            }

            #[transactional_event]
            async fn emit_all(conn: &mut Connection, order: i64, events: &[OrderPlaced]) -> QueryResult<()> {
                business(conn, order).await?;
                conn.emit_all(events).await.map(drop)
            }

            /// One transaction.
            pub(crate) async fn run(conn: &mut Connection, variant: Variant, order: i64) -> QueryResult<()> {
                let events = OrderPlaced::several(variant.events(), order);
                match variant {
                    Variant::Plain => conn.transaction(async |conn| business(conn, order).await).await,
                    Variant::Attribute => attribute(conn, order).await,
                    Variant::Emit(_) => emit(conn, order, &events).await,
                    Variant::EmitAll(_) => emit_all(conn, order, &events).await,
                }
            }
        }
    };
}

transactions!(postgres, diesel_async::AsyncPgConnection);
transactions!(mysql, diesel_async::AsyncMysqlConnection);

/// The transactions over a blocking connection to SQLite.
pub(crate) mod sqlite {
    use diesel::prelude::*;
    use outbox::prelude::*;

    use super::{OrderPlaced, Variant, account, bench_account, bench_order};

    fn business(conn: &mut SqliteConnection, order: i64) -> QueryResult<()> {
        use bench_order::dsl;
        let row = (dsl::id.eq(order), dsl::account.eq(account(order)), dsl::note.eq("an order"));
        diesel::insert_into(dsl::bench_order).values(row).execute(conn)?;
        let charged = bench_account::table.find(account(order));
        diesel::update(charged).set(bench_account::charged.eq(bench_account::charged + 1)).execute(conn)?;
        Ok(())
    }

    #[transactional_event]
    fn attribute(conn: &mut SqliteConnection, order: i64) -> QueryResult<()> {
        business(conn, order)
    }

    #[transactional_event]
    fn emit(conn: &mut SqliteConnection, order: i64, events: &[OrderPlaced]) -> QueryResult<()> {
        business(conn, order)?;
        for event in events {
            conn.emit(event)?;
        }
        Ok(())
    }

    #[transactional_event]
    fn emit_all(conn: &mut SqliteConnection, order: i64, events: &[OrderPlaced]) -> QueryResult<()> {
        business(conn, order)?;
        conn.emit_all(events).map(drop)
    }

    /// One transaction.
    pub(crate) fn run(conn: &mut SqliteConnection, variant: Variant, order: i64) -> QueryResult<()> {
        let events = OrderPlaced::several(variant.events(), order);
        match variant {
            Variant::Plain => conn.immediate_transaction(|conn| business(conn, order)),
            Variant::Attribute => attribute(conn, order),
            Variant::Emit(_) => emit(conn, order, &events),
            Variant::EmitAll(_) => emit_all(conn, order, &events),
        }
    }
}
