use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;

/// A server that answers every byte with itself, and tells the test each byte that it got and each end of a connection.
async fn echo() -> (String, UnboundedReceiver<Option<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Ok(byte) = client.read_u8().await {
                    let _ = tell.send(Some(byte));
                    let _ = client.write_u8(byte).await;
                }
                let _ = tell.send(None);
            });
        }
    });
    (address, told)
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.expect("the proxy listens")
}

async fn round_trip(client: &mut TcpStream, byte: u8) -> io::Result<u8> {
    client.write_u8(byte).await?;
    client.read_u8().await
}

#[tokio::test]
async fn pass_carries_both_ways_and_the_end() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    let mut client = connect(&proxy).await;
    assert_eq!(round_trip(&mut client, 7).await.expect("passes"), 7);
    client.write_all(b"ab").await.expect("passes");
    client.shutdown().await.expect("passes");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the answer comes after the client's end");
    assert_eq!(rest, b"ab");
    assert_eq!((told.recv().await, told.recv().await), (Some(Some(7)), Some(Some(b'a'))));
    assert_eq!((told.recv().await, told.recv().await), (Some(Some(b'b')), Some(None)));
    assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
}

#[tokio::test]
async fn refuse_closes_new_and_open_connections() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    let mut open = connect(&proxy).await;
    assert_eq!(round_trip(&mut open, 1).await.expect("passes"), 1);
    proxy.set(Mode::Refuse);
    proxy.wait_for(1).await;
    round_trip(&mut open, 2).await.expect_err("closed");
    let mut new = connect(&proxy).await;
    proxy.wait_for(2).await;
    round_trip(&mut new, 3).await.expect_err("closed");
    proxy.set(Mode::Pass);
    assert_eq!(round_trip(&mut connect(&proxy).await, 4).await.expect("passes again"), 4);
    assert_eq!((told.recv().await, told.recv().await, told.recv().await), (Some(Some(1)), Some(None), Some(Some(4))));
}

#[tokio::test]
async fn blackhole_swallows_and_stays_open() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    proxy.set(Mode::Blackhole);
    let mut client = connect(&proxy).await;
    let silence = timeout(Duration::from_millis(300), round_trip(&mut client, 1)).await;
    assert!(silence.is_err(), "neither an answer nor an end, but {silence:?}");
    // The proxy may be slower than the silence was long: set any sooner, the next mode would let the first byte pass.
    proxy.wait_counts("swallowed bytes", 1, |counts| counts.swallowed).await;
    // The same connection works again, and what was swallowed stays swallowed.
    proxy.set(Mode::Pass);
    assert_eq!(round_trip(&mut client, 2).await.expect("passes again"), 2);
    assert_eq!(told.recv().await, Some(Some(2)));
    assert_eq!(proxy.cuts(), 0);
}

#[tokio::test]
async fn cut_after_lets_exactly_so_many_bytes_through() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    let mut client = connect(&proxy).await;
    assert_eq!(round_trip(&mut client, 1).await.expect("passes"), 1);
    proxy.set_once(Mode::CutAfter(2));
    // In one write or three: the count is what matters.
    client.write_all(&[2, 3, 4]).await.expect("accepted by the proxy");
    proxy.wait_for(1).await;
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    for expected in [Some(1), Some(2), Some(3), None] {
        assert_eq!(told.recv().await, Some(expected));
    }
    let mut next = connect(&proxy).await;
    assert_eq!(round_trip(&mut next, 5).await.expect("only one connection was to be cut"), 5);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_request_done() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    proxy.set_once(Mode::LoseReply);
    let mut client = connect(&proxy).await;
    let lost = round_trip(&mut client, 9).await;
    assert!(lost.is_err(), "the request got an answer: {lost:?}");
    proxy.wait_for(1).await;
    assert_eq!(told.recv().await, Some(Some(9)), "the server did the work");
    assert_eq!(round_trip(&mut connect(&proxy).await, 1).await.expect("only one reply was to be lost"), 1);
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn every_reply_is_lost_until_the_mode_changes() {
    let (upstream, _told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    proxy.set(Mode::LoseReply);
    for cut in 1..=3 {
        let mut client = connect(&proxy).await;
        round_trip(&mut client, 1).await.expect_err("lost");
        proxy.wait_for(cut).await;
    }
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn dropping_the_proxy_closes_its_connections() {
    let (upstream, mut told) = echo().await;
    let proxy = FaultProxy::start(&upstream).await;
    let mut client = connect(&proxy).await;
    assert_eq!(round_trip(&mut client, 1).await.expect("passes"), 1);
    drop(proxy);
    client.read_u8().await.expect_err("closed");
    assert_eq!((told.recv().await, told.recv().await), (Some(Some(1)), Some(None)));
}
