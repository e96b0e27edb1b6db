//! HTTP/1.1 as far as it takes to tell one message from the next, and where in it one is.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A request or an answer, byte for byte as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// With the blank line.
    pub(crate) head: Vec<u8>,
    /// With the sizes of its chunks, if it has any.
    pub(crate) body: Vec<u8>,
}

/// What a message goes on with behind its head.
enum Length {
    Bytes(usize),
    Chunks,
    /// Nothing for a request, everything until the end for an answer.
    Unsaid,
}

impl Message {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }

    /// The same, well-formed, with less of its body: without its last line, or with nothing.
    pub(crate) fn shortened(&self, keeps_lines: bool) -> Self {
        let (mut content, mut rest) = (Vec::new(), self.body.as_slice());
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size.filter(|size| *size > 0) else { break };
            content.extend_from_slice(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 2 + size + 2..];
        }
        let lines: Vec<_> = content.split_inclusive(|byte| *byte == b'\n').collect();
        let kept = if keeps_lines { lines[..lines.len().saturating_sub(1)].concat() } else { Vec::new() };
        let first = match kept.is_empty() {
            true => Vec::new(),
            false => [format!("{:x}\r\n", kept.len()).as_bytes(), &kept, b"\r\n"].concat(),
        };
        Self { head: self.head.clone(), body: [first.as_slice(), b"0\r\n\r\n"].concat() }
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        contains(&self.head, text) || contains(&self.body, text)
    }
}

pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The next head; None when the peer has closed before one.
pub(crate) async fn read_head(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let line = head.len();
        match stream.read_until(b'\n', &mut head).await? {
            0 if head.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if matches!(&head[line..], b"\r\n" | b"\n") => return Ok(Some(head)),
            _ => {}
        }
    }
}

/// The body of a request.
pub(crate) async fn read_request_body(stream: &mut (impl AsyncBufRead + Unpin), head: &[u8]) -> io::Result<Vec<u8>> {
    read_body(stream, length(head)).await
}

/// A whole answer.
pub(crate) async fn read_answer(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Message> {
    let head = read_head(stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = match length(&head) {
        Length::Unsaid => {
            let mut body = Vec::new();
            stream.read_to_end(&mut body).await?;
            body
        }
        length => read_body(stream, length).await?,
    };
    Ok(Message { head, body })
}

async fn read_body(stream: &mut (impl AsyncBufRead + Unpin), length: Length) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length {
        Length::Unsaid => {}
        Length::Bytes(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body).await?;
        }
        Length::Chunks => loop {
            let at = body.len();
            stream.read_until(b'\n', &mut body).await?;
            let size = std::str::from_utf8(&body[at..]).map_err(io::Error::other)?.trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            let at = body.len();
            body.resize(at + size + 2, 0);
            stream.read_exact(&mut body[at..]).await?;
            if size == 0 {
                break;
            }
        },
    }
    Ok(body)
}

fn length(head: &[u8]) -> Length {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    match (header("transfer-encoding:"), header("content-length:").and_then(|value| value.parse().ok())) {
        (Some("chunked"), _) => Length::Chunks,
        (_, Some(bytes)) => Length::Bytes(bytes),
        _ => Length::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shortened_is_well_formed() {
        let message =
            Message { head: b"POST / HTTP/1.1\r\n\r\n".into(), body: b"4\r\na\nb\n\r\n2\r\nc\n\r\n0\r\n\r\n".into() };
        assert_eq!(message.shortened(true).body, b"4\r\na\nb\n\r\n0\r\n\r\n");
        assert_eq!(message.shortened(false).body, b"0\r\n\r\n");
        assert_eq!(message.shortened(false).head, message.head);
    }
}
