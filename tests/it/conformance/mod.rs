//! Every store and every sink of ours keeps its contract: the suites of `outbox_test::conformance`.

mod harness;
mod pooled;

mod memory {
    mod store {
        outbox_test::store_conformance!(crate::conformance::harness::Memory);
    }
    mod sink {
        outbox_test::sink_conformance!(crate::conformance::harness::MemoryDestination);
    }
}

mod postgres {
    outbox_test::store_conformance!(crate::conformance::harness::Postgres);
}

mod postgres_behind_pgbouncer {
    outbox_test::store_conformance!(crate::conformance::pooled::Pooled);
}

mod mysql {
    outbox_test::store_conformance!(crate::conformance::harness::MySql);
}

mod sqlite {
    outbox_test::store_conformance!(crate::conformance::harness::Sqlite);
}

mod clickhouse {
    outbox_test::sink_conformance!(crate::conformance::harness::ClickHouse);
}
