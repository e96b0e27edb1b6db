//! Ports for servers of our own.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below Linux' range for outgoing connections (from 32768), so that none of those takes the port of a server that is
/// down for the moment and wants it back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port on 127.0.0.1 that nobody listens on. Another process can still take it first: callers try again.
pub(crate) fn free_port() -> u16 {
    let random = (RandomState::new().build_hasher().finish() % u64::from(COUNT)) as u16;
    (0..COUNT)
        .map(|step| FIRST + (random + step) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of 12000 ports is free")
}
