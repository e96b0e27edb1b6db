//! Where in a message a connection is cut: every class of position, not every byte.

use crate::http::Message;

/// In a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestCut {
    BeforeIt,
    RequestLine,
    EndOfRequestLine,
    HeaderName,
    HeaderValue,
    BlankLine,
    AfterTheHead,
    FirstChunkSize,
    FirstBodyByte,
    QuarterOfTheBody,
    MiddleOfTheBody,
    LastBodyByte,
    BeforeTheLastChunk,
    LastChunk,
    /// The server has all of it, and nobody waits for its answer.
    AfterIt,
}

/// In an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerCut {
    BeforeIt,
    FirstByte,
    StatusLine,
    Headers,
    BlankLine,
    AfterTheHead,
    LastByte,
}

/// How the client learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// An orderly end.
    Fin,
    /// A reset.
    Rst,
}

impl RequestCut {
    pub(crate) const ALL: [Self; 15] = [
        Self::BeforeIt,
        Self::RequestLine,
        Self::EndOfRequestLine,
        Self::HeaderName,
        Self::HeaderValue,
        Self::BlankLine,
        Self::AfterTheHead,
        Self::FirstChunkSize,
        Self::FirstBodyByte,
        Self::QuarterOfTheBody,
        Self::MiddleOfTheBody,
        Self::LastBodyByte,
        Self::BeforeTheLastChunk,
        Self::LastChunk,
        Self::AfterIt,
    ];

    /// How many of the request's bytes go through.
    pub(crate) fn offset(self, request: &Message) -> usize {
        /// `0\r\n\r\n`, and the end of the chunk before it.
        const LAST_CHUNK: usize = 5;
        const END_OF_CHUNK: usize = 2;
        let (head, body) = (request.head.len(), request.body.len());
        let line = position(&request.head, b"\r\n");
        let size = position(&request.body, b"\r\n") + END_OF_CHUNK;
        let content = body.saturating_sub(size + END_OF_CHUNK + LAST_CHUNK);
        match self {
            Self::BeforeIt => 0,
            Self::RequestLine => line / 2,
            Self::EndOfRequestLine => line + 2,
            Self::HeaderName => line + 4,
            Self::HeaderValue => line + 2 + position(&request.head[line + 2..], b": ") + 3,
            Self::BlankLine => head - 2,
            Self::AfterTheHead => head,
            Self::FirstChunkSize => head + 1,
            Self::FirstBodyByte => head + size + 1,
            Self::QuarterOfTheBody => head + size + content / 4,
            Self::MiddleOfTheBody => head + size + content / 2,
            Self::LastBodyByte => head + size + content - 1,
            Self::BeforeTheLastChunk => head + body - LAST_CHUNK,
            Self::LastChunk => head + body - 2,
            Self::AfterIt => head + body,
        }
    }
}

impl AnswerCut {
    pub(crate) const ALL: [Self; 7] = [
        Self::BeforeIt,
        Self::FirstByte,
        Self::StatusLine,
        Self::Headers,
        Self::BlankLine,
        Self::AfterTheHead,
        Self::LastByte,
    ];

    /// How many of the answer's bytes come through.
    pub(crate) fn offset(self, answer: &Message) -> usize {
        let head = answer.head.len();
        match self {
            Self::BeforeIt => 0,
            Self::FirstByte => 1,
            Self::StatusLine => position(&answer.head, b"\r\n"),
            Self::Headers => head / 2,
            Self::BlankLine => head - 2,
            Self::AfterTheHead => head,
            Self::LastByte => head + answer.body.len() - 1,
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_ascend_and_fall_where_they_say() {
        let head = b"POST /?query=INSERT HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let request = Message { head, body: b"a\r\n0123456789\r\n0\r\n\r\n".to_vec() };
        let bytes = request.bytes();
        let offsets: Vec<_> = RequestCut::ALL.iter().map(|cut| cut.offset(&request)).collect();
        assert!(offsets.is_sorted(), "{offsets:?}");
        assert_eq!(offsets.last(), Some(&bytes.len()));
        let sent = |cut: RequestCut| String::from_utf8_lossy(&bytes[..cut.offset(&request)]).into_owned();
        assert!(sent(RequestCut::LastBodyByte).ends_with("012345678"), "{}", sent(RequestCut::LastBodyByte));
        assert!(sent(RequestCut::BeforeTheLastChunk).ends_with("9\r\n"));
        assert!(sent(RequestCut::HeaderValue).ends_with("host: x"));
        let answer =
            Message { head: b"HTTP/1.1 200 OK\r\nDate: today\r\nA: b\r\n\r\n".to_vec(), body: b"0\r\n\r\n".to_vec() };
        let offsets: Vec<_> = AnswerCut::ALL.iter().map(|cut| cut.offset(&answer)).collect();
        assert!(offsets.is_sorted() && offsets[6] == answer.bytes().len() - 1, "{offsets:?}");
    }
}
