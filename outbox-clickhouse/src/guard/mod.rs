//! A "yes" counts only from ClickHouse, and only when nothing comes after it.
//!
//! The `clickhouse` crate takes every answer with status 200 for success and leaves an INSERT's body unread, so that a page of
//! whatever else listens at the address acknowledges a part, and so does an exception that came after the headers unless it
//! arrives in one piece. Both lost events (`http_200_page` and `exception_after_200_in_two_pieces_before` of
//! `cargo xtask faults`). And a body that was emptied on its way is an INSERT of nothing, or of fewer rows where they are lines; the
//! server says how many it has read. Nothing of the answer is handed on by the crate; so it is looked at on the connection, beneath it.

mod answer;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower_service::Service;

use self::answer::Watch;

/// Makes connections whose answers are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Guard<C>(pub(crate) C);

impl<C> Service<Uri> for Guard<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Guarded<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let inner = connecting.await?;
            Ok(Guarded { inner, watch: Watch::default(), ready: Vec::new(), taken: 0, ended: false })
        })
    }
}

/// A connection whose answers are looked at.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    inner: T,
    watch: Watch,
    /// What was looked at and is not read yet, of which so much is.
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<T: Connection> Connection for Guarded<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

impl<T: Read + Unpin> Read for Guarded<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let rest = &this.ready[this.taken..];
            if !rest.is_empty() {
                let some = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..some]);
                this.taken += some;
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.watch.is_decided() {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut space = [0; 4096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(cx, read.unfilled()))?;
            this.ended = read.filled().is_empty();
            this.ready = if this.ended { this.watch.ended() } else { this.watch.answered(read.filled()) };
            this.taken = 0;
        }
    }
}

impl<T: Write + Unpin> Write for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.watch.asked(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let some = slice.len().min(left);
            self.watch.asked(&slice[..some]);
            left -= some;
        }
        Poll::Ready(Ok(written))
    }
}
