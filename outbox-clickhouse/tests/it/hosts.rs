//! Several hosts, TLS, compression, roles and rights.

use std::sync::Arc;
use std::time::Duration;

use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink, Compression};
use outbox_core::{Recovery, Sink, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::{FaultProxy, Mode};
use outbox_test::servers::PrivateClickHouse;
use tokio::net::{TcpListener, TcpStream};

use crate::fake::{Fake, Reply};
use crate::support::{again, counts, events, ids_view, part, settings, sink, try_part};

/// Nobody listens there.
fn dead_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_dead_host_is_passed_over() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    let hosts = [dead_port(), database.address().to_owned()];
    let both = ClickHouseSink::new(settings(&database).hosts(hosts).unwrap());
    both.check().await.unwrap();
    let part = part(&both, events(10)).await;
    assert!(
        part.frozen.statement.contains(&format!("\"host\":\"{}\"", database.address())),
        "{}",
        part.frozen.statement
    );
    both.deliver(&part).await.unwrap();
    assert_eq!(counts(&database).await, (10, 10));
}

#[tokio::test]
async fn a_part_of_a_plain_table_waits_for_its_host_and_new_parts_do_not() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    // Two names of one server: each part must come back under the one that it was sent to.
    let (first, second) = (FaultProxy::start(database.address()).await, FaultProxy::start(database.address()).await);
    let hosts = [first.addr(), second.addr()].map(|address| address.to_string());
    let both = ClickHouseSink::new(settings(&database).hosts(hosts.clone()).unwrap());
    let sticky = part(&both, events(10)).await;
    first.set_once(Mode::LoseReply);
    both.deliver(&sticky).await.expect_err("the reply was lost");
    first.set(Mode::Refuse);
    let waits = both.recover(&again(&sticky)).await.unwrap_err();
    assert!(matches!(waits.kind(), SinkErrorKind::Environment | SinkErrorKind::Unknown), "{waits}");
    assert_eq!(waits.host(), Some(hosts[0].as_str()));
    let new = part(&both, events(5)).await;
    assert!(new.frozen.statement.contains(&hosts[1]), "{}", new.frozen.statement);
    both.deliver(&new).await.unwrap();
    first.set(Mode::Pass);
    assert_eq!(both.recover(&again(&sticky)).await.unwrap(), Recovery::Resend);
    both.deliver(&again(&sticky)).await.unwrap();
    assert_eq!(counts(&database).await, (15, 15));
}

#[tokio::test]
async fn a_part_whose_host_is_gone_while_others_answer_lets_the_others_go_on() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    let dead = dead_port();
    let hosts = [dead.as_str(), database.address()];
    let both = ClickHouseSink::new(settings(&database).hosts(hosts).unwrap());
    let mut part = part(&both, events(1)).await;
    part.frozen.statement = part.frozen.statement.replace(database.address(), &dead);
    let waits = both.deliver(&part).await.unwrap_err();
    assert_eq!(waits.kind(), SinkErrorKind::Environment, "{waits}");
    part.frozen.statement = part.frozen.statement.replace(&dead, "old.example.org:8123");
    let gone = both.deliver(&part).await.unwrap_err();
    assert_eq!(gone.kind(), SinkErrorKind::Stop, "{gone}");
    assert!(gone.to_string().contains("old.example.org:8123"), "{gone}");
}

#[tokio::test]
async fn compressed_bodies_arrive_once_like_others() {
    for compression in [Compression::Lz4, Compression::Zstd] {
        let database = ClickHouseDatabase::create().await;
        sink(&database).await;
        let compressed = ClickHouseSink::new(settings(&database).compression(compression));
        let part = part(&compressed, events(20_000)).await;
        compressed.deliver(&part).await.unwrap();
        // The same token, whatever the bytes on the wire.
        ClickHouseSink::new(settings(&database)).deliver(&again(&part)).await.unwrap();
        assert_eq!(counts(&database).await, (20_000, 20_000), "{compression}");
    }
}

/// A proxy that passes bytes on sees how many there are.
#[tokio::test]
async fn a_compressed_body_is_smaller_and_its_errors_are_read_all_the_same() {
    let database = ClickHouseDatabase::create().await;
    let part = part(&sink(&database).await, events(1000)).await;
    let mut sizes = Vec::new();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let fake = Fake::start(Reply::exception("404 Not Found", 60, "Code: 60. DB::Exception: gone. (X)")).await;
        let settings = ClickHouseSettings::new().url(&fake.url()).unwrap().compression(compression);
        let refused = ClickHouseSink::new(settings).deliver(&part).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::Stop, Some(60)), "{compression}: {refused}");
        sizes.push(fake.requests()[0].body.len());
    }
    assert!(sizes[0] > 2 * sizes[1] && sizes[1] > sizes[2], "none, lz4, zstd: {sizes:?}");
}

#[tokio::test]
async fn a_role_goes_with_inserts_too() {
    let database = ClickHouseDatabase::create().await;
    let part = part(&sink(&database).await, events(1)).await;
    let fake = Fake::start(Reply::ok()).await;
    let settings =
        ClickHouseSettings::new().url(&fake.url()).unwrap().role("events_writer").compression(Compression::Lz4);
    ClickHouseSink::new(settings).deliver(&part).await.unwrap();
    let requests = fake.requests();
    assert!(requests[0].target.contains("role=events_writer"), "{}", requests[0].target);
    assert!(requests[0].target.contains("decompress=1"), "{}", requests[0].target);
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_are_missing() {
    let server = PrivateClickHouse::start_with_password("secret").await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let writer = settings(&database).user("outbox").password("secret").create_table(true);
    let sink = ClickHouseSink::new(writer.clone());
    sink.check().await.unwrap();
    let part = part(&sink, events(3)).await;
    let reader = ClickHouseSink::new(writer.user(PrivateClickHouse::READER).create_table(false));
    let refused = reader.deliver(&part).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::Stop, Some(497)), "{refused}");
    assert!(
        refused.to_string().contains("INSERT") && refused.to_string().contains(PrivateClickHouse::READER),
        "{refused}"
    );
    assert!(!refused.to_string().contains("secret"), "{refused}");
    // With the right it goes on where it was.
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Resend);
    sink.deliver(&again(&part)).await.unwrap();
    assert_eq!(counts(&database).await, (3, 3));
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let server = PrivateClickHouse::start_with_password("secret").await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let owner = settings(&database).user("outbox").password("secret");
    ClickHouseSink::new(owner.clone().create_table(true)).check().await.unwrap();
    let fresh = || ClickHouseSink::new(owner.clone().user(PrivateClickHouse::WRITER));
    let sink = fresh();
    sink.check().await.unwrap();
    let first = part(&sink, events(3)).await;
    sink.deliver(&first).await.unwrap();
    assert_eq!(sink.recover(&again(&first)).await.unwrap(), Recovery::Resend);
    sink.deliver(&again(&first)).await.unwrap();
    // Where the token proves nothing, earlier sends are ended, or awaited, and the ids are read.
    database.query("ALTER TABLE event_log ADD COLUMN more String").await;
    assert_eq!(sink.recover(&again(&first)).await.unwrap(), Recovery::Delivered);
    ids_view(&database, 1000).await;
    let sink = fresh();
    sink.check().await.unwrap();
    let second = part(&sink, events(3)).await;
    sink.deliver(&second).await.unwrap();
    database.query("ALTER TABLE event_log ADD COLUMN yet_more String").await;
    assert_eq!(sink.recover(&again(&second)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (6, 6));
}

#[tokio::test]
async fn times_over_more_partitions_than_an_insert_may_touch_become_several_parts() {
    let database = ClickHouseDatabase::create().await;
    let sink = ClickHouseSink::new(settings(&database).create_table(true).insert_partitions_max(12));
    sink.check().await.unwrap();
    let month = |row: usize| {
        let day = i64::try_from(row).unwrap();
        chrono::DateTime::from_timestamp(1_500_000_000, 0).unwrap() + chrono::TimeDelta::days(day)
    };
    let events = crate::support::events_at(1000, month);
    let together = try_part(&sink, events.clone()).await.unwrap();
    let refused = sink.deliver(&together).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::BadRows, Some(252)), "{refused}");
    let groups = sink.divide("event_log", &events.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(groups.len(), 3, "33 months, twelve at a time");
    for group in groups {
        let events = group.into_iter().map(|at| events[at].clone()).collect();
        sink.deliver(&try_part(&sink, events).await.unwrap()).await.unwrap();
    }
    assert_eq!(counts(&database).await, (1000, 1000));
}

/// Ends TLS in front of `upstream` with a certificate for `localhost`; returns its port and the certificate's PEM.
async fn tls_proxy(upstream: String) -> (u16, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(upstream).await.unwrap();
                // Ends with either side.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, certified.cert.pem())
}

#[tokio::test]
async fn tls_reaches_a_server_whose_authority_is_trusted_and_no_other() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    let (port, pem) = tls_proxy(database.address().to_owned()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let https = ClickHouseSettings::new().url(&format!("https://localhost:{port}/{}", database.name())).unwrap();
    let https = https.connect_timeout(Duration::from_secs(5));
    let trusted = ClickHouseSink::new(https.clone().ca_file(file.path()));
    trusted.check().await.unwrap();
    let part = part(&trusted, events(5000)).await;
    trusted.deliver(&part).await.unwrap();
    assert_eq!(counts(&database).await, (5000, 5000));
    let client = https.clone().ca_file(file.path()).client();
    assert_eq!(client.query("SELECT count() FROM event_log").fetch_one::<u64>().await.unwrap(), 5000);

    let stranger = ClickHouseSink::new(https.clone()).check().await.unwrap_err();
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    let unreadable = ClickHouseSink::new(https.ca_file("/nowhere.pem")).check().await.unwrap_err();
    assert_eq!(unreadable.kind(), SinkErrorKind::Stop);
    assert!(unreadable.to_string().contains("CLICKHOUSE_CA_FILE"), "{unreadable}");
}
