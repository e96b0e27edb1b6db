//! Guards that can be taken out of PostgreSQL's SQL, to see that a run notices: a test that cannot fail shows nothing.

use clap::ValueEnum;

/// A guard of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Guard {
    /// The planner's arm for transactions that were in flight at the last tick.
    InFlight,
    /// (owner, attempt) in every write of a claim.
    Fence,
    /// The token that is stored before the first send.
    Token,
    /// The bound of pruning, read in one statement.
    OneStatement,
    /// Open batches in the bound of pruning.
    OpenBatches,
}

const FENCE: &str = " AND owner = p_owner AND attempt = p_attempt";

const IN_FLIGHT: &str = "WHERE x >= c.pos_xid AND pg_visible_in_snapshot(x, c.tick) ORDER BY x) l";

const NEW_TOKENS: &str = "
CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE outbox_part SET token = gen_random_uuid() WHERE batch = NEW.no;
    RETURN NEW;
END $$;
CREATE TRIGGER sabotage AFTER UPDATE OF attempt ON outbox_batch FOR EACH ROW EXECUTE FUNCTION sabotage();
";

const BASES: &str = "FROM (SELECT base FROM outbox_batch WHERE NOT held UNION ALL SELECT base FROM outbox_cursor) s";

impl Guard {
    /// The migration without it.
    pub(crate) fn removed_from(self, sql: &str) -> String {
        let replace = |from: &str, to: &str| {
            assert!(sql.contains(from), "the migration has changed: where is {from}?");
            sql.replace(from, to)
        };
        match self {
            Self::InFlight => replace(IN_FLIGHT, &IN_FLIGHT.replace("WHERE", "WHERE false AND")),
            Self::Fence => replace(FENCE, ""),
            Self::Token => format!("{sql}{NEW_TOKENS}"),
            Self::OpenBatches => replace(BASES, "FROM (SELECT base FROM outbox_cursor) s"),
            Self::OneStatement => {
                replace(BASES, "FROM (SELECT unnest(open) AS base UNION ALL SELECT base FROM outbox_cursor) s")
                    .replace("p record; done xid8;", "p record; open pg_snapshot[]; done xid8;")
                    .replace(
                        "-- ONE statement",
                        "open := ARRAY(SELECT base FROM outbox_batch WHERE NOT held); PERFORM pg_sleep(0.3); -- two statements, not",
                    )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_still_where_it_is_looked_for() {
        let sql = outbox::postgres::MIGRATIONS.concat();
        for guard in Guard::value_variants() {
            assert_ne!(guard.removed_from(&sql), sql, "{guard:?}");
        }
    }
}
