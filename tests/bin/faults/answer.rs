//! Answers as ClickHouse and the proxies in front of it write them.

/// An exception: the number that the text begins with goes into the header, too.
pub(crate) fn exception(status: &str, text: &str) -> Vec<u8> {
    let code: String = text.trim_start_matches("Code: ").chars().take_while(char::is_ascii_digit).collect();
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// What is left of an exception whose body did not make it.
pub(crate) fn only_the_header(status: &str, code: i32) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// An answer that knows nothing of ClickHouse.
pub(crate) fn plain(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// A text as ClickHouse writes it. The word SECRET stands for what it quotes of the rows.
pub(crate) fn text(code: i32, words: &str) -> String {
    format!("Code: {code}. DB::Exception: {words} SECRET. (NAME) (version 26.7.2.1 (official build))")
}

/// An exception that is raised when the headers have gone out with a 200: as old servers write it, and as new ones do, with a
/// tag in the headers by which it is told from data.
pub(crate) fn after_the_headers(tagged: bool, complete: bool) -> Vec<u8> {
    let words = text(241, "Memory limit exceeded:");
    let (header, body) = match tagged {
        true => {
            let tag = "rnywyenlaeqynhmu";
            let message = format!("{words}\n");
            let body = format!("\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n", message.len());
            (format!("X-ClickHouse-Exception-Tag: {tag}\r\n"), body)
        }
        false => (String::new(), format!("{words}\n")),
    };
    chunked(&header, &[&body], complete)
}

/// The same in two pieces, so that neither looks like an exception by itself.
pub(crate) fn after_the_headers_in_two_pieces() -> Vec<u8> {
    let body = format!("{}\n", text(241, "Memory limit exceeded:"));
    let (first, second) = body.split_at(body.len() - 8);
    chunked("", &[first, second], true)
}

/// A 200 of ClickHouse's with a body.
fn chunked(header: &str, chunks: &[&str], complete: bool) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nX-ClickHouse-Server-Display-Name: fake\r\nX-ClickHouse-Query-Id: q\r\n{header}\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    for chunk in chunks {
        answer.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    if complete {
        answer.push_str("0\r\n\r\n");
    }
    answer.into_bytes()
}
