//! A client for cycles that touch no server, and what they look up instead.

use async_trait::async_trait;
use kcore::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, GetOptions, List, ListOptions, Patch,
    Path, WatchOptions, WatchStream, WriteOptions,
};
use kcore::object::Object;
use kcore::{Error, Result};

/// The API server that is not there: every call fails as if it could not be reached.
#[derive(Debug)]
pub(crate) struct NoServer;

fn unreachable<T>() -> Result<T> {
    Err(Error::Transport("there is no API server: this is a simulation".into()))
}

#[async_trait]
impl Client for NoServer {
    async fn get(&self, _: Path<'_>, _: &GetOptions) -> Result<Object> {
        unreachable()
    }

    async fn list(&self, _: Path<'_>, _: &ListOptions) -> Result<List> {
        unreachable()
    }

    async fn watch(&self, _: Path<'_>, _: &WatchOptions) -> Result<WatchStream> {
        unreachable()
    }

    async fn create(&self, _: Path<'_>, _: Body, _: &WriteOptions) -> Result<Object> {
        unreachable()
    }

    async fn update(&self, _: Path<'_>, _: Body, _: &WriteOptions) -> Result<Object> {
        unreachable()
    }

    async fn patch(&self, _: Path<'_>, _: Patch, _: &WriteOptions) -> Result<Object> {
        unreachable()
    }

    async fn delete(&self, _: Path<'_>, _: &DeleteOptions) -> Result<Deleted> {
        unreachable()
    }

    async fn delete_collection(
        &self,
        _: Path<'_>,
        _: &DeleteOptions,
        _: &ListOptions,
    ) -> Result<List> {
        unreachable()
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        unreachable()
    }
}
