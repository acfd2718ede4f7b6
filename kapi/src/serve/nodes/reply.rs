//! The body of an agent's reply, with the connection that brings it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Connection, Key, Pool};
use crate::http::BoxError;

/// A body that gives its connection back when it was read to its end. Dropped before, it ends the
/// connection: what is left of the reply would be taken for the next one.
pub(super) struct Reply {
    body: Incoming,
    /// None once it was given back.
    connection: Option<Connection>,
    keep: Option<(Arc<Pool>, Key)>,
}

impl Reply {
    /// The connection goes to `keep`, if anywhere.
    pub(super) fn new(
        body: Incoming,
        connection: Connection,
        keep: Option<(Arc<Pool>, Key)>,
    ) -> Self {
        Self { body, connection: Some(connection), keep }
    }

    fn ended(&mut self) {
        if let (Some(connection), Some((pool, key))) = (self.connection.take(), self.keep.take()) {
            pool.put(key, connection);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into);
        match &polled {
            Poll::Ready(None) => self.ended(),
            // Whatever broke it, nothing else comes.
            Poll::Ready(Some(Err(_))) => self.connection = None,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // A body whose length is known needs no further poll to be at its end.
        if self.body.is_end_stream() {
            self.ended();
        }
    }
}
