//! Every send of every relay, out of their logs: one token must always mean the same events.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

/// How often each token was sent, and with which digests of its ids.
#[derive(Debug, Default)]
pub(crate) struct Sends(HashMap<String, Token>);

#[derive(Debug, Default)]
struct Token {
    sends: u64,
    digests: HashSet<String>,
}

/// A line that a sink logs right before it sends.
#[derive(Deserialize)]
struct Line {
    message: String,
    token: String,
    digest: String,
}

impl Sends {
    /// Takes a relay's output in. The last line of one that was killed may be cut.
    pub(crate) fn read<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        let sends = lines.into_iter().filter(|line| line.contains("\"digest\""));
        for line in sends.filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            if line.message == "sending" {
                let token = self.0.entry(line.token).or_default();
                token.sends += 1;
                token.digests.insert(line.digest);
            }
        }
    }

    /// What another relay sent.
    pub(crate) fn add(&mut self, other: Self) {
        for (name, token) in other.0 {
            let ours = self.0.entry(name).or_default();
            ours.sends += token.sends;
            ours.digests.extend(token.digests);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tokens that were sent more than once.
    pub(crate) fn resent(&self) -> usize {
        self.0.values().filter(|token| token.sends > 1).count()
    }

    /// Tokens that were sent with other events than before.
    pub(crate) fn differing(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, token)| token.digests.len() > 1).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_two_digests_is_found() {
        let line = |token, digest| format!(r#"{{"message":"sending","token":"{token}","digest":"{digest}","rows":1}}"#);
        let lines = [line("a", 1), line("a", 1), line("b", 1), line("b", 2), line("c", 3), r#"{"digest":"#.to_owned()];
        let mut sends = Sends::default();
        sends.read(lines.iter().map(String::as_str));
        let mut more = Sends::default();
        more.read(["{\"message\":\"settled\"}", &line("c", 4)]);
        sends.add(more);
        let mut differing: Vec<_> = sends.differing().collect();
        differing.sort_unstable();
        assert_eq!((sends.resent(), differing), (3, vec!["b", "c"]));
    }
}
