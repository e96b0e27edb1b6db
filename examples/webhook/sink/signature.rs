//! Signing, and checking what was signed. Both sides need this file and the secret.
//!
//! What is signed is `TIME.KEY.BODY`: a body cannot be sent again under another key, nor a request an hour later. The header has
//! the form `t=TIME,v1=HEX`; a receiver ignores what it does not know, so that a `v2` can come along one day.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What both sides know. It never shows in `Debug`.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Why a request is not believed. None of it says what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// No header, or none of this form.
    Unsigned,
    /// Signed too long ago, or too far in the future: perhaps somebody plays it again.
    Stale,
    /// Signed with another secret, or altered since.
    Strange,
}

impl Secret {
    /// Thirty-two random bytes are right; fewer than sixteen are refused.
    #[must_use]
    pub fn new(secret: impl Into<Vec<u8>>) -> Option<Self> {
        let secret = secret.into();
        (secret.len() >= 16).then_some(Self(secret))
    }

    /// The header for a request at `seconds` since 1970.
    #[must_use]
    pub fn sign(&self, seconds: u64, key: &str, body: &[u8]) -> String {
        let signature = self.mac(seconds, key, body).finalize().into_bytes();
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={hex}")
    }

    fn mac(&self, seconds: u64, key: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("any length will do"));
        mac.update(format!("{seconds}.{key}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Checks a request. `secrets` are all that count now: while one is replaced by another, both. The comparison takes equally
/// long wherever the first difference is.
///
/// # Errors
/// [`Forged`].
pub fn verify(
    secrets: &[Secret],
    header: Option<&str>,
    key: &str,
    body: &[u8],
    now: SystemTime,
    tolerance: Duration,
) -> Result<(), Forged> {
    let (mut time, mut signatures) = (None, Vec::new());
    for (name, value) in header.ok_or(Forged::Unsigned)?.split(',').filter_map(|field| field.split_once('=')) {
        match name {
            "t" => time = value.parse::<u64>().ok(),
            "v1" => signatures.extend(unhex(value)),
            _ => {}
        }
    }
    let time = time.filter(|_| !signatures.is_empty()).ok_or(Forged::Unsigned)?;
    if seconds(now).abs_diff(time) > tolerance.as_secs() {
        return Err(Forged::Stale);
    }
    let ours = |secret: &Secret| {
        let mac = secret.mac(time, key, body);
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    if secrets.iter().any(ours) { Ok(()) } else { Err(Forged::Strange) }
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|char| char.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
