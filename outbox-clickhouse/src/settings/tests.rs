use outbox_core::Vars;

use super::*;

fn read(vars: &[(&str, &str)]) -> Result<ClickHouseSettings, VarError> {
    ClickHouseSettings::from_vars(&Vars::new(vars.iter().copied()))
}

/// Every setting as text, the password included, to see which ones a variable changes.
fn fields(settings: &ClickHouseSettings) -> Vec<(&'static str, String)> {
    let hosts: Vec<_> = settings.hosts.iter().map(|host| host.name.clone()).collect();
    vec![
        (HOST, hosts.join(",")),
        (PORT, format!("{:?}", settings.port)),
        (SECURE, settings.secure.to_string()),
        (CA_FILE, format!("{:?}", settings.ca_file)),
        (USER, settings.user.clone()),
        (PASSWORD, settings.password_text().to_owned()),
        (ROLE, format!("{:?}", settings.role)),
        (DATABASE, settings.database.clone()),
        (EVENT_LOG_TABLE, settings.event_log_table.clone()),
        (COMPRESSION, settings.compression.to_string()),
        (CONNECT_TIMEOUT, settings.connect_timeout.as_millis().to_string()),
        (SEND_TIMEOUT, settings.send_timeout.as_millis().to_string()),
        (INSERT_TIMEOUT, settings.insert_timeout.as_millis().to_string()),
        (QUERY_TIMEOUT, settings.query_timeout.as_millis().to_string()),
        (CREATE_TABLE, format!("{:?}", settings.ensure)),
        (CLUSTER, format!("{:?}", settings.cluster)),
        (DELIVERY, format!("{:?}", settings.delivery)),
        (INSERT_ROWS_MAX, settings.insert_rows_max.to_string()),
        (INSERT_BYTES_MAX, settings.insert_bytes_max.to_string()),
        (INSERT_PARTITIONS_MAX, settings.insert_partitions_max.to_string()),
        (INSERT_SETTINGS, format!("{:?}", settings.insert_settings)),
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
fn each_setting_has_its_own_variable() {
    let cases = [
        ("CLICKHOUSE_HOST", "ch.example.org", "ch.example.org"),
        ("CLICKHOUSE_PORT", "18123", "Some(18123)"),
        ("CLICKHOUSE_SECURE", "true", "true"),
        ("CLICKHOUSE_CA_FILE", "/etc/ca.pem", "Some(\"/etc/ca.pem\")"),
        ("CLICKHOUSE_USER", "writer", "writer"),
        ("CLICKHOUSE_PASSWORD", "hunter2", "hunter2"),
        ("CLICKHOUSE_ROLE", "events", "Some(\"events\")"),
        ("CLICKHOUSE_DATABASE", "analytics", "analytics"),
        ("CLICKHOUSE_EVENT_LOG_TABLE", "audit", "audit"),
        ("CLICKHOUSE_COMPRESSION", "lz4", "lz4"),
        ("CLICKHOUSE_CONNECT_TIMEOUT", "250ms", "250"),
        ("CLICKHOUSE_SEND_TIMEOUT", "3s", "3000"),
        ("CLICKHOUSE_INSERT_TIMEOUT", "7", "7000"),
        ("CLICKHOUSE_QUERY_TIMEOUT", "2m", "120000"),
        ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true", "Create"),
        ("OUTBOX_CLICKHOUSE_CLUSTER", "main", "Some(\"main\")"),
        ("OUTBOX_CLICKHOUSE_DELIVERY", "at_least_once", "AtLeastOnce"),
        ("OUTBOX_CLICKHOUSE_INSERT_ROWS_MAX", "500", "500"),
        ("OUTBOX_CLICKHOUSE_INSERT_BYTES_MAX", "600", "600"),
        ("OUTBOX_CLICKHOUSE_INSERT_PARTITIONS_MAX", "7", "7"),
        ("OUTBOX_CLICKHOUSE_INSERT_SETTINGS", "insert_quorum=2", "{\"insert_quorum\": \"2\"}"),
    ];
    // And the URL, which is about several of them.
    assert_eq!(cases.len() + 1, ClickHouseSettings::VARS.len());
    for (name, value, expected) in cases {
        changes_only_its_own(name, value, expected);
    }
    let columns = read(&[("OUTBOX_CLICKHOUSE_CREATE_TABLE", "add_columns")]).expect("a good value");
    assert_eq!(columns.ensure, EnsureTable::AddColumns);
}

#[test]
fn several_hosts_have_ports_of_their_own_or_the_common_one() {
    let addresses = |vars: &[(&str, &str)]| read(vars).expect("good hosts").addresses();
    let hosts = ("CLICKHOUSE_HOST", "a, b:9,[::1]:7,::1,[::2]");
    assert_eq!(addresses(&[hosts]), ["a:8123", "b:9", "[::1]:7", "[::1]:8123", "[::2]:8123"]);
    assert_eq!(addresses(&[hosts, ("CLICKHOUSE_PORT", "80")])[0], "a:80");
    assert_eq!(addresses(&[hosts, ("CLICKHOUSE_SECURE", "yes")])[0], "a:8443");
    let url = [("CLICKHOUSE_URL", "https://u:p@a,b:9/db")];
    assert_eq!(addresses(&url), ["a:8443", "b:9"]);
    assert_eq!(read(&url).expect("a good URL").database, "db");
}

#[test]
fn what_the_sink_decides_cannot_be_set() {
    for name in ["async_insert", "insert_deduplication_token", "deduplicate_insert", "input_format_skip_unknown_fields"]
    {
        let refused = read(&[(INSERT_SETTINGS, &format!("insert_quorum=2,{name}=1"))]).expect_err(name);
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[test]
fn url_sets_what_it_spells_out_and_leaves_the_rest() {
    let all = read(&[("CLICKHOUSE_URL", "http://wri%20ter:p%40ss@ch:80/ana%2Dlytics")]).expect("a good URL");
    assert_eq!(
        (all.address(), all.user.as_str(), all.password_text(), all.database.as_str()),
        ("ch:80".to_owned(), "wri ter", "p@ss", "ana-lytics")
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
        (part.address(), part.password_text(), part.database.as_str()),
        ("ch:9".to_owned(), "hunter2", "analytics")
    );
    assert_eq!(read(&[("CLICKHOUSE_URL", "http://[::1]:8124")]).expect("a good URL").address(), "[::1]:8124");
    assert_eq!(read(&[("CLICKHOUSE_HOST", "::1")]).expect("a good host").address(), "[::1]:8123");
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
        ("CLICKHOUSE_HOST", "host,"),
        ("CLICKHOUSE_SECURE", "secret"),
        ("CLICKHOUSE_COMPRESSION", "secret"),
        ("OUTBOX_CLICKHOUSE_INSERT_ROWS_MAX", "1000001"),
        ("OUTBOX_CLICKHOUSE_INSERT_PARTITIONS_MAX", "0"),
        ("OUTBOX_CLICKHOUSE_INSERT_SETTINGS", "secret"),
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
