//! Makes tables fit, as far as it was asked to: creates, adds columns, turns windows on. It changes no type and drops nothing.

use std::sync::Arc;

use outbox_core::{SchemaRecord, SinkError};

use crate::check::check;
use crate::ddl::Ddl;
use crate::report::{Drift, Finding, Severity, TableReport};
use crate::server::Server;
use crate::{EnsureTable, TableName};

impl Server {
    pub(crate) fn ddl(&self) -> Ddl {
        Ddl { cluster: self.settings.cluster.clone() }
    }

    /// What is wrong with the table.
    pub(crate) async fn report(
        &self,
        operation: &'static str,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<TableReport, SinkError> {
        let findings = match self.definition(operation, table).await? {
            Some(definition) => check(&definition, schemas, &self.ddl()),
            None => vec![self.missing(table, schemas)],
        };
        Ok(TableReport { table: table.clone(), findings })
    }

    /// The finding that there is no such table, with the statement that makes it.
    pub(crate) fn missing(&self, table: &TableName, schemas: &[Arc<SchemaRecord>]) -> Finding {
        let ddl = self.ddl();
        let created = match schemas {
            [] => Ok(ddl.create_context_table(table)),
            schemas => ddl.create_columns_table(table, schemas),
        };
        let user = &self.settings.user;
        let (mend, why) = match created {
            Ok(sql) => (Some(sql), String::new()),
            Err(refused) => (None, format!(": {refused}")),
        };
        Finding {
            severity: Severity::Broken,
            drift: Drift::MissingTable,
            text: format!("the table {table} does not exist (or its user `{user}` may not see it){why}"),
            mend,
        }
    }

    /// Does what `ensure` allows, and reports what is left.
    pub(crate) async fn ensure(
        &self,
        operation: &'static str,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
        ensure: EnsureTable,
    ) -> Result<TableReport, SinkError> {
        let report = self.report(operation, table, schemas).await?;
        let statements: Vec<&str> =
            report.findings.iter().filter(|finding| may(ensure, finding)).filter_map(|f| f.mend.as_deref()).collect();
        if statements.is_empty() {
            return Ok(report);
        }
        for statement in &statements {
            tracing::info!(table = %table, statement, "running");
            self.execute(operation, Some(table), statement).await?;
        }
        self.report(operation, table, schemas).await
    }
}

fn may(ensure: EnsureTable, finding: &Finding) -> bool {
    match (ensure, &finding.drift) {
        (EnsureTable::Check, _) => false,
        (_, Drift::MissingTable) => true,
        (EnsureTable::AddColumns, Drift::MissingColumn(_) | Drift::Window(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mode_changes_a_type_or_drops_a_view() {
        let finding = |drift| Finding { severity: Severity::Broken, drift, text: String::new(), mend: None };
        for drift in [Drift::ColumnType("a".into()), Drift::View("v".into()), Drift::Partition, Drift::Engine] {
            let finding = finding(drift);
            for ensure in [EnsureTable::Check, EnsureTable::Create, EnsureTable::AddColumns] {
                assert!(!may(ensure, &finding), "{ensure:?} {finding:?}");
            }
        }
        let missing = finding(Drift::MissingTable);
        assert!(!may(EnsureTable::Check, &missing) && may(EnsureTable::Create, &missing));
        let column = finding(Drift::MissingColumn("a".into()));
        assert!(!may(EnsureTable::Create, &column) && may(EnsureTable::AddColumns, &column));
    }
}
