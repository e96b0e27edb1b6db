use super::*;

fn read(vars: &[(&str, &str)]) -> Result<ClickHouseSettings, VarError> {
    ClickHouseSettings::from_vars(&Vars::new(vars.iter().copied()))
}

/// Every setting as text, the password included, to see which ones a variable changes.
fn fields(settings: &ClickHouseSettings) -> Vec<(&'static str, String)> {
    vec![
        (HOST, settings.host.clone()),
        (PORT, settings.port.to_string()),
        (USER, settings.user.clone()),
        (PASSWORD, settings.password_text().to_owned()),
        (DATABASE, settings.database.clone()),
        (EVENT_LOG_TABLE, settings.event_log_table.clone()),
        (CREATE_TABLE, settings.create_table.to_string()),
        (DELIVERY, format!("{:?}", settings.delivery)),
        (CONNECT_TIMEOUT, settings.connect_timeout.as_millis().to_string()),
        (INSERT_TIMEOUT, settings.insert_timeout.as_millis().to_string()),
    ]
}

/// Sets `name` alone and asserts that its own setting, and no other, changes to `expected`.
fn changes_only_its_own(name: &'static str, value: &str, expected: &str) {
    let defaults = fields(&ClickHouseSettings::new());
    for ((field, before), (_, after)) in defaults.iter().zip(fields(&read(&[(name, value)]).expect("a good value"))) {
        if *field == name {
            assert_eq!(after, expected, "{name} reads its own variable");
            assert_ne!(*before, after, "the test must use a value that is not the default");
        } else {
            assert_eq!(*before, after, "{name} must not change {field}");
        }
    }
}

#[test]
fn host_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_HOST", "ch.example.org", "ch.example.org");
}

#[test]
fn port_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_PORT", "18123", "18123");
}

#[test]
fn user_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_USER", "writer", "writer");
}

#[test]
fn password_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_PASSWORD", "hunter2", "hunter2");
}

#[test]
fn database_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_DATABASE", "analytics", "analytics");
}

#[test]
fn event_log_table_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_EVENT_LOG_TABLE", "audit", "audit");
}

#[test]
fn create_table_has_its_own_variable() {
    changes_only_its_own("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true", "true");
}

#[test]
fn delivery_has_its_own_variable() {
    changes_only_its_own("OUTBOX_CLICKHOUSE_DELIVERY", "at_least_once", "AtLeastOnce");
}

#[test]
fn connect_timeout_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_CONNECT_TIMEOUT", "250ms", "250");
}

#[test]
fn insert_timeout_has_its_own_variable() {
    changes_only_its_own("CLICKHOUSE_INSERT_TIMEOUT", "7", "7000");
}

#[test]
fn url_sets_what_it_spells_out_and_leaves_the_rest() {
    let all = read(&[("CLICKHOUSE_URL", "http://wri%20ter:p%40ss@ch:80/ana%2Dlytics")]).expect("a good URL");
    assert_eq!(
        (all.host.as_str(), all.port, all.user.as_str(), all.password_text(), all.database.as_str()),
        ("ch", 80, "wri ter", "p@ss", "ana-lytics")
    );
    let part = read(&[
        ("CLICKHOUSE_URL", "http://ch/"),
        ("CLICKHOUSE_HOST", "elsewhere"),
        ("CLICKHOUSE_PORT", "9"),
        ("CLICKHOUSE_PASSWORD", "hunter2"),
        ("CLICKHOUSE_DATABASE", "analytics"),
    ]);
    let part = part.expect("a good URL");
    assert_eq!(
        (part.host.as_str(), part.port, part.password_text(), part.database.as_str()),
        ("ch", 9, "hunter2", "analytics")
    );
    assert_eq!(read(&[("CLICKHOUSE_URL", "http://[::1]:8124")]).expect("a good URL").address(), "[::1]:8124");
    assert_eq!(read(&[("CLICKHOUSE_HOST", "::1")]).expect("a good host").address(), "[::1]:8123");
}

#[test]
fn https_says_what_to_do_instead() {
    let refused = read(&[("CLICKHOUSE_URL", "https://ch.example.org:8443")]).expect_err("no TLS in this version");
    assert!(refused.to_string().starts_with("CLICKHOUSE_URL: this version speaks http only"), "{refused}");
}

#[test]
fn a_bad_value_names_its_variable_and_is_not_shown() {
    for (name, value) in [
        ("CLICKHOUSE_URL", "ftp://secret"),
        ("CLICKHOUSE_URL", "http://user:secret@"),
        ("CLICKHOUSE_URL", "http://user:secret%zz@host"),
        ("CLICKHOUSE_URL", "http://user:secret@host:port"),
        ("CLICKHOUSE_URL", "http://host/secret/x"),
        ("CLICKHOUSE_URL", "http://host/?password=secret"),
        ("CLICKHOUSE_HOST", "http://secret"),
        ("CLICKHOUSE_PORT", "secret"),
        ("CLICKHOUSE_PORT", "81230"),
        ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "secret"),
        ("OUTBOX_CLICKHOUSE_DELIVERY", "secret"),
        ("CLICKHOUSE_CONNECT_TIMEOUT", "secret"),
        ("CLICKHOUSE_INSERT_TIMEOUT", "0"),
        ("CLICKHOUSE_INSERT_TIMEOUT", "-1"),
    ] {
        let refused = read(&[(name, value)]).expect_err(name);
        assert_eq!(refused.name(), name);
        assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
    }
}

#[test]
fn the_password_never_shows() {
    let settings = read(&[("CLICKHOUSE_URL", "http://writer:hunter2@ch:8123/db")]).expect("a good URL");
    assert!(!format!("{settings:?} {settings:#?} {}", settings.address()).contains("hunter2"));
}

#[test]
fn the_event_log_has_a_configured_name_and_other_tables_their_own() {
    let settings = ClickHouseSettings::new().database("db").event_log_table("audit");
    assert_eq!(settings.table("event_log"), TableName::new("db", "audit"));
    assert_eq!(settings.table("orders"), TableName::new("db", "orders"));
    assert_eq!(settings.table("other.orders"), TableName::new("other", "orders"));
}
