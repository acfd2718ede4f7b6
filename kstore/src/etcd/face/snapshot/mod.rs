//! A snapshot in etcd's file format: `etcdctl snapshot save` takes it, and `etcdctl snapshot
//! restore` makes an etcd of it that goes on at the same revision.

mod bolt;
mod content;

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use ring::digest::{Context, SHA256};
use tonic::Status;

use self::bolt::File;
use super::super::proto::{ResponseHeader, SnapshotResponse};
use super::Shared;
use super::refuse::status;

/// Pages of one answer: 256 KiB.
const PAGES: u64 = 64;

/// Streams the file, and after it the digest that etcd's tools check.
pub(super) async fn serve(
    shared: Arc<Shared>,
) -> Result<impl Stream<Item = Result<SnapshotResponse, Status>> + Send + 'static, Status> {
    let (content, at) = content::read(&shared).await.map_err(status)?;
    let file = File::plan(content);
    let header = shared.header(at);
    let begun = Some((file, Context::new(&SHA256), 0));
    Ok(stream::unfold(begun, move |state| async move {
        let (file, mut digest, page) = state?;
        if page == file.pages() {
            let sum = Bytes::copy_from_slice(digest.finish().as_ref());
            return Some((Ok(part(header, sum, 0)), None));
        }
        let next = file.pages().min(page + PAGES);
        let bytes = file.write(page..next);
        digest.update(&bytes);
        let left = (file.pages() - next) * bolt::PAGE as u64 + 32;
        // A large store is many of these: others have their turn in between.
        tokio::task::yield_now().await;
        Some((Ok(part(header, bytes.into(), left)), Some((file, digest, next))))
    }))
}

fn part(header: Option<ResponseHeader>, blob: Bytes, remaining_bytes: u64) -> SnapshotResponse {
    SnapshotResponse { header, remaining_bytes, blob, version: "3.5".to_owned() }
}
